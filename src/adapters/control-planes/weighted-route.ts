import { z } from 'zod';
import type { EndpointObservation, Share, VersionObservation } from '../../domain/observation.ts';
import type { Desired, PlanResult, Step, StepCheck } from '../../domain/step.ts';
import type { JsonPatchOperation } from '../kubernetes/client.ts';
import type { GitOpsState } from '../kubernetes/gitops-state.ts';

/**
 * Weights in a list of destinations inside a Kubernetes object (an HTTPRoute's backendRefs, a VirtualService's route): what the planes that
 * move such weights have in common. All of it is pure.
 */

const scalar = z.union([z.string(), z.number()]);

/** One entry of the list, as the object has it. */
const entrySchema = z.object({
  version: z.string(),
  /** What people call it: `fraud-v6`, `fraud subset v6`. */
  label: z.string(),
  /** JSON pointer below the entry → what stands there. Tested before a weight is written: an index alone names nothing. */
  identity: z.record(z.string(), scalar),
  /** `null`: not written there. */
  weight: z.number().nullable(),
});
export type Entry = z.output<typeof entrySchema>;

/** What a step carries: one list, from which weights to which. */
const mutationSchema = z.object({
  uid: z.string(),
  /** JSON pointer of the list. */
  list: z.string(),
  /** JSON pointer → what must stand there, besides the entries: the rule's name. */
  guards: z.record(z.string(), scalar),
  before: z.array(entrySchema),
  after: z.array(entrySchema),
  /** The entry that is added behind the others, or taken away again; `null` for none. */
  extra: z.record(z.string(), z.unknown()).nullable(),
});
export type Mutation = z.output<typeof mutationSchema>;

/** @throws {z.ZodError} for a step of another kind of plane */
export function mutationOf(step: Step, inverse: boolean): Mutation | null {
  const raw = inverse ? step.inverse : step.mutation;
  return raw === null ? null : mutationSchema.parse(raw);
}

/** Whether what is written is what the proxies were told. */
export type Applied = {
  /** `refused`: the controller looked at it and does not take it. `unknown`: nobody will ever say. */
  readonly kind: 'confirmed' | 'pending' | 'refused' | 'unknown';
  readonly detail: string;
};

/** `EndpointObservation.config` of these planes. Plain JSON, without anything that moves by itself. */
export type RouteConfig = {
  readonly uid: string;
  readonly list: string;
  readonly guards: Readonly<Record<string, string | number>>;
  readonly entries: readonly Entry[];
  /** Destinations that could be added: version → entry and its text. */
  readonly addable: Readonly<Record<string, { readonly entry: Entry; readonly value: Readonly<Record<string, unknown>> }>>;
  readonly applied: Applied;
  /** Who wrote after rollbackd's own last write; `null`: nobody, or it is not known. */
  readonly writer: string | null;
  readonly gitops: GitOpsState;
};

export function configOf(endpoint: EndpointObservation): RouteConfig {
  return endpoint.config as RouteConfig;
}

/** How a kind of object reads its weights. */
export type WeightRules = {
  /** What no weight means. */
  readonly absent: number;
  /** A single destination gets all, whatever its weight. */
  readonly soleGetsAll: boolean;
};

/** Shares by weight; versions without one are left out. */
export function sharesOf(entries: readonly Entry[], { absent, soleGetsAll }: WeightRules): Share[] {
  const [only] = entries;
  if (only !== undefined && entries.length === 1 && soleGetsAll) return [{ version: only.version, share: 1 }];
  const sum = entries.reduce((total, entry) => total + (entry.weight ?? absent), 0);
  if (sum === 0) return [];
  const shares = new Map<string, number>();
  for (const entry of entries) shares.set(entry.version, (shares.get(entry.version) ?? 0) + (entry.weight ?? absent) / sum);
  return [...shares].filter(([, share]) => share > 0).map(([version, share]) => ({ version, share }));
}

/** Sum of the weights that are written. */
const fullWeight = 100;

/**
 * One step: all weights of the list in one patch, the target's before the others' fall to 0.
 * @param states of the versions, as observed
 */
export function planWeights(endpoint: EndpointObservation, versions: readonly VersionObservation[], desired: Desired, rules: WeightRules): PlanResult {
  if (desired.kind === 'unpin') return { kind: 'nothing' };
  const config = configOf(endpoint);
  const wanted = new Map(desired.shares.filter(({ share }) => share > 0).map(({ version, share }) => [version, share]));
  if (wanted.size === 0) return refuse('no version is to have traffic: that would be an outage');
  const before = config.entries;
  const missing = [...wanted.keys()].filter((version) => !before.some((entry) => entry.version === version));
  if (missing.length > 1) return refuse(`${missing.join(' and ')} are no destinations of ${endpoint.endpoint}`);
  const [absent] = missing;
  const added = absent === undefined ? undefined : Object.hasOwn(config.addable, absent) ? config.addable[absent] : undefined;
  if (absent !== undefined && added === undefined)
    return refuse(
      `version ${absent} is no destination of ${endpoint.endpoint} (there are ${before.map((entry) => `${entry.version} (${entry.label})`).join(', ')}); list it with weight 0, or name it under plane.versions`,
    );
  const all = added === undefined ? before : [...before, added.entry];
  for (const version of wanted.keys()) {
    if (all.filter((entry) => entry.version === version).length > 1)
      return refuse(`${endpoint.endpoint} has more than one destination for version ${version}; give each a version of its own (plane.versions)`);
    const state = versions.find((candidate) => candidate.id === version);
    if (state?.state !== 'available') return refuse(`version ${version} cannot take traffic: ${state?.detail ?? 'it was not looked at'}`);
  }
  const after = all.map((entry) => ({ ...entry, weight: Math.round((wanted.get(entry.version) ?? 0) * fullWeight) }));
  if (isWished(endpoint.serving, wanted) && isWished(sharesOf(before, rules), wanted)) return { kind: 'nothing' };
  const mutation: Mutation = {
    uid: config.uid,
    list: config.list,
    guards: { ...config.guards },
    before: [...before],
    after,
    extra: added === undefined ? null : { ...added.value },
  };
  const [target] = [...wanted.keys()];
  const alone = wanted.size === 1 ? target : undefined;
  return {
    kind: 'steps',
    steps: [
      {
        name: `move weight to ${[...wanted.keys()].join(' and ')} on ${endpoint.endpoint}`,
        phase: 'switch',
        endpoint: endpoint.endpoint,
        barrier: 0,
        mutation,
        inverse: { ...mutation, before: mutation.after, after: mutation.before },
        expect: alone === undefined ? {} : { serving: alone },
      },
    ],
  };
}

