import type { Episode } from '../domain/episode.ts';
import { viewEpisode } from '../domain/episode-view.ts';
import type { JournalEvent } from '../domain/event.ts';
import type { AlertContent, AlertItem, ApprovalContent, EpisodeContent } from '../domain/message.ts';
import type { Log } from '../domain/ports.ts';
import type { OutboxMessage } from '../domain/records.ts';
import { pickReceivers, type Route } from '../domain/routing.ts';
import { logRollbackClosed } from '../telemetry/rollback-line.ts';
import { type FiringAlert, type GrouperState, noGroups, step } from './alert-grouper.ts';
import type { FleetWatch } from './fleet-watch.ts';
import type { Memory } from './memory.ts';
import { renderRuleTexts, renderVersionLinks } from './rule-texts.ts';
import type { Runtime } from './runtime.ts';
import type { Teller } from './teller.ts';
import type { VerdictBoard } from './verdict-board.ts';

/** An episode that ends before is told of once, at its end. */
const startedAfterMs = 30_000;

export type NewMessage = Pick<OutboxMessage, 'id' | 'receiver' | 'kind' | 'content'> & { readonly notBeforeMs?: number };

/** The outbox as the teller needs it. */
export type MessageSink = {
  enqueue(message: NewMessage): Promise<boolean>;
  events(messages: readonly NewMessage[]): readonly JournalEvent[];
};

/** Builds messages from episodes and alerts, for the receivers that the routes name. */
export class MessageTeller implements Teller {
  readonly #memory: Memory;
  readonly #board: VerdictBoard;
  readonly #fleet: FleetWatch;
  readonly #sink: MessageSink;
  readonly #log: Log;
  readonly #externalUrl: string | null;
  #groups: GrouperState<AlertItem> = noGroups;

  /** @param options.externalUrl of our own pages as people reach them, without a slash at its end; absent or `null`: no message links them */
  constructor(options: { memory: Memory; board: VerdictBoard; fleet: FleetWatch; sink: MessageSink; log: Log; externalUrl?: string | null }) {
    this.#memory = options.memory;
    this.#board = options.board;
    this.#fleet = options.fleet;
    this.#sink = options.sink;
    this.#log = options.log;
    this.#externalUrl = options.externalUrl ?? null;
  }

  onOpened(episode: Episode, runtime: Runtime): readonly JournalEvent[] {
    if (episode.state === 'recorded') return this.#tell(episode, runtime, 'episode_finished', 'finished', this.#content(episode, runtime));
    if (episode.state !== 'pending_approval') return [];
    const expiresAt = new Date(episode.detectedAtMs + episode.policy.approvalTimeoutMs).toISOString();
    const content: ApprovalContent = { ...this.#content(episode, runtime), expiresAt };
    return this.#tell(episode, runtime, 'approval_needed', 'approval', content);
  }

  onStarted(episode: Episode, runtime: Runtime): readonly JournalEvent[] {
    return this.#tell(
      episode,
      runtime,
      'episode_started',
      'started',
      this.#content(episode, runtime),
      (episode.startedAtMs ?? episode.detectedAtMs) + startedAfterMs,
    );
  }

  onFinished(episode: Episode, runtime: Runtime): readonly JournalEvent[] {
    return this.#tell(episode, runtime, 'episode_finished', 'finished', this.#content(episode, runtime));
  }

  async tellAlerts(runtime: Runtime, nowMs: number): Promise<void> {
    if (runtime.route === null) return;
    try {
      const config = { route: runtime.route, sendResolved: (receiver: string) => runtime.sendResolved.has(receiver) };
      const { state, send } = step(config, this.#groups, [...this.#firing(runtime), ...this.#breakers()], nowMs);
      this.#groups = state;
      for (const { id, receiver, status, alerts } of send) {
        const content: AlertContent = {
          status,
          externalLabels: runtime.externalLabels,
          links: this.#alertLinks(alerts, runtime),
          alerts: alerts.map(({ data, endsAtMs }) => ({ ...data, endsAt: endsAtMs === null ? null : new Date(endsAtMs).toISOString() })),
        };
        await this.#sink.enqueue({ id, receiver, kind: 'alert', content });
      }
    } catch (error) {
      this.#log.error({ err: error }, 'alerts could not be told');
    }
  }

  logClosed(episode: Episode): void {
    logRollbackClosed(this.#log, episode);
  }

  #tell(
    episode: Episode,
    runtime: Runtime,
    kind: OutboxMessage['kind'],
    suffix: string,
    content: EpisodeContent,
    notBeforeMs?: number,
  ): readonly JournalEvent[] {
    const receivers = receiversOf(runtime.route, { ...episode.labels, model: episode.model, version: episode.from, alertname: episode.rule ?? '' });
    return this.#sink.events(
      receivers.map((receiver) => ({
        id: `${episode.id}/${suffix}`,
        receiver,
        kind,
        content: content as unknown as Readonly<Record<string, unknown>>,
        ...(notBeforeMs === undefined ? {} : { notBeforeMs }),
      })),
    );
  }

