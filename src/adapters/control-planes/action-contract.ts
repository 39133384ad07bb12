import { z } from 'zod';
import { flag, text } from '../../config/scalars.ts';
import { PlaneError } from '../../domain/ports.ts';

/** What a webhook's receiver or a command is asked to do; the JSON body, or standard input. */
export type Action = {
  /** `stage`: make `to` able to serve beside `from`; `unstage`: take that back; `switch`: all traffic to `to`; `persist`: so that a restart keeps it. */
  readonly action: 'stage' | 'unstage' | 'switch' | 'persist';
  /** The same for each repeat of one step: a receiver that has done it answers so, and does not do it again. */
  readonly action_id: string;
  readonly model: string;
  readonly from: string;
  readonly to: string;
  /** `generation` of the last observation, `null` where it gave none: another one by now is a conflict. */
  readonly expect: string | null;
  readonly labels: Readonly<Record<string, string>>;
};

const version = z.string().min(1);

/** What `observe` must answer. Unknown keys are let through: they are the receiver's own. */
export const observationAnswer = z
  .object({
    /** Versions with their share (0..1) of the traffic; empty when nothing serves. */
    serving: z.array(z.object({ version, share: z.number().min(0).max(1) })),
    /** Versions there are; what serves counts as available without being named. Left out: nothing is known of the others. */
    versions: z
      .array(
        z.object({
          version,
          state: z.enum(['absent', 'pending', 'loading', 'available', 'draining', 'unloaded', 'failed']),
          detail: z.string().optional(),
        }),
      )
      .nullable()
      .default(null),
    /** Another text after each change: what `expect` of an action is compared with. */
    generation: z.string().nullable().default(null),
    /** Version that a restart would bring; asked for where `persist` is configured. */
    durable: z.string().nullable().default(null),
    /** Named routes → version. */
    routes: z.record(z.string(), z.string()).default({}),
    /** Reasons why acting would not be safe now. */
    refusals: z.array(z.string()).default([]),
  })
  .superRefine((answer, context) => {
    const names = answer.serving.map((share) => share.version);
    if (new Set(names).size < names.length) context.addIssue({ code: 'custom', path: ['serving'], message: 'expected every version once' });
    const sum = answer.serving.reduce((total, share) => total + share.share, 0);
    if (sum > 1.000_001) context.addIssue({ code: 'custom', path: ['serving'], message: `expected shares of 1 in all, found ${sum}` });
  });
export type ObservationAnswer = z.output<typeof observationAnswer>;

const example = '{"serving": [{"version": "7", "share": 1}]}';

/**
 * @param who asked, for the message
 * @throws {PlaneError} permanent, when it is no JSON or not of the contract
 */
export function parseObservation(raw: string, who: string): ObservationAnswer {
  let document: unknown;
  try {
    document = JSON.parse(raw);
  } catch {
    throw new PlaneError('permanent', `${who}: the answer is no JSON; expected ${example}`);
  }
  const parsed = observationAnswer.safeParse(document);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'the answer'}: ${issue.message}`);
  throw new PlaneError('permanent', `${who}: the answer is not as the contract has it: ${faults.join('; ')}; expected ${example}`);
}

/** `models[].plane` of the planes that speak this contract. */
export const actionPlaneKeys = z.strictObject({
  model: text({ min: 1, expected: 'the name of a model' })
    .optional()
    .meta({ description: 'What the other side calls the model. Default: the name of the model here.' }),
  labels: z
    .record(z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, 'expected a name: letters, digits and _'), text(), { error: 'expected a map of names to values' })
    .default({})
    .meta({ description: 'Sent with each action as `labels`, and `{{ $labels.x }}` in templates. Default: none.', default: {} }),
});

/** Says that the smoke test can ask the target before traffic moves. */
export function smokeBeforeSwitch(): z.ZodType<boolean, boolean | undefined> {
  return flag().default(false).meta({
    description: 'Run the smoke test also before traffic moves: its requests must then name the version themselves ({{ $to }} in their URL). Default: false.',
    default: false,
  });
}