function refuse(reason: string): PlanResult {
  return { kind: 'refused', reason };
}

/** Weights that give the wished shares already are left as they are, whatever their sum. */
function isWished(shares: readonly Share[], wanted: ReadonlyMap<string, number>): boolean {
  return shares.length === wanted.size && shares.every(({ version, share }) => Math.abs((wanted.get(version) ?? 0) - share) < 1e-9);
}

/** Same destinations with the same weights, in the same order. */
export function isSameList(a: readonly Entry[], b: readonly Entry[]): boolean {
  return (
    a.length === b.length &&
    a.every((entry, index) => {
      const other = b[index];
      return other !== undefined && entry.weight === other.weight && isSameIdentity(entry, other);
    })
  );
}

function isSameIdentity(a: Entry, b: Entry): boolean {
  const keys = new Set([...Object.keys(a.identity), ...Object.keys(b.identity)]);
  return [...keys].every((key) => a.identity[key] === b.identity[key]);
}

export function listText(entries: readonly Entry[]): string {
  return entries.map((entry) => `${entry.label}: ${entry.weight ?? 'no weight'}`).join(', ');
}

/**
 * The operations of a mutation, names tested at their index. What had no weight gets none again.
 * The caller puts uid and generation before them.
 */
export function weightOperations(mutation: Mutation): readonly JsonPatchOperation[] {
  const { list, guards, before, after, extra } = mutation;
  const operations: JsonPatchOperation[] = Object.entries(guards).map(([path, value]) => ({ op: 'test', path, value }));
  for (const [index, entry] of before.entries())
    for (const [pointer, value] of Object.entries(entry.identity)) operations.push({ op: 'test', path: `${list}/${index}${pointer}`, value });
  const grown = after.length > before.length ? after.at(-1) : undefined;
  if (grown !== undefined) operations.push({ op: 'add', path: `${list}/${before.length}`, value: { ...extra, weight: grown.weight } });
  // What rises comes first, in one patch as in the reading of it.
  const order = [...after.keys()].slice(0, before.length).toSorted((a, b) => (after[b]?.weight ?? 0) - (after[a]?.weight ?? 0));
  for (const index of order) {
    const [from, to] = [before[index]?.weight, after[index]?.weight];
    if (from === to) continue;
    const path = `${list}/${index}/weight`;
    operations.push(to === null || to === undefined ? { op: 'remove', path } : { op: from === null ? 'add' : 'replace', path, value: to });
  }
  if (after.length < before.length) operations.push({ op: 'remove', path: `${list}/${before.length - 1}` });
  return operations;
}

export type Patience = {
  /** How long the proxies may take after the controller said yes. */
  readonly settleMs: number;
  /** Where the controller may have stopped telling: a status that was old before is then not waited for. */
  readonly statusIsOptional: boolean;
};

/** What two observations say of a step; pure. */
export function checkWeights(
  step: Step,
  before: EndpointObservation | undefined,
  now: EndpointObservation | undefined,
  sinceMs: number,
  { settleMs, statusIsOptional }: Patience,
): StepCheck {
  const mutation = mutationOf(step, false);
  if (mutation === null) return { kind: 'failed', detail: `${step.name}: no mutation` };
  if (now === undefined) return { kind: 'failed', detail: `${step.endpoint} is gone` };
  const config = configOf(now);
  if (config.uid !== mutation.uid) return { kind: 'failed', detail: `${step.endpoint} was deleted and created anew` };
  if (!isSameList(config.entries, mutation.after)) {
    const by = config.writer === null ? 'someone else' : config.writer;
    return { kind: 'reverted', detail: `${step.endpoint} was changed by ${by}: it has ${listText(config.entries)}, expected ${listText(mutation.after)}` };
  }
  const { applied } = config;
  if (applied.kind === 'refused') return { kind: 'failed', detail: `${step.endpoint}: ${applied.detail}` };
  const wasPending = before !== undefined && configOf(before).applied.kind === 'pending';
  if (applied.kind === 'pending' && !(statusIsOptional && wasPending)) return { kind: 'progressing', detail: `${step.endpoint}: ${applied.detail}` };
  if (sinceMs < settleMs) return { kind: 'progressing', detail: `${step.endpoint}: waiting for the proxies to follow` };
  return { kind: 'converged', detail: `${step.endpoint}: ${applied.detail}` };
}
