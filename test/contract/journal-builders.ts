import type { Decision } from '../../src/domain/decision.ts';
import type { Episode, EpisodeStep } from '../../src/domain/episode.ts';
import type { OutboxMessage } from '../../src/domain/records.ts';

export const startMs = Date.UTC(2026, 10, 22, 12);

export function aStep(name: string, changes: Partial<EpisodeStep> = {}): EpisodeStep {
  return {
    name,
    state: 'pending',
    startedAtMs: null,
    finishedAtMs: null,
    detail: '',
    attempts: 0,
    step: { name, phase: 'switch', endpoint: 'tfs-0:8500', barrier: 0, mutation: {}, inverse: null, expect: { serving: '6' } },
    ...changes,
  };
}

export function anEpisode(changes: Partial<Episode> = {}): Episode {
  return {
    id: 'rb_1',
    model: 'fraud',
    from: '7',
    to: '6',
    trigger: 'rule',
    rule: 'ModelErrorRatioHigh',
    mode: 'enforce',
    state: 'planned',
    outcome: null,
    reason: 'error ratio 10.2% (588 of 5771) > 5% for 1m12s',
    detail: '',
    labels: { severity: 'page' },
    annotations: {},
    detectedAtMs: startMs,
    startedAtMs: null,
    switchedAtMs: null,
    recoveredAtMs: null,
    finishedAtMs: null,
    evidence: { signal: 'error_ratio', value: 0.102, threshold: 0.05, requests: 5771, window: '1m', baseline: null, series: [] },
    steps: [],
    smokeTests: [],
    triedTargets: [],
    refusedTargets: [],
    links: {},
    requestedBy: null,
    corrected: false,
    pinned: false,
    policy: {
      mode: 'enforce',
      to: { kind: 'last_known_good' },
      knownGood: { minAgeMs: 0, minRequests: 0, backfillMs: 0, versions: [] },
      cooldownMs: 0,
      maxPer: { count: 2, windowMs: 1 },
      maxDepth: 3,
      quarantineMs: 1,
      convergeTimeoutMs: 1,
      recoveryWithinMs: 1,
      stickMs: 1,
      requireApproval: 'never',
      activeTimeIntervals: [],
      approvalTimeoutMs: 1,
      approvalAfterMs: 1,
      allowIncompatible: false,
    },
    smokeTest: null,
    controlPlane: 'tfs',
    ...changes,
  };
}

export function aDecision(changes: Partial<Decision> = {}): Decision {
  return {
    id: 'd1',
    atMs: startMs,
    model: 'fraud',
    version: '7',
    rule: 'ModelErrorRatioHigh',
    trigger: 'rule',
    decision: 'hold',
    reason: 'cooldown',
    detail: '',
    held: [],
    target: null,
    episode: null,
    verdict: 'breach',
    value: 0.1,
    threshold: 0.05,
    requests: 100,
    ...changes,
  };
}

export function aMessage(changes: Partial<OutboxMessage> = {}): OutboxMessage {
  return {
    id: 'rb_1/finished',
    receiver: 'ml-oncall',
    kind: 'episode_finished',
    content: {},
    enqueuedMs: startMs,
    notBeforeMs: 0,
    attempts: 0,
    state: 'waiting',
    detail: '',
    ...changes,
  };
}
