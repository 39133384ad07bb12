import { isDeepStrictEqual } from 'node:util';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { breakerNames } from '../domain/breakers.ts';
import type { Decision } from '../domain/decision.ts';
import type { Episode, EpisodeOutcome, SmokeResult, Trigger } from '../domain/episode.ts';
import type { NotifyFailure } from '../domain/ports.ts';
import type { Rule } from '../domain/rule.ts';
import type { Verdict, VerdictKind } from '../domain/verdict.ts';

type Kind = 'counter' | 'gauge' | 'histogram';
type Definition = {
  readonly name: string;
  readonly kind: Kind;
  readonly help: string;
  readonly labels: readonly string[];
  readonly buckets?: readonly number[];
};

const gauge = (name: string, labels: readonly string[], help: string) => ({ name, kind: 'gauge', labels, help }) as const;
const counter = (name: string, labels: readonly string[], help: string) => ({ name, kind: 'counter', labels, help }) as const;
const histogram = (name: string, labels: readonly string[], buckets: readonly number[], help: string) =>
  ({ name, kind: 'histogram', labels, buckets, help }) as const;

const requestSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const rollbackSeconds = [1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600];
const writeSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

/** Every metric of our own: name, labels, meaning. Nothing else in the program names a metric or a label. */
const definitions = {
  buildInfo: gauge('rollbackd_build_info', ['version', 'revision', 'nodeversion'], 'Always 1; what runs here.'),
  configReloadSuccessful: gauge('rollbackd_config_last_reload_successful', [], '1 when the last attempt to load the configuration worked, else 0.'),
  configReloadSeconds: gauge('rollbackd_config_last_reload_success_timestamp_seconds', [], 'When the configuration in force was loaded.'),
  configHash: gauge('rollbackd_config_hash', [], 'First 48 bits of the SHA-256 of the configuration in force and its rule files.'),
  groupInterval: gauge('rollbackd_rule_group_interval_seconds', ['rule_group'], 'Interval of the group.'),
  groupLastEvaluation: gauge('rollbackd_rule_group_last_evaluation_timestamp_seconds', ['rule_group'], 'When the group was last evaluated.'),
  groupLastDuration: gauge('rollbackd_rule_group_last_duration_seconds', ['rule_group'], 'How long the last evaluation of the group took.'),
  groupIterations: counter('rollbackd_rule_group_iterations_total', ['rule_group'], 'Evaluations of the group that were due, also those missed.'),
  groupIterationsMissed: counter(
    'rollbackd_rule_group_iterations_missed_total',
    ['rule_group'],
    'Evaluations of the group that were due and did not happen, since the one before took too long.',
  ),
  groupRules: gauge('rollbackd_rule_group_rules', ['rule_group'], 'Rules in the group.'),
  evaluations: counter('rollbackd_rule_evaluations_total', ['rule_group'], 'Evaluations of rules, one per version judged.'),
  evaluationFailures: counter(
    'rollbackd_rule_evaluation_failures_total',
    ['rule_group'],
    'Evaluations that could not judge, since the source failed or answered in part.',
  ),
  evaluationDuration: histogram(
    'rollbackd_rule_evaluation_duration_seconds',
    [],
    requestSeconds,
    'Duration of one evaluation of a group, from asking to verdicts.',
  ),
  ruleState: gauge(
    'rollbackd_rule_state',
    ['rule_group', 'alertname', 'model', 'state'],
    '1 for the gravest verdict over the versions of the last evaluation, 0 for the others.',
  ),
  alerts: gauge('rollbackd_alerts', ['alertname', 'model', 'version', 'alertstate'], '1 for each alert that is pending or firing.'),
  modelVersion: gauge(
    'rollbackd_model_version_info',
    ['model', 'version', 'role'],
    '1 for each known version in its role: active, candidate, baseline, quarantined.',
  ),
  value: gauge(
    'rollbackd_evaluated_value',
    ['alertname', 'model', 'version'],
    'Last number judged, in the unit of its signal: ratio, seconds, requests per second.',
  ),
  threshold: gauge('rollbackd_evaluated_threshold', ['alertname', 'model', 'version'], 'The limit it was held against.'),
  decisions: counter(
    'rollbackd_decisions_total',
    ['model', 'decision', 'reason'],
    'Decisions that followed from a breach, also those not to act, by the first guard that held.',
  ),
  rollbacks: counter(
    'rollbackd_rollbacks_total',
    ['model', 'trigger', 'outcome'],
    'Rollbacks that ended, by outcome: success, failure, unknown. Dry runs are not counted.',
  ),
  rollbackDuration: histogram(
    'rollbackd_rollback_duration_seconds',
    ['model', 'outcome'],
    rollbackSeconds,
    'Time from the start of a rollback to its end, the stick period included.',
  ),
  stepDuration: histogram(
    'rollbackd_rollback_step_duration_seconds',
    ['step'],
    [0.05, 0.1, 0.25, 0.5, ...rollbackSeconds],
    'Duration of the parts of a rollback: control_plane (calls), converge (until the plane confirms), smoke_test, notify.',
  ),
  detectionToRecovery: histogram(
    'rollbackd_detection_to_recovery_seconds',
    ['model'],
    rollbackSeconds,
    'Time from the detection to healthy metrics on the target.',
  ),
  inProgress: gauge('rollbackd_rollback_in_progress', ['model'], '1 while a rollback of the model is under way.'),
  startedSeconds: gauge('rollbackd_rollback_started_timestamp_seconds', ['model'], 'When the rollback that is under way started; 0 while there is none.'),
  smokeTests: counter('rollbackd_smoke_tests_total', ['model', 'outcome'], 'Requests and commands of smoke tests that were run, by outcome: passed, failed.'),
  smokeDuration: histogram('rollbackd_smoke_test_duration_seconds', ['model', 'outcome'], requestSeconds, 'Their duration.'),
  sourceUp: gauge('rollbackd_source_up', ['source'], '1 when the last conversation with the source worked, else 0.'),
  sourceLastSuccess: gauge('rollbackd_source_last_success_timestamp_seconds', ['source'], 'When it last worked.'),
  sourceRequests: counter(
    'rollbackd_source_requests_total',
    ['source', 'code'],
    'Requests to the source by HTTP status, or by the kind of failure (timeout, network).',
  ),
  sourceDuration: histogram('rollbackd_source_request_duration_seconds', ['source'], requestSeconds, 'Their duration.'),
  sourceWarnings: counter('rollbackd_source_warnings_total', ['source'], 'Answers that came with warnings or in part; nothing is concluded from them.'),
  planeUp: gauge(
    'rollbackd_control_plane_up',
    ['control_plane'],
    '1 when the last observation of each of its models worked, else 0. Only planes that models name.',
  ),
  planeLastSuccess: gauge('rollbackd_control_plane_last_success_timestamp_seconds', ['control_plane'], 'When all of them last worked.'),
  planeRequests: counter(
    'rollbackd_control_plane_requests_total',
    ['control_plane', 'method', 'code'],
    'Mutations and confirmations sent to the control plane, by its own status.',
  ),
  planeDuration: histogram('rollbackd_control_plane_request_duration_seconds', ['control_plane', 'method'], requestSeconds, 'Their duration.'),
  receiverUp: gauge(
    'rollbackd_receiver_up',
    ['integration', 'receiver'],
    '0 when the last attempt to send to the receiver failed, else 1 (also before the first).',
  ),
  notifications: counter('rollbackd_notifications_total', ['integration', 'receiver'], 'Notifications that were sent, or given up.'),
  notificationsFailed: counter(
    'rollbackd_notifications_failed_total',
    ['integration', 'receiver', 'reason'],
    'Notifications given up, or dropped by a broken receiver.',
  ),
  notificationRequests: counter('rollbackd_notification_requests_total', ['integration', 'receiver'], 'Attempts to send one, repeats included.'),
  notificationLatency: histogram('rollbackd_notification_latency_seconds', ['integration', 'receiver'], requestSeconds, 'Duration of one attempt.'),
  notificationsSuppressed: counter('rollbackd_notifications_suppressed_total', ['reason'], 'Notifications that were not sent on purpose.'),
  notificationQueue: gauge('rollbackd_notification_queue_length', [], 'Notifications that wait to be sent.'),
  journalUp: gauge('rollbackd_journal_up', [], '1 when the journal was last read and written without a failure, else 0.'),
  journalWrites: counter('rollbackd_journal_writes_total', [], 'Durable appends to the journal, failed ones included.'),
  journalWriteFailures: counter('rollbackd_journal_write_failures_total', [], 'Appends that failed: nothing is enforced meanwhile.'),
  journalWriteDuration: histogram('rollbackd_journal_write_duration_seconds', [], writeSeconds, 'Duration of one append.'),
  leader: gauge('rollbackd_leader', [], '1 while this process leads: it writes the journal, acts and tells. Always 1 with a journal of its own.'),
  leaderTransitions: counter('rollbackd_leader_transitions_total', [], 'How often this process began to lead.'),
  leaseUp: gauge('rollbackd_lease_up', [], '1 when the lease could be asked the last time, else 0; always 1 with a journal of its own.'),
  journalSize: gauge('rollbackd_journal_size_bytes', [], 'Size of the journal.'),
  paused: gauge('rollbackd_model_paused', ['model'], '1 while rollbacks of the model are paused.'),
  pausedSince: gauge('rollbackd_model_paused_since_timestamp_seconds', ['model'], 'Since when; 0 while they are not.'),
  freezeActive: gauge('rollbackd_freeze_active', ['name'], '1 while the freeze window is on: deny, nothing is rolled back; allow, it may be.'),
  breakerOpen: gauge('rollbackd_breaker_open', ['breaker'], '1 while the breaker (telemetry, breach) is open: nothing is rolled back.'),
  flapLocked: gauge('rollbackd_model_flap_locked', ['model'], '1 while the model is not rolled back any more, since it flaps; `rollbackd resume` lifts it.'),
  pinned: gauge(
    'rollbackd_model_pinned',
    ['model'],
    '1 while the control plane holds a version on our account after a rollback; `rollbackd unpin` gives its policy back.',
  ),
} as const satisfies Record<string, Definition>;

