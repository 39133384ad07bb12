import { z } from 'zod';
import type { KnownGoodPolicy, RollbackOverrides, RollbackPolicy, RollbackTo } from '../domain/model.ts';
import { duration, versionId, wholeNumber } from './scalars.ts';

/** Design 4, table of defaults. */
export const defaultPolicy: RollbackPolicy = {
  mode: 'dry_run',
  to: { kind: 'last_known_good' },
  knownGood: { minAgeMs: 3_600_000, minRequests: 1000, backfillMs: 604_800_000, versions: [] },
  cooldownMs: 1_800_000,
  maxPer: { count: 2, windowMs: 21_600_000 },
  maxDepth: 3,
  quarantineMs: 604_800_000,
  convergeTimeoutMs: 600_000,
  recoveryWithinMs: 300_000,
  stickMs: 180_000,
  requireApproval: 'never',
  activeTimeIntervals: [],
  approvalTimeoutMs: 1_800_000,
  approvalAfterMs: 604_800_000,
  allowIncompatible: false,
};

const target = z
  .union(
    [
      z.literal('last_known_good'),
      z.strictObject({ version: versionId().meta({ description: 'This version, whatever its record says. No default.' }) }),
      z.strictObject({ label: z.string().min(1).meta({ description: 'The version this label (alias) of the plane names. No default.' }) }),
    ],
    { error: 'expected last_known_good, {version: "41"} or {label: stable}' },
  )
  .transform((to): RollbackTo => {
    if (to === 'last_known_good') return { kind: 'last_known_good' };
    return 'version' in to ? { kind: 'version', version: to.version } : { kind: 'label', label: to.label };
  });

const knownGood = z.strictObject({
  min_age: duration().optional().meta({ description: 'How long a version must have served well before it is known good. Default: 1h.' }),
  min_requests: wholeNumber(0).optional().meta({ description: 'On how many requests it must have served well. Default: 1000.' }),
  backfill: duration().optional().meta({ description: 'How far back the source’s history is read at start; 0s: not at all. Default: 7d.' }),
  versions: z.array(versionId()).optional().meta({ description: 'Versions vouched for by hand: replaces their record, nothing else. Default: none.' }),
});

const maxPer = z.strictObject({
  count: wholeNumber(1).optional().meta({ description: 'Rollbacks of this model within the window; then only alerts. Default: 2.' }),
  window: duration({ minMs: 1000, minText: '1s' }).optional().meta({ description: 'Length of the window. Default: 6h.' }),
});

const recovery = z.strictObject({
  within: duration({ minMs: 1000, minText: '1s' }).optional().meta({ description: 'The metrics must be healthy on the target by then. Default: 5m.' }),
});

/** Keys of a `rollback:` block, of a model and of a rule alike; none has its default here, see `toOverrides`. */
export const rollbackSchema = z.strictObject({
  mode: z
    .enum(['enforce', 'dry_run', 'off'])
    .optional()
    .meta({ description: 'enforce: act. dry_run: record what would be done. off: nothing. Default: dry_run (a rule: its model’s).' }),
  to: target.optional().meta({ description: 'What to go back to: last_known_good, {version: "41"} or {label: stable}. Default: last_known_good.' }),
  known_good: knownGood.optional().meta({ description: 'When a version’s record counts as good. Default: 1h and 1000 requests.' }),
  cooldown: duration().optional().meta({ description: 'Pause after a rollback of this model before the next. Default: 30m.' }),
  max_per: maxPer.optional().meta({ description: 'Budget of rollbacks of this model. Default: 2 in 6h.' }),
  max_depth: wholeNumber(1).optional().meta({ description: 'How many versions back a target may lie. Default: 3.' }),
  quarantine: duration().optional().meta({ description: 'How long a version that was rolled back is no target. Default: 7d.' }),
  converge_timeout: duration({ minMs: 1000, minText: '1s' }).optional().meta({ description: 'Time the plane has for each step to take. Default: 10m.' }),
  recovery: recovery.optional().meta({ description: 'Recovery of the metrics on the target. Default: within 5m.' }),
  stick: duration().optional().meta({ description: 'Time the switch must still be in force after recovery. Default: 3m.' }),
  require_approval: z
    .enum(['never', 'always', 'outside'])
    .optional()
    .meta({ description: 'Whether a person must approve: never, always, or outside of active_time_intervals. Default: never.' }),
  active_time_intervals: z
    .array(z.string({ error: 'expected the name of an entry of time_intervals' }), { error: 'expected a list of names of time_intervals' })
    .min(1, 'expected at least one name of time_intervals')
    .optional()
    .meta({ description: 'Times (names of time_intervals) outside of which require_approval: outside asks a person. Default: none.' }),
  approval_timeout: duration({ minMs: 1000, minText: '1s' })
    .optional()
    .meta({ description: 'A request for approval is rejected after this time. Default: 30m.' }),
  approval_after: duration()
    .optional()
    .meta({ description: 'Ask first when the bad version served well for longer than this; 0s: never ask for that. Default: 7d.' }),
  allow_incompatible: z
    .boolean({ error: 'expected true or false' })
    .optional()
    .meta({ description: 'true: also go back to a version whose signature says that it cannot take today’s requests. Default: false.' }),
});

type Parsed = z.output<typeof rollbackSchema>;

/** What a `rollback:` block changes of `base`; keys that are not written are absent. */
export function toOverrides(parsed: Parsed, base: RollbackPolicy): RollbackOverrides {
  const knownGoodPolicy = parsed.known_good === undefined ? undefined : mergeKnownGood(parsed.known_good, base.knownGood);
  const overrides: Record<string, unknown> = {
    mode: parsed.mode,
    to: parsed.to,
    knownGood: knownGoodPolicy,
    cooldownMs: parsed.cooldown,
    maxPer:
      parsed.max_per === undefined ? undefined : { count: parsed.max_per.count ?? base.maxPer.count, windowMs: parsed.max_per.window ?? base.maxPer.windowMs },
    maxDepth: parsed.max_depth,
    quarantineMs: parsed.quarantine,
    convergeTimeoutMs: parsed.converge_timeout,
    recoveryWithinMs: parsed.recovery?.within,
    stickMs: parsed.stick,
    requireApproval: parsed.require_approval,
    activeTimeIntervals: parsed.active_time_intervals,
    approvalTimeoutMs: parsed.approval_timeout,
    approvalAfterMs: parsed.approval_after,
    allowIncompatible: parsed.allow_incompatible,
  } satisfies Record<keyof RollbackPolicy, unknown>;
  for (const key of Object.keys(overrides)) if (overrides[key] === undefined) delete overrides[key];
  return overrides;
}

function mergeKnownGood(parsed: NonNullable<Parsed['known_good']>, base: KnownGoodPolicy): KnownGoodPolicy {
  return {
    minAgeMs: parsed.min_age ?? base.minAgeMs,
    minRequests: parsed.min_requests ?? base.minRequests,
    backfillMs: parsed.backfill ?? base.backfillMs,
    versions: parsed.versions ?? base.versions,
  };
}
