import { z } from 'zod';
import type { EndpointObservation, Share, VersionObservation } from '../../../domain/observation.ts';

/** The part of a spec that decides which version serves: what steps compare and write. */
export const wish = z.object({
  /** Address of the (stable) predictor's artifact. */
  uri: z.string(),
  /** Knative mode: `canaryTrafficPercent`, `null` when it is not set. */
  percent: z.number().nullable(),
  /** Name of the stable predictor, `null`: it has none. */
  predictor: z.string().nullable().default(null),
  /** Standard mode since v0.20: `spec.canary[]`. `uri: null`: not looked at. */
  canaries: z.array(z.object({ name: z.string(), percent: z.number(), uri: z.string().nullable().default(null) })),
});
export type Wish = z.output<typeof wish>;

const knativeTruth = z.object({
  mode: z.literal('Knative'),
  wish,
  version: z.string(),
  /** Newest revision there is, ready or not. */
  latest: z.object({ version: z.string().nullable(), state: z.string() }),
  /** What `canaryTrafficPercent: 0` would lead to; `version: null` with the reason in `detail` when to nothing better. */
  pin: z.object({ version: z.string().nullable(), detail: z.string() }),
  routes_ready: z.boolean(),
  failure: z.string().nullable(),
});

const standardTruth = z.object({
  mode: z.literal('Standard'),
  wish,
  version: z.string(),
  canaries: z.array(z.object({ name: z.string(), version: z.string().nullable(), ready: z.boolean() })),
  /** `PredictorReady`: without it no weights are written to the HTTPRoutes. */
  predictor_ready: z.boolean(),
  rollout: z.enum(['complete', 'progressing', 'failed']),
  rollout_detail: z.string(),
  failure: z.string().nullable(),
});

const truth = z.discriminatedUnion('mode', [knativeTruth, standardTruth]);
export type KnativeTruth = z.output<typeof knativeTruth>;
export type StandardTruth = z.output<typeof standardTruth>;
/** `EndpointObservation.config` of this plane. It names versions, not revisions: the same wish reached twice reads the same. */
export type Truth = z.output<typeof truth>;

export function truthOf(endpoint: EndpointObservation): Truth {
  return truth.parse(endpoint.config);
}

export function isSameWish(a: Wish, b: Wish): boolean {
  return (
    a.uri === b.uri &&
    a.percent === b.percent &&
    a.predictor === b.predictor &&
    a.canaries.length === b.canaries.length &&
    a.canaries.every((canary, index) => isSameCanary(canary, b.canaries[index]))
  );
}

function isSameCanary(a: Wish['canaries'][number], b: Wish['canaries'][number] | undefined): boolean {
  return b !== undefined && a.name === b.name && a.percent === b.percent && (a.uri === null || b.uri === null || a.uri === b.uri);
}

/** What one mode makes of the objects it read. */
export type Seen = {
  readonly versions: readonly VersionObservation[];
  readonly serving: readonly Share[];
  readonly config: Truth;
  /** Names under which metrics know versions (a revision's, a Deployment's) → version. */
  readonly names: Readonly<Record<string, string>>;
};

const best: readonly VersionObservation['state'][] = ['available', 'loading', 'pending', 'draining', 'unloaded', 'failed', 'absent'];

/** One line per version: where several objects carry one, the best of them counts. */
export function bestOf(found: readonly VersionObservation[]): VersionObservation[] {
  const versions = new Map<string, VersionObservation>();
  for (const version of found) {
    const known = versions.get(version.id);
    if (known === undefined || best.indexOf(version.state) < best.indexOf(known.state)) versions.set(version.id, version);
  }
  return [...versions.values()];
}

/** Adds up weights per version to shares, 0..1. */
export function sharesOf(weights: readonly { readonly version: string; readonly weight: number }[]): Share[] {
  const total = weights.reduce((sum, entry) => sum + entry.weight, 0);
  if (total === 0) return [];
  const sums = new Map<string, number>();
  for (const { version, weight } of weights) sums.set(version, (sums.get(version) ?? 0) + weight / total);
  return [...sums].filter(([, share]) => share > 0).map(([version, share]) => ({ version, share: Math.round(share * 1e6) / 1e6 }));
}
