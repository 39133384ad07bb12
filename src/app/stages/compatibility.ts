import { type ControlPlane, type Log, PlaneError, type PlaneTarget } from '../../domain/ports.ts';
import { compareSignatures, type Difference } from '../../domain/signature.ts';
import { planeTarget } from '../observer.ts';
import { type DecideContext, type DecideSubject, judgeGuards } from './decide.ts';

/** Differences told in one message; a table of a thousand columns would be all of it. */
const mostTold = 5;

const none: Difference = { requests: [], readers: [] };

/**
 * What the signatures of two versions say, endpoint by endpoint, in words; what no endpoint can tell is no difference.
 * @throws {PlaneError} when the plane cannot be asked
 */
export async function compareVersions(
  plane: ControlPlane,
  target: PlaneTarget,
  { from, to }: { readonly from: string; readonly to: string },
  signal: AbortSignal,
): Promise<Difference> {
  if (plane.signatures === undefined) return none;
  const [current, wanted] = await Promise.all([plane.signatures(target, from, signal), plane.signatures(target, to, signal)]);
  const found = wanted.flatMap(({ endpoint, signature }) => {
    const today = current.find((entry) => entry.endpoint === endpoint)?.signature ?? null;
    if (signature === null || today === null) return [];
    return [compareSignatures({ version: from, signature: today }, { version: to, signature })];
  });
  // Replicas say the same, as a rule: once is enough.
  return { requests: distinct(found.flatMap(({ requests }) => requests)), readers: distinct(found.flatMap(({ readers }) => readers)) };
}

/** `a; b; and 3 more` */
export function spellDifferences(differences: readonly string[]): string {
  const left = differences.length - mostTold;
  return [...differences.slice(0, mostTold), ...(left > 0 ? [`and ${left} more`] : [])].join('; ');
}

/**
 * The subject with what the plane knows of signatures before anything is loaded, for the targets that the guards would choose. A plane that cannot be asked
 * holds up no rollback.
 */
export async function readSignatures<Subject extends DecideSubject>(
  subject: Subject,
  context: DecideContext,
  { plane, log, signal }: { readonly plane: ControlPlane | undefined; readonly log: Log; readonly signal: AbortSignal },
): Promise<Subject> {
  const { model, policy, from } = subject;
  const incompatible = new Map<string, string>();
  const informed = { ...subject, incompatible };
  for (;;) {
    const to = judgeGuards(informed, context).choice.target;
    if (to === null || incompatible.has(to) || policy.allowIncompatible || plane?.signatures === undefined) return informed;
    try {
      const { requests } = await compareVersions(plane, planeTarget(model), { from, to }, signal);
      if (requests.length === 0) return informed;
      incompatible.set(to, spellDifferences(requests));
    } catch (error) {
      if (!(error instanceof PlaneError) || signal.aborted) throw error;
      log.warn({ model: model.name, from, to, err: error }, 'signatures could not be read; they are not compared before the target is loaded');
      return informed;
    }
  }
}

function distinct(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)];
}
