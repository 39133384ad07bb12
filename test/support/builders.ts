import type { Episode } from '../../src/domain/episode.ts';
import type { Measurement } from '../../src/domain/measurement.ts';
import type { Model, RollbackPolicy } from '../../src/domain/model.ts';
import type { Observation } from '../../src/domain/observation.ts';
import type { LedgerEntry } from '../../src/domain/records.ts';
import type { Rule, SequentialCondition } from '../../src/domain/rule.ts';
import type { ModelSignature } from '../../src/domain/signature.ts';
import type { Verdict } from '../../src/domain/verdict.ts';

export const noonMs = Date.UTC(2026, 10, 22, 12);
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

export function aPolicy(changes: Partial<RollbackPolicy> = {}): RollbackPolicy {
  return {
    mode: 'enforce',
    to: { kind: 'last_known_good' },
    knownGood: { minAgeMs: hourMs, minRequests: 1000, backfillMs: 0, versions: [] },
    cooldownMs: 30 * minuteMs,
    maxPer: { count: 2, windowMs: 6 * hourMs },
    maxDepth: 3,
    quarantineMs: 168 * hourMs,
    convergeTimeoutMs: 10 * minuteMs,
    recoveryWithinMs: 5 * minuteMs,
    stickMs: 3 * minuteMs,
    requireApproval: 'never',
    activeTimeIntervals: [],
    approvalTimeoutMs: 30 * minuteMs,
    approvalAfterMs: 168 * hourMs,
    allowIncompatible: false,
    ...changes,
  };
}

export function aRule(changes: Partial<Rule> = {}): Rule {
  return {
    id: 'fraud/ErrorsHigh',
    group: 'fraud',
    alert: 'ErrorsHigh',
    model: 'fraud',
    condition: { kind: 'error_ratio', windowMs: minuteMs, limit: { op: 'above', value: 0.05 }, minRequests: 100 },
    forMs: 0,
    keepFiringForMs: 0,
    labels: {},
    annotations: {},
    onNoData: 'hold',
    onError: 'hold',
    rollback: {},
    place: { file: 'rules/fraud.yaml', line: 1, column: 1 },
    ...changes,
  };
}

/** More than 5 % fail, at 1 % false alarms a day. */
export function aSequentialCondition(changes: Partial<SequentialCondition> = {}): SequentialCondition {
  return {
    kind: 'sequential',
    of: { kind: 'error_ratio' },
    limit: { op: 'above', value: 0.05 },
    minRequests: 0,
    healthy: null,
    alpha: 0.01,
    perMs: 24 * hourMs,
    burst: 'auto',
    severe: null,
    ...changes,
  };
}

export function aModel(changes: Partial<Model> = {}): Model {
  return {
    name: 'fraud',
    source: 'prom',
    controlPlane: 'tfs',
    plane: { model: 'fraud' },
    attribution: { kind: 'label', label: 'model_version' },
    versionMap: null,
    observeIntervalMs: 15_000,
    signals: {
      requests: { metric: 'model_requests_total', matchers: [] },
      errors: { metric: null, matchers: [{ label: 'code', op: '=~', value: '5..' }] },
      latency: { metric: 'model_request_duration_seconds', matchers: [], unitSeconds: 1 },
    },
    quality: null,
    rollback: aPolicy(),
    smokeTest: null,
    retention: null,
    links: {},
    ...changes,
  };
}

export function aMeasurement(changes: Partial<Measurement> = {}): Measurement {
  return { requests: 1000, errors: 0, buckets: null, value: null, newestMs: noonMs, windowMs: minuteMs, error: null, ...changes };
}

export function aVerdict(changes: Partial<Verdict> = {}): Verdict {
  return {
    rule: 'fraud/ErrorsHigh',
    model: 'fraud',
    version: '2',
    atMs: noonMs,
    kind: 'breach',
    reason: 'error ratio 10% (100 of 1000) > 5% for 0s',
    signal: 'error_ratio',
    value: 0.1,
    threshold: 0.05,
    requests: 1000,
    breachingSinceMs: noonMs,
    ...changes,
  };
}

/** Two endpoints that serve `version` alone; `others` are loaded beside it. */
export function anObservation(version: string | null, changes: Partial<Observation> & { others?: readonly string[] } = {}): Observation {
  const { others = [], ...rest } = changes;
  const versions = [...(version === null ? [] : [version]), ...others].map((id) => ({ id, state: 'available' as const }));
  const serving = version === null ? [] : [{ version, share: 1 }];
  const endpoint = { versions, serving, routes: {}, config: null };
  return {
    atMs: noonMs,
    endpoints: [
      { endpoint: 'a', ...endpoint },
      { endpoint: 'b', ...endpoint },
    ],
    versions,
    serving,
    token: version,
    pinned: false,
    refusals: [],
    ...rest,
  };
}

export function aLedgerEntry(version: string, changes: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    model: 'fraud',
    version,
    firstSeenMs: noonMs - 100 * hourMs,
    servingSinceMs: null,
    lastServedMs: noonMs - hourMs,
    healthyMs: 10 * hourMs,
    healthyRequests: 100_000,
    lastHealthyMs: noonMs - hourMs,
    origin: 'watched',
    ...changes,
  };
}

/** Takes rows of so many numbers. */
export function aSignature(columns: number): ModelSignature {
  return {
    signatures: {
      serving_default: { inputs: { rows: { type: 'DT_FLOAT', shape: [-1, columns] } }, outputs: { scores: { type: 'DT_FLOAT', shape: [-1, 2] } } },
    },
    ignoresUnknownInputs: false,
  };
}

export function anEpisode(changes: Partial<Episode> = {}): Episode {
  return {
    id: 'rb_01',
    model: 'fraud',
    from: '2',
    to: '1',
    trigger: 'rule',
    rule: 'ErrorsHigh',
    mode: 'enforce',
    state: 'planned',
    outcome: null,
    reason: 'error ratio 10% (100 of 1000) > 5% for 0s',
    detail: '',
    labels: {},
    annotations: {},
    detectedAtMs: noonMs,
    startedAtMs: null,
    switchedAtMs: null,
    recoveredAtMs: null,
    finishedAtMs: null,
    evidence: { signal: 'error_ratio', value: 0.1, threshold: 0.05, requests: 1000, window: '1m', baseline: null, series: [] },
    steps: [],
    smokeTests: [],
    triedTargets: [],
    refusedTargets: [],
    links: {},
    requestedBy: null,
    corrected: false,
    pinned: false,
    policy: aPolicy(),
    smokeTest: null,
    controlPlane: 'tfs',
    ...changes,
  };
}
