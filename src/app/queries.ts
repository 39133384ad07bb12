import { spellCondition } from '../domain/conditions/spell-condition.ts';
import type { Episode } from '../domain/episode.ts';
import { findFlapLock } from '../domain/flap-lock.ts';
import { isKnownGood } from '../domain/ledger.ts';
import type { Model } from '../domain/model.ts';
import type { VersionState } from '../domain/observation.ts';
import type { Clock } from '../domain/ports.ts';
import { isInForce, type Pause, pauseOf } from '../domain/records.ts';
import type { Rule } from '../domain/rule.ts';
import type { Verdict, VerdictKind } from '../domain/verdict.ts';
import type { TalkingPart } from '../telemetry/metrics.ts';
import { scrubText } from '../telemetry/redaction.ts';
import type {
  AlertView,
  ListFilter,
  ModelDetailView,
  ModelView,
  NamedPartView,
  PartView,
  PauseView,
  Queries,
  RuleGroupView,
  RuleView,
  StatusView,
  VerdictView,
  VersionView,
} from '../web/api.ts';
import { type App, versionRoles } from './app.ts';
import type { PartHealth } from './health-board.ts';
import type { SettingsStatus } from './reloader.ts';
import { renderRuleTexts } from './rule-texts.ts';
import { effectivePolicy, isActing } from './runtime.ts';

/** Gravest last. */
const gravity: readonly VerdictKind[] = ['ok', 'suppressed', 'no_data', 'error', 'pending', 'breach'];

/** What the application itself does not know. */
export type Surroundings = { readonly settings: () => SettingsStatus; readonly messagesWaiting: () => number };

/** What can be read of a running application: the journal for the past, its memory and board for now. */
export class AppQueries implements Queries {
  readonly #app: App;
  readonly #clock: Clock;
  readonly #surroundings: Surroundings;

  constructor(app: App, clock: Clock, surroundings: Surroundings) {
    this.#app = app;
    this.#clock = clock;
    this.#surroundings = surroundings;
  }