type Definitions = typeof definitions;
type Instrument<D extends Definition> = D['kind'] extends 'counter' ? Counter : D['kind'] extends 'gauge' ? Gauge : Histogram;
type Instruments = { readonly [Key in keyof Definitions]: Instrument<Definitions[Key]> };

const verdictKinds: readonly VerdictKind[] = ['ok', 'suppressed', 'no_data', 'error', 'pending', 'breach'];
const outcomes: readonly EpisodeOutcome[] = ['success', 'failure', 'unknown'];
const ownTriggers: readonly Trigger[] = ['rule', 'manual'];
const failureReasons: readonly NotifyFailure[] = [
  'clientError',
  'serverError',
  'rateLimited',
  'authError',
  'contextCanceled',
  'contextDeadlineExceeded',
  'other',
];

/** What is configured; its series exist at zero from the start, and those of what went away are forgotten. */
export type KnownNames = {
  readonly models: readonly string[];
  readonly groups: readonly { readonly name: string; readonly intervalMs: number; readonly rules: readonly Rule[] }[];
  readonly sources: readonly string[];
  readonly controlPlanes: readonly string[];
  /** Those that models name: they are observed. */
  readonly observedPlanes: readonly string[];
  readonly receivers: readonly { readonly integration: string; readonly receiver: string }[];
};

