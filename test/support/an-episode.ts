import type { Episode } from '../../src/domain/episode.ts';
import type { RollbackPolicy } from '../../src/domain/model.ts';

const detectedAtMs = Date.UTC(2026, 10, 22, 12);

const policy: RollbackPolicy = {
  mode: 'enforce',
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

/** A successful rollback of `fraud-detector` from 7 to 6 that took 12.4 s. */
export function anEpisode(changes: Partial<Episode> = {}): Episode {
  return {
    id: 'rb_01JDEXAMPLE',
    model: 'fraud-detector',
    from: '7',
    to: '6',
    trigger: 'rule',
    rule: 'ModelErrorRatioHigh',
    mode: 'enforce',
    state: 'succeeded',
    outcome: 'success',
    reason: 'error ratio 10.2% (588 of 5771) > 5% for 1m12s, for: 1m',
    detail: 'version 6 serves alone and is healthy',
    labels: { severity: 'page' },
    annotations: {},
    detectedAtMs,
    startedAtMs: detectedAtMs + 100,
    switchedAtMs: detectedAtMs + 4_000,
    recoveredAtMs: detectedAtMs + 9_000,
    finishedAtMs: detectedAtMs + 12_500,
    evidence: {
      signal: 'error_ratio',
      value: 0.102,
      threshold: 0.05,
      requests: 5771,
      window: '1m',
      baseline: { version: '6', value: 0.001 },
      series: ['sum(rate(x[1m]))'],
    },
    steps: [
      {
        name: 'stage 6 on tfs-0:8500',
        state: 'done',
        startedAtMs: detectedAtMs + 100,
        finishedAtMs: detectedAtMs + 2_000,
        detail: 'available',
        attempts: 1,
        step: { name: 'stage 6 on tfs-0:8500', phase: 'stage', endpoint: 'tfs-0:8500', barrier: 0, mutation: {}, inverse: null, expect: { available: '6' } },
      },
    ],
    smokeTests: [{ name: 'one known transaction', outcome: 'passed', durationMs: 181, detail: '200 in 181 ms', when: 'staged' }],
    triedTargets: [],
    refusedTargets: [{ version: '5', reason: 'quarantined' }],
    links: { git_tag: 'https://git.example.org/fraud/tags/v7' },
    requestedBy: null,
    corrected: false,
    pinned: true,
    policy,
    smokeTest: null,
    controlPlane: 'tfs',
    ...changes,
  };
}