  async models(): Promise<readonly ModelView[]> {
    const nowMs = this.#clock.nowMs();
    return [...this.#app.runtime.models.values()].map((model) => this.#view(model, nowMs));
  }

  async model(name: string): Promise<ModelDetailView | null> {
    const model = this.#app.runtime.models.get(name);
    if (model === undefined) return null;
    return { ...this.#view(model, this.#clock.nowMs()), verdicts: this.#app.board.of(name).map((verdict) => this.#verdictView(verdict)) };
  }

  async rollbacks(filter: ListFilter) {
    return await this.#app.memory.journal.episodes(filter);
  }

  async rollback(id: string) {
    return await this.#app.memory.journal.episode(id);
  }

  async decisionOf({ id, model, detectedAtMs }: Episode) {
    // Both are journalled at once.
    const near = await this.#app.memory.journal.decisions({ model, sinceMs: detectedAtMs - 1_000, untilMs: detectedAtMs + 1_000 });
    return near.find((decision) => decision.episode === id) ?? null;
  }

  async decisions(filter: ListFilter) {
    return await this.#app.memory.journal.decisions(filter);
  }

  async rules(model?: string): Promise<readonly RuleGroupView[]> {
    const groups = this.#app.runtime.groups.filter((group) => model === undefined || group.model === model);
    return groups.map((group) => ({
      name: group.name,
      file: group.rules[0]?.place.file ?? '',
      model: group.model,
      interval: group.intervalMs / 1000,
      rules: group.rules.map((rule) => this.#ruleView(rule)),
    }));
  }

  async alerts(): Promise<readonly AlertView[]> {
    return this.#app.runtime.groups.flatMap((group) => group.rules).flatMap((rule) => this.#alertsOf(rule));
  }

  async status(): Promise<StatusView> {
    const { runtime, memory, leadership, fleet, health, startedMs } = this.#app;
    const nowMs = this.#clock.nowMs();
    const { config, loadedMs, faults } = this.#surroundings.settings();
    const named = (kind: 'source' | 'control_plane', entry: { readonly name: string; readonly kind: string }): NamedPartView => ({
      name: entry.name,
      kind: entry.kind,
      ...this.#part({ kind, name: entry.name }),
    });
    return {
      started: instant(startedMs),
      leader: { leads: leadership.leads(), holder: leadership.leader(), lease: config.leaderElection === null ? null : this.#part({ kind: 'lease' }) },
      journal: { kind: config.journal.kind, epoch: memory.journal.epoch, size_bytes: health.journalBytes, ...this.#part({ kind: 'journal' }) },
      sources: config.sources.map((entry) => named('source', entry)),
      control_planes: config.controlPlanes.map((entry) => named('control_plane', entry)),
      receivers: health.receivers().map(({ part, health: of }) => ({ name: part.name, kind: part.integration, ...viewPart(of) })),
      messages_waiting: this.#surroundings.messagesWaiting(),
      breakers: fleet.open.map(({ name, sinceMs, detail }) => ({ name, since: instant(sinceMs), detail })),
      freeze_windows: [...runtime.calendar.windows(nowMs)].map(([name, active]) => ({ name, active })),
      paused: memory
        .pauses()
        .filter((pause) => isInForce(pause, nowMs))
        .map((pause) => ({ model: pause.model, ...viewPause(pause) })),
      flap_locked: [...runtime.models.keys()].filter((model) => findFlapLock(memory.episodes(model), runtime.limits.flapLock.windowMs, nowMs) !== null),
      config: { hash: config.hash, loaded: instant(loadedMs), last_reload_successful: faults.length === 0, faults: faults.map(scrubText) },
    };
  }

  #part(part: TalkingPart): PartView {
    return viewPart(this.#app.health.of(part));
  }

  #view(model: Model, nowMs: number): ModelView {
    const { runtime, memory, board } = this.#app;
    const verdicts = board.of(model.name);
    const gravest = verdicts.toSorted((a, b) => gravity.indexOf(b.kind) - gravity.indexOf(a.kind))[0];
    const episodes = memory.episodes(model.name);
    const last = episodes.find((episode) => episode.finishedAtMs !== null && episode.mode === 'enforce');
    const observation = runtime.observer.latest(model);
    const pause = pauseOf(memory.pauses(), model.name, nowMs);
    return {
      name: model.name,
      mode: effectivePolicy(runtime, model, null).mode,
      source: model.source,
      control_plane: model.controlPlane,
      versions: this.#versions(model),
      verdict: gravest?.kind ?? null,
      reason: gravest?.reason ?? null,
      paused: pause === undefined ? null : viewPause(pause),
      frozen: runtime.calendar.freezes(model.name, nowMs).map(({ detail }) => detail),
      pinned: observation?.pinned ?? false,
      rollback_in_progress: episodes.find((episode) => episode.finishedAtMs === null)?.id ?? null,
      last_rollback: last === undefined ? null : { id: last.id, at: instant(last.finishedAtMs ?? last.detectedAtMs), outcome: last.outcome },
      observed_at: observation === null ? null : instant(observation.atMs),
      error: runtime.observer.failure(model.name),
    };
  }

  #versions(model: Model): readonly VersionView[] {
    const { runtime, memory } = this.#app;
    const observation = runtime.observer.latest(model);
    const nowMs = this.#clock.nowMs();
    const roles = new Map(versionRoles(runtime, memory, model.name, nowMs).map(({ version, role }) => [version, role]));
    const quarantine = new Map(
      memory
        .quarantine(model.name)
        .filter((entry) => entry.untilMs > nowMs)
        .map((entry) => [entry.version, entry]),
    );
    const states = new Map<string, VersionState>(observation?.versions.map(({ id, state }) => [id, state]) ?? []);
    const ids = new Set([...roles.keys(), ...states.keys(), ...memory.ledger(model.name).map((entry) => entry.version)]);
    return [...ids].map((version): VersionView => {
      const entry = memory.ledgerEntry(model.name, version);
      const record = isKnownGood(entry, version, model.rollback.knownGood);
      const quarantined = quarantine.get(version);
      return {
        version,
        role: roles.get(version) ?? null,
        state: states.get(version) ?? 'absent',
        share: observation?.serving.find((share) => share.version === version)?.share ?? 0,
        known_good: record.good,
        known_good_reason: record.reason,
        quarantined_until: quarantined === undefined ? null : instant(quarantined.untilMs),
        first_seen: entry === null ? null : instant(entry.firstSeenMs),
      };
    });
  }

  #verdictView(verdict: Verdict): VerdictView {
    return {
      rule: verdict.rule,
      version: verdict.version,
      verdict: verdict.kind,
      reason: verdict.reason,
      value: verdict.value,
      threshold: verdict.threshold,
      requests: verdict.requests,
      at: instant(verdict.atMs),
    };
  }

  #ruleView(rule: Rule): RuleView {
    const { runtime, board } = this.#app;
    const model = runtime.models.get(rule.model);
    const verdicts = board.of(rule.model).filter((verdict) => verdict.rule === rule.id);
    const alerts = this.#alertsOf(rule);
    const failing = verdicts.find((verdict) => verdict.kind === 'error');
    const lastMs = Math.max(0, ...verdicts.map((verdict) => verdict.atMs));
    return {
      type: 'alerting',
      name: rule.alert,
      state: alerts.some((alert) => alert.state === 'firing') ? 'firing' : alerts.length > 0 ? 'pending' : 'inactive',
      query: spellCondition(rule.condition),
      duration: rule.forMs / 1000,
      keepFiringFor: rule.keepFiringForMs / 1000,
      labels: rule.labels,
      annotations: rule.annotations,
      health: verdicts.length === 0 ? 'unknown' : failing === undefined ? 'ok' : 'err',
      ...(failing === undefined ? {} : { lastError: failing.reason }),
      lastEvaluation: lastMs === 0 ? null : instant(lastMs),
      mode: model !== undefined && isActing(runtime, model, rule) ? effectivePolicy(runtime, model, rule).mode : null,
      alerts,
    };
  }

  #alertsOf(rule: Rule): readonly AlertView[] {
    const { board, memory, runtime } = this.#app;
    return board
      .of(rule.model)
      .filter((verdict) => verdict.rule === rule.id)
      .flatMap((verdict): AlertView[] => {
        const firingSinceMs = memory.ruleState(rule.id, verdict.version)?.firingSinceMs ?? null;
        if (firingSinceMs === null && verdict.kind !== 'pending') return [];
        const texts = renderRuleTexts(rule, { model: rule.model, version: verdict.version, value: verdict.value, externalLabels: runtime.externalLabels });
        return [
          {
            ...texts,
            state: firingSinceMs === null ? 'pending' : 'firing',
            activeAt: instant(firingSinceMs ?? verdict.breachingSinceMs ?? verdict.atMs),
            value: String(verdict.value ?? ''),
          },
        ];
      });
  }
}

export function viewPause(pause: Pause): PauseView {
  return { since: instant(pause.sinceMs), until: pause.untilMs === null ? null : instant(pause.untilMs), reason: pause.reason, by: pause.by };
}

function viewPart({ up, sinceMs, lastSuccessMs, error }: PartHealth): PartView {
  const at = (atMs: number | null): string | null => (atMs === null ? null : instant(atMs));
  return { up, since: at(sinceMs), last_success: at(lastSuccessMs), error };
}

function instant(atMs: number): string {
  return new Date(atMs).toISOString();
}