/** What this process talks to. */
export type TalkingPart =
  | { readonly kind: 'source' | 'control_plane'; readonly name: string }
  | { readonly kind: 'receiver'; readonly name: string; readonly integration: string }
  | { readonly kind: 'journal' | 'lease' };

export type AlertSample = { readonly alertname: string; readonly model: string; readonly version: string; readonly state: 'pending' | 'firing' };
export type VersionRole = 'active' | 'candidate' | 'baseline' | 'quarantined';
export type RollbackStepKind = 'control_plane' | 'converge' | 'smoke_test' | 'notify';

/** Our numbers, by what happened. One instance per application, with a registry of its own; times in ms as everywhere, converted here. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #of: Instruments;
  readonly #shownStates = new Map<string, VerdictKind | null>();

  /** `processMetrics`: also `process_*` and `nodejs_*` (off in tests that compare whole answers). */
  constructor(build: { readonly version: string; readonly revision?: string }, options: { readonly processMetrics?: boolean } = {}) {
    this.#of = createInstruments(this.#registry);
    this.#of.buildInfo.set({ version: build.version, revision: build.revision ?? 'unknown', nodeversion: process.version }, 1);
    if (options.processMetrics !== false) collectDefaultMetrics({ register: this.#registry });
  }

  /** Answer to `GET /metrics`. */
  async render(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  /** To be told after each load of the configuration. */
  know(names: KnownNames): void {
    const of = this.#of;
    forgetOthers(of, names);
    this.#shownStates.clear();
    for (const breaker of breakerNames) of.breakerOpen.inc({ breaker }, 0);
    for (const model of names.models) {
      for (const trigger of ownTriggers) for (const outcome of outcomes) of.rollbacks.inc({ model, trigger, outcome }, 0);
      for (const outcome of ['passed', 'failed']) of.smokeTests.inc({ model, outcome }, 0);
      for (const each of [of.inProgress, of.startedSeconds, of.paused, of.pausedSince, of.flapLocked, of.pinned]) each.inc({ model }, 0);
    }
    for (const { name, intervalMs, rules } of names.groups) {
      of.groupInterval.set({ rule_group: name }, intervalMs / 1000);
      of.groupRules.set({ rule_group: name }, rules.length);
      for (const each of [of.groupIterations, of.groupIterationsMissed, of.evaluations, of.evaluationFailures]) each.inc({ rule_group: name }, 0);
    }
    for (const source of names.sources) {
      of.sourceUp.inc({ source }, 0);
      of.sourceWarnings.inc({ source }, 0);
    }
    for (const plane of labelSetsOf(of.planeUp)) if (!names.observedPlanes.includes(plane['control_plane'] ?? '')) of.planeUp.remove(plane);
    for (const control_plane of names.observedPlanes) of.planeUp.inc({ control_plane }, 0);
    for (const receiver of names.receivers) {
      if (!labelSetsOf(of.receiverUp).some((known) => isDeepStrictEqual(known, receiver)))
        of.receiverUp.set({ integration: receiver.integration, receiver: receiver.receiver }, 1);
      of.notifications.inc(receiver, 0);
      of.notificationRequests.inc(receiver, 0);
      for (const reason of failureReasons) of.notificationsFailed.inc({ ...receiver, reason }, 0);
    }
  }

  /** `hash`: hexadecimal SHA-256 of what is in force. */
  configLoaded(atMs: number, hash: string): void {
    this.#of.configReloadSuccessful.set(1);
    this.#of.configReloadSeconds.set(atMs / 1000);
    this.#of.configHash.set(Number.parseInt(hash.slice(0, 12), 16));
  }

  configRefused(): void {
    this.#of.configReloadSuccessful.set(0);
  }

  /** One evaluation of a group; `missed`: those that were due since the last one and did not happen. */
  groupEvaluated(group: string, evaluation: { readonly atMs: number; readonly durationMs: number; readonly missed: number }): void {
    const label = { rule_group: group };
    this.#of.groupLastEvaluation.set(label, evaluation.atMs / 1000);
    this.#of.groupLastDuration.set(label, evaluation.durationMs / 1000);
    this.#of.groupIterations.inc(label, 1 + evaluation.missed);
    this.#of.groupIterationsMissed.inc(label, evaluation.missed);
    this.#of.evaluationDuration.observe(evaluation.durationMs / 1000);
  }

  /** All verdicts of one rule at one instant, a version each; `before`: versions judged the last time (or only those gone since), whose numbers go away if they are not judged now. */
  ruleJudged(rule: Pick<Rule, 'group' | 'alert' | 'model'>, verdicts: readonly Verdict[], before: readonly string[] = []): void {
    const of = this.#of;
    of.evaluations.inc({ rule_group: rule.group }, verdicts.length);
    of.evaluationFailures.inc({ rule_group: rule.group }, verdicts.filter((verdict) => verdict.kind === 'error').length);
    const gravest = Math.max(...verdicts.map((verdict) => verdictKinds.indexOf(verdict.kind)));
    const labels = { alertname: rule.alert, model: rule.model };
    this.#showState({ ...labels, rule_group: rule.group }, verdictKinds[gravest] ?? null);
    for (const version of before) for (const each of [of.value, of.threshold]) each.remove({ ...labels, version });
    for (const verdict of verdicts) {
      if (verdict.value !== null) of.value.set({ ...labels, version: verdict.version }, verdict.value);
      if (verdict.threshold !== null) of.threshold.set({ ...labels, version: verdict.version }, verdict.threshold);
    }
  }

  /** Six series a rule: written only when the state changes, since a fleet has thousands of rules. */
  #showState(labels: { readonly alertname: string; readonly model: string; readonly rule_group: string }, state: VerdictKind | null): void {
    const key = `${labels.rule_group}\0${labels.alertname}\0${labels.model}`;
    if (this.#shownStates.get(key) === state) return;
    this.#shownStates.set(key, state);
    for (const kind of verdictKinds) this.#of.ruleState.set({ ...labels, state: kind }, kind === state ? 1 : 0);
  }

  /** All alerts that are pending or firing now. */
  alertsAre(alerts: readonly AlertSample[]): void {
    this.#of.alerts.reset();
    for (const { alertname, model, version, state } of alerts) this.#of.alerts.set({ alertname, model, version, alertstate: state }, 1);
  }

  /** All versions of all models in their roles. */
  versionsAre(versions: readonly { readonly model: string; readonly version: string; readonly role: VersionRole }[]): void {
    this.#of.modelVersion.reset();
    for (const labels of versions) this.#of.modelVersion.set(labels, 1);
  }

  decisionMade(decision: Pick<Decision, 'model' | 'decision' | 'reason'>): void {
    this.#of.decisions.inc({ model: decision.model, decision: decision.decision, reason: decision.reason });
  }

  /** Also told of open episodes found in the journal at start. */
  episodeStarted(episode: Pick<Episode, 'model' | 'startedAtMs' | 'detectedAtMs'>): void {
    this.#of.inProgress.set({ model: episode.model }, 1);
    this.#of.startedSeconds.set({ model: episode.model }, (episode.startedAtMs ?? episode.detectedAtMs) / 1000);
  }

  /** Any end but a dry run's; one that never started (rejected, aborted before the first step) is not counted as a rollback. */
  episodeFinished(episode: Episode): void {
    const { model, trigger, outcome } = episode;
    this.#of.inProgress.set({ model }, 0);
    this.#of.startedSeconds.set({ model }, 0);
    const neverBegan = episode.startedAtMs === null && (episode.state === 'rejected' || episode.state === 'aborted');
    if (outcome === null || neverBegan) return;
    this.#of.rollbacks.inc({ model, trigger, outcome });
    if (episode.finishedAtMs !== null)
      this.#of.rollbackDuration.observe({ model, outcome }, secondsBetween(episode.startedAtMs ?? episode.detectedAtMs, episode.finishedAtMs));
    if (episode.recoveredAtMs !== null) this.#of.detectionToRecovery.observe({ model }, secondsBetween(episode.detectedAtMs, episode.recoveredAtMs));
  }

  rollbackStepTook(step: RollbackStepKind, durationMs: number): void {
    this.#of.stepDuration.observe({ step }, durationMs / 1000);
  }

  smokeTested(model: string, results: readonly Pick<SmokeResult, 'outcome' | 'durationMs'>[]): void {
    for (const { outcome, durationMs } of results) {
      this.#of.smokeTests.inc({ model, outcome });
      this.#of.smokeDuration.observe({ model, outcome }, durationMs / 1000);
    }
  }

  /** One request; `code`: HTTP status, or `timeout`, `network`. */
  sourceAsked(source: string, request: { readonly code: string; readonly durationMs: number }): void {
    this.#of.sourceRequests.inc({ source, code: request.code });
    this.#of.sourceDuration.observe({ source }, request.durationMs / 1000);
  }

  sourceWarned(source: string): void {
    this.#of.sourceWarnings.inc({ source });
  }

  /** Whether all that was last said with a part worked. */
  partIs(part: TalkingPart, up: boolean, lastSuccessMs: number | null): void {
    const of = this.#of;
    const value = up ? 1 : 0;
    switch (part.kind) {
      case 'source':
        of.sourceUp.set({ source: part.name }, value);
        if (lastSuccessMs !== null) of.sourceLastSuccess.set({ source: part.name }, lastSuccessMs / 1000);
        return;
      case 'control_plane':
        of.planeUp.set({ control_plane: part.name }, value);
        if (lastSuccessMs !== null) of.planeLastSuccess.set({ control_plane: part.name }, lastSuccessMs / 1000);
        return;
      case 'receiver':
        return of.receiverUp.set({ integration: part.integration, receiver: part.name }, value);
      case 'journal':
        return of.journalUp.set(value);
      case 'lease':
        return of.leaseUp.set(value);
    }
  }

  /** Fits `PlaneDeps.onRequest` once the plane is bound. */
  controlPlaneAsked(controlPlane: string, method: string, code: string, durationMs: number): void {
    this.#of.planeRequests.inc({ control_plane: controlPlane, method, code });
    this.#of.planeDuration.observe({ control_plane: controlPlane, method }, durationMs / 1000);
  }

  notificationEnqueued(integration: string, receiver: string): void {
    this.#of.notifications.inc({ integration, receiver });
  }

  notificationTried(integration: string, receiver: string, durationMs: number): void {
    this.#of.notificationRequests.inc({ integration, receiver });
    this.#of.notificationLatency.observe({ integration, receiver }, durationMs / 1000);
  }

  notificationFailed(integration: string, receiver: string, reason: NotifyFailure): void {
    this.#of.notificationsFailed.inc({ integration, receiver, reason });
  }

  notificationSuppressed(reason: string): void {
    this.#of.notificationsSuppressed.inc({ reason });
  }

  notificationsWaiting(count: number): void {
    this.#of.notificationQueue.set(count);
  }

  journalWritten(durationMs: number, ok: boolean): void {
    this.#of.journalWrites.inc();
    if (!ok) this.#of.journalWriteFailures.inc();
    this.#of.journalWriteDuration.observe(durationMs / 1000);
  }

  /** Also told at start. */
  leaderIs(leads: boolean): void {
    this.#of.leader.set(leads ? 1 : 0);
    if (leads) this.#of.leaderTransitions.inc();
  }

  journalSizeIs(bytes: number): void {
    this.#of.journalSize.set(bytes);
  }

  /** `sinceMs`: `null` when it is not paused. A pause of all models is told for each. */
  modelPaused(model: string, sinceMs: number | null): void {
    this.#of.paused.set({ model }, sinceMs === null ? 0 : 1);
    this.#of.pausedSince.set({ model }, (sinceMs ?? 0) / 1000);
  }

  /** Each freeze window of the files, and whether it is on. */
  freezesAre(windows: ReadonlyMap<string, boolean>): void {
    this.#of.freezeActive.reset();
    for (const [name, isOn] of windows) this.#of.freezeActive.set({ name }, isOn ? 1 : 0);
  }

  /** All that are open. */
  breakersAre(open: readonly (typeof breakerNames)[number][]): void {
    for (const breaker of breakerNames) this.#of.breakerOpen.set({ breaker }, open.includes(breaker) ? 1 : 0);
  }

  modelFlapLocked(model: string, locked: boolean): void {
    this.#of.flapLocked.set({ model }, locked ? 1 : 0);
  }

  modelPinned(model: string, pinned: boolean): void {
    this.#of.pinned.set({ model }, pinned ? 1 : 0);
  }
}

/** Written to `docs/metrics.md` by `npm run write:docs`. */
export function renderMetricsDocument(): string {
  const rows = Object.values(definitions).map(
    (each) => `| \`${each.name}\` | ${each.kind} | ${each.labels.map((label) => `\`${label}\``).join(', ')} | ${each.help} |`,
  );
  return [
    '# Metrics',
    '',
    '<!-- Written by `npm run write:docs` from src/telemetry/metrics.ts; do not edit. -->',
    '',
    '`GET /metrics` answers in the Prometheus text format. Times are seconds, timestamps seconds since 1970. Beside these there are the `process_*` and `nodejs_*` metrics of prom-client.',
    'Series of configured models, rule groups, sources and receivers exist at zero from the start; those of what left the configuration go away with the reload.',
    '',
    '| name | type | labels | meaning |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

function createInstruments(registry: Registry): Instruments {
  const create = ({ name, kind, help, labels, buckets }: Definition): Counter | Gauge | Histogram => {
    const common = { name, help, labelNames: [...labels], registers: [registry] };
    if (kind === 'counter') return new Counter(common);
    return kind === 'gauge' ? new Gauge(common) : new Histogram({ ...common, buckets: [...(buckets ?? [])] });
  };
  return Object.fromEntries(Object.entries(definitions).map(([key, definition]) => [key, create(definition)])) as unknown as Instruments;
}

/** Drops gauges and counters of models, groups, sources and receivers that are configured no more. */
function forgetOthers(of: Instruments, names: KnownNames): void {
  const known: Readonly<Record<string, ReadonlySet<string>>> = {
    model: new Set(names.models),
    rule_group: new Set(names.groups.map((group) => group.name)),
    source: new Set(names.sources),
    control_plane: new Set(names.controlPlanes),
    receiver: new Set(names.receivers.map((each) => each.receiver)),
    alertname: new Set(names.groups.flatMap((group) => group.rules.map((rule) => rule.alert))),
  };
  for (const instrument of Object.values(of)) {
    for (const labels of labelSetsOf(instrument)) {
      if (Object.entries(labels).some(([label, value]) => known[label]?.has(value) === false)) instrument.remove(labels);
    }
  }
}

/** prom-client keeps its series in `hashMap` and has no reader that does without rendering them. */
function labelSetsOf(instrument: Counter | Gauge | Histogram): Record<string, string>[] {
  const { hashMap } = instrument as unknown as { hashMap: Record<string, { labels: Record<string, string> }> };
  return Object.values(hashMap).map((series) => series.labels);
}

function secondsBetween(startMs: number, endMs: number): number {
  return Math.max(0, endMs - startMs) / 1000;
}