  #content(episode: Episode, runtime: Runtime): EpisodeContent {
    const quarantined = this.#memory.quarantine(episode.model).find((entry) => entry.version === episode.from);
    const endpoints = new Set(episode.steps.filter((entry) => entry.step.phase !== 'persist').map((entry) => entry.step.endpoint));
    return {
      ...viewEpisode(episode),
      links: this.#withPage(`rollbacks/${encodeURIComponent(episode.id)}`, episode.links),
      externalLabels: runtime.externalLabels,
      quarantinedUntil: quarantined === undefined ? null : new Date(quarantined.untilMs).toISOString(),
      replicas: endpoints.size === 0 ? null : endpoints.size,
      requestedBy: episode.requestedBy,
    };
  }

  /** Links of the version that the alerts are about; none where they are about several. */
  #alertLinks(alerts: readonly { readonly data: AlertItem }[], runtime: Runtime): Readonly<Record<string, string>> {
    const [first, ...others] = new Map(alerts.map(({ data }) => [`${data.model} ${data.version}`, data])).values();
    const model = first === undefined || others.length > 0 ? undefined : runtime.models.get(first.model);
    if (model === undefined || first === undefined) return {};
    const links = renderVersionLinks(model, runtime.planes.get(model.controlPlane), first.version);
    return this.#withPage(`models/${encodeURIComponent(model.name)}`, links);
  }

  /** With our own page first; a link of that name in the settings is kept. */
  #withPage(path: string, links: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    return this.#externalUrl === null ? links : { rollbackd: `${this.#externalUrl}/${path}`, ...links };
  }

  /** Breakers that are open concern all models, and are told as alerts of our own. */
  #breakers(): readonly FiringAlert<AlertItem>[] {
    return this.#fleet.open.map(({ name, sinceMs, detail }) => {
      const labels = { alertname: 'RollbackdBreakerOpen', breaker: name, severity: 'page' };
      const summary = `The ${name} breaker is open: nothing is rolled back until it has closed.`;
      const data: AlertItem = {
        alert: labels.alertname,
        model: 'all models',
        version: '',
        summary,
        reason: detail,
        labels,
        startsAt: new Date(sinceMs).toISOString(),
        endsAt: null,
      };
      return { fingerprint: `breaker ${name}`, labels, startsAtMs: sinceMs, data };
    });
  }

  /** Alerts that fire, but for those whose breach opened an episode: these speak through the episode. */
  #firing(runtime: Runtime): readonly FiringAlert<AlertItem>[] {
    return runtime.groups
      .flatMap((group) => group.rules)
      .flatMap((rule) =>
        this.#board
          .of(rule.model)
          .filter((verdict) => verdict.rule === rule.id)
          .flatMap((verdict): FiringAlert<AlertItem>[] => {
            const firingSinceMs = this.#memory.ruleState(rule.id, verdict.version)?.firingSinceMs ?? null;
            if (firingSinceMs === null || this.#speaksThroughEpisode(rule.model, verdict.version, firingSinceMs)) return [];
            const { labels, annotations } = renderRuleTexts(rule, {
              model: rule.model,
              version: verdict.version,
              value: verdict.value,
              externalLabels: runtime.externalLabels,
            });
            const data: AlertItem = {
              alert: rule.alert,
              model: rule.model,
              version: verdict.version,
              summary: annotations['summary'] ?? '',
              reason: verdict.reason,
              labels,
              startsAt: new Date(firingSinceMs).toISOString(),
              endsAt: null,
            };
            return [{ fingerprint: `${rule.id} ${verdict.version}`, labels, startsAtMs: firingSinceMs, data }];
          }),
      );
  }

  #speaksThroughEpisode(model: string, version: string, firingSinceMs: number): boolean {
    return this.#memory.episodes(model).some((episode) => episode.from === version && (episode.finishedAtMs === null || episode.finishedAtMs >= firingSinceMs));
  }
}

/** Distinct receivers for these labels. */
export function receiversOf(route: Route | null, labels: Readonly<Record<string, string>>): readonly string[] {
  return route === null ? [] : [...new Set(pickReceivers(route, labels).map((found) => found.receiver))];
}
