import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { realClock } from '../adapters/clock/real-clock.ts';
import { controlPlaneKinds } from '../adapters/control-planes/index.ts';
import { openConfiguredJournal, openPostgresLease } from '../adapters/journal/index.ts';
import { type LeaseDeps, leaseKinds } from '../adapters/leases/index.ts';
import { receiverKinds } from '../adapters/notify/index.ts';
import { createOutbox, type Outbox } from '../adapters/notify/outbox.ts';
import type { ClosableSender } from '../adapters/notify/receiver-kind.ts';
import { createSmokeRunner } from '../adapters/smoke/index.ts';
import { sourcePlugins } from '../adapters/sources/index.ts';
import type { SourcePlugin } from '../adapters/sources/source-plugin.ts';
import type { Config } from '../config/config.ts';
import { commandEnvironment, environment } from '../config/env.ts';
import { lookUp } from '../domain/lookup.ts';
import type { Clock, ControlPlane, Journal, LeaseLock, Log, PlaneDeps, SmokeRunner, Source } from '../domain/ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { App } from './app.ts';
import { Elector, type Office } from './elector.ts';
import { FleetWatch } from './fleet-watch.ts';
import { HealthBoard } from './health-board.ts';
import { soleLeadership } from './leadership.ts';
import { measuredJournal } from './measured-journal.ts';
import { Memory } from './memory.ts';
import { type MessageSink, MessageTeller } from './message-teller.ts';
import { Observer } from './observer.ts';
import { RegistryPlane } from './registry-plane.ts';
import { logMissingRights } from './rights.ts';
import type { Runtime } from './runtime.ts';
import type { Teller } from './teller.ts';
import { VerdictBoard } from './verdict-board.ts';

export type CreateOptions = {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock?: Clock;
  /** Default: the one that the settings name; closed with the application. */
  readonly journal?: Journal;
  readonly smoke?: SmokeRunner;
  /** `--dry-run`. */
  readonly forceDryRun?: boolean;
  /** `--web.external-url`, without a slash at its end. */
  readonly externalUrl?: string | null;
  /** 0..1, for jitter. */
  readonly random?: () => number;
};

/** A running application with what its surroundings need of it. */
export type Created = {
  readonly app: App;
  readonly teller: Teller;
  readonly outbox: MessageSink & Pick<Outbox, 'waiting'>;
  /** Starts the loops, and to elect a leader where there are several replicas. */
  readonly start: () => void;
  /** What is still missing before this process may be relied on; empty = ready. A replica that follows is as good as one that leads. */
  readonly unready: () => readonly string[];
  /** Swaps the settings for those of a checked configuration; throws, and changes nothing, when it cannot be brought to life. */
  readonly apply: (config: Config) => Promise<void>;
  /** Stops everything that was opened here, in reverse. */
  readonly close: (graceMs: number) => Promise<void>;
};

/**
 * The composition root: the only place that knows which adapters there are. Two applications can live in one process.
 * @throws {JournalError} when the journal cannot be opened
 */
export async function createApp(config: Config, options: CreateOptions): Promise<Created> {
  const clock = options.clock ?? realClock;
  const { log, metrics } = options;
  await using owned = new AsyncDisposableStack();
  const opened = options.journal ?? (await openConfiguredJournal(config.journal, { clock, log: log.child({ component: 'journal' }) }));
  owned.defer(async () => await opened.close());
  const health = new HealthBoard({ clock, metrics });
  health.know(alwaysThere);
  const elector = await createElector(config, options, { clock, health, owned });
  const leadership = elector ?? soleLeadership;
  // Of a journal of its own the lease is always well.
  if (elector === null) health.told({ kind: 'lease' }, null);
  const journal = measuredJournal(opened, { metrics, health, clock, onFenced: () => elector?.lose('the journal has a later epoch') });
  const memory = await Memory.load(journal, clock.nowMs());
  const smoke = options.smoke ?? createSmokeRunner({ clock, log: log.child({ component: 'smoke' }), baseEnv: commandEnvironment() });
  const builder = new RuntimeBuilder({ clock, log, metrics, health, memory, forceDryRun: options.forceDryRun ?? false });

  const built = await builder.build(config);
  const board = new VerdictBoard();
  const fleet = new FleetWatch();
  const outbox = createOutbox({
    journal,
    clock,
    log: log.child({ component: 'notify' }),
    senders: built.senders,
    random: options.random ?? Math.random,
    onResult: (result) => {
      if (result.durationMs !== null) {
        metrics.notificationTried(result.integration, result.receiver, result.durationMs);
        const part = { kind: 'receiver', name: result.receiver, integration: result.integration } as const;
        health.told(part, result.outcome === 'sent' ? null : result.detail, String(result.index));
      }
      if (result.outcome === 'superseded') metrics.notificationSuppressed('superseded');
      else if (result.outcome !== 'retry') metrics.notificationEnqueued(result.integration, result.receiver);
      if (result.outcome === 'dropped' && result.reason !== null) metrics.notificationFailed(result.integration, result.receiver, result.reason);
    },
    onWaiting: (count) => metrics.notificationsWaiting(count),
  });
  const stopListening = memory.onAppend((events) => {
    if (events.some((event) => event.type === 'message_enqueued')) void outbox.wake();
  });
  const teller = new MessageTeller({ memory, board, fleet, sink: outbox, log, externalUrl: options.externalUrl ?? null });
  const app = new App(built.runtime, {
    memory,
    board,
    clock,
    log,
    metrics,
    teller,
    smoke,
    postman: outbox,
    leadership,
    fleet,
    health,
    closeRuntime: async (runtime) => await builder.close(runtime),
  });
  const know = ({ known, parts }: Built): void => {
    metrics.know(known);
    health.know([...alwaysThere, ...parts]);
  };
  know(built);
  metrics.configLoaded(clock.nowMs(), config.hash);
  health.journalSizeIs(await journal.sizeBytes());

  const electing = new AbortController();
  // Beside everything else: a plane that does not answer holds nothing up.
  const lookAtRights = (runtime: Runtime): void =>
    void logMissingRights(runtime, log, electing.signal).catch((error: unknown) => log.warn({ err: error }, 'rights could not be asked'));
  let elected: Promise<void> = Promise.resolve();
  const office: Office = {
    prepare: async () => {
      await journal.takeEpoch();
      await memory.catchUp();
    },
    begin: (term) => app.lead(term),
    end: async () => {
      await app.standBy();
      // Who follows does not write: what failed last says nothing of now.
      health.silence({ kind: 'journal' }, 'write');
    },
    follow: async () => void (await memory.catchUp()),
  };
  const journalOwner = owned.move();
  return {
    app,
    start: () => {
      app.start();
      lookAtRights(app.runtime);
      if (elector !== null) elected = elector.run(office, electing.signal);
    },
    unready: () => [elector?.trouble() ?? null, ...app.unready()].filter((reason) => reason !== null),
    teller,
    outbox,
    apply: async (next) => {
      const fresh = await builder.build(next);
      outbox.replaceSenders(fresh.senders);
      know(fresh);
      await app.replaceRuntime(fresh.runtime);
      lookAtRights(fresh.runtime);
    },
    close: async (graceMs) => {
      await app.stop(graceMs);
      // Given up only now that nothing acts any more.
      electing.abort();
      await elected;
      stopListening();
      await journalOwner.disposeAsync();
    },
  };
}

/** `null`: the journal is this process's own. */
async function createElector(
  config: Config,
  options: CreateOptions,
  { clock, health, owned }: { clock: Clock; health: HealthBoard; owned: AsyncDisposableStack },
): Promise<Elector | null> {
  const { journal, leaderElection } = config;
  // A journal that is handed in writes already.
  if (leaderElection === null || journal.kind !== 'postgres' || options.journal !== undefined) return null;
  const { leaseDurationMs, renewDeadlineMs, retryPeriodMs } = leaderElection;
  // A host may run several, and a pod's name may come again.
  const holder = `${hostname()}/${randomUUID().slice(0, 8)}`;
  const monotonicMs = (): number => performance.now();
  const log = options.log.child({ component: 'leader' });
  const lock =
    leaderElection.lease === null
      ? await openPostgresLease({ urlFile: journal.urlFile, holder, leaseDurationMs, queryTimeoutMs: Math.min(5_000, renewDeadlineMs / 2) })
      : await openLease(leaderElection.lease, {
          clock,
          log,
          monotonicMs,
          holder,
          leaseDurationMs,
          environment: environment(),
          signal: AbortSignal.timeout(30_000),
        });
  owned.defer(async () => await lock.close());
  return new Elector({
    lock,
    ...{ leaseDurationMs, renewDeadlineMs, retryPeriodMs },
    clock,
    monotonicMs,
    random: options.random ?? Math.random,
    log,
    onAsked: (failure) => health.told({ kind: 'lease' }, failure),
  });
}

async function openLease({ kind, settings }: { readonly kind: string; readonly settings: unknown }, deps: LeaseDeps): Promise<LeaseLock> {
  const plugin = lookUp(leaseKinds, kind);
  if (plugin === undefined) throw new Error(`no kind of lease "${kind}"`);
  return await plugin.open(settings, deps);
}

/** Only the control planes of a configuration, for commands that look at one; they remember nothing of earlier episodes unless `memory` says so. */
export async function buildPlanes(
  config: Config,
  deps: { clock: Clock; log: Log; memory?: (plane: string) => Readonly<Record<string, unknown>> },
): Promise<{ readonly byName: ReadonlyMap<string, ControlPlane> } & AsyncDisposable> {
  const opened = new Map<string, ControlPlane>();
  for (const entry of config.controlPlanes)
    opened.set(
      entry.name,
      await createPlane(entry, {
        clock: deps.clock,
        log: deps.log,
        memory: () => deps.memory?.(entry.name) ?? {},
        onRequest: () => undefined,
        commandEnv: commandEnvironment(),
      }),
    );
  const byName = withActuators(config.controlPlanes, opened);
  return { byName, [Symbol.asyncDispose]: async () => await closeAll([...opened.values()], deps.log) };
}

async function createPlane(entry: Config['controlPlanes'][number], deps: Omit<PlaneDeps, 'environment'>): Promise<ControlPlane> {
  const kind = controlPlaneKinds.get(entry.kind);
  if (kind === undefined) throw new Error(`no kind of control plane "${entry.kind}"`);
  return await kind.create(entry.settings, { ...deps, environment: environment() });
}

/** Puts each registry before the plane that moves its traffic; all other planes stay as they are. */
function withActuators(entries: Config['controlPlanes'], planes: ReadonlyMap<string, ControlPlane>): ReadonlyMap<string, ControlPlane> {
  return new Map(
    entries.map(({ name, kind, settings }): [string, ControlPlane] => {
      const actuatorName = controlPlaneKinds.get(kind)?.actuator?.(settings) ?? null;
      const [plane, actuator] = [planes.get(name), actuatorName === null ? undefined : planes.get(actuatorName)];
      if (plane === undefined || (actuatorName !== null && actuator === undefined))
        throw new Error(`control plane "${name}" has no actuator "${actuatorName}"`);
      return [name, actuatorName === null || actuator === undefined ? plane : new RegistryPlane({ name, registry: plane, actuator, actuatorName })];
    }),
  );
}

type Built = {
  readonly runtime: Runtime;
  readonly senders: ReadonlyMap<string, readonly ClosableSender[]>;
  readonly known: Parameters<Metrics['know']>[0];
  readonly parts: Parameters<HealthBoard['know']>[0];
};

/** What every process talks to. */
const alwaysThere = [{ part: { kind: 'journal' } }, { part: { kind: 'lease' } }] as const;

type Closable = { close(): Promise<void> | void };
type Shared = { readonly kind: string; readonly name: string; readonly settings: unknown; readonly thing: Closable; users: number };

/** Brings a checked configuration to life, and to rest again. */
class RuntimeBuilder {
  /**
   * Sources and planes in use. Those whose settings a reload leaves alone live on: a source keeps the samples it has gathered, and a server that is
   * written as a whole keeps one writer, also while an episode still runs with the settings from before.
   */
  readonly #shared: Shared[] = [];
  readonly #options: { clock: Clock; log: Log; metrics: Metrics; health: HealthBoard; memory: Memory; forceDryRun: boolean };
  readonly #owned = new Map<Runtime, readonly { close(): Promise<void> | void }[]>();

  constructor(options: { clock: Clock; log: Log; metrics: Metrics; health: HealthBoard; memory: Memory; forceDryRun: boolean }) {
    this.#options = options;
  }

  async build(config: Config): Promise<Built> {
    const { clock, log, health, forceDryRun } = this.#options;
    const opened: { close(): Promise<void> | void }[] = [];
    try {
      const sources = new Map<string, Source>();
      for (const entry of config.sources) sources.set(entry.name, await this.#share(opened, 'source', entry, async () => await this.#source(entry)));
      const plain = new Map<string, ControlPlane>();
      for (const entry of config.controlPlanes) plain.set(entry.name, await this.#share(opened, 'plane', entry, async () => await this.#plane(entry)));
      const planes = withActuators(config.controlPlanes, plain);
      const senders = new Map<string, readonly ClosableSender[]>();
      for (const receiver of config.receivers) senders.set(receiver.name, await this.#senders(receiver, opened));
      const observer = new Observer({ planes, clock, log: log.child({ component: 'observer' }), health });
      const models = new Map(config.models.map((model) => [model.name, model]));
      const runtime: Runtime = {
        models,
        groups: config.groups,
        modelGroups: config.modelGroups,
        sources,
        planes,
        observer,
        route: config.route,
        sendResolved: resolvedReceivers(config),
        externalLabels: config.globalLabels,
        limits: config.limits,
        calendar: config.calendar,
        forceDryRun,
      };
      this.#owned.set(runtime, opened);
      const observed = Map.groupBy(models.values(), (model) => model.controlPlane);
      const known = {
        models: [...models.keys()],
        groups: config.groups,
        sources: [...sources.keys()],
        controlPlanes: [...planes.keys()],
        observedPlanes: [...observed.keys()],
        receivers: config.receivers.flatMap((receiver) =>
          receiver.integrations.map(({ kind }) => ({ integration: receiverKinds.get(kind)?.kind ?? kind, receiver: receiver.name })),
        ),
      };
      const parts = [
        ...known.sources.map((name) => ({ part: { kind: 'source', name } as const })),
        ...[...observed].map(([name, watched]) => ({ part: { kind: 'control_plane', name } as const, voices: watched.map((model) => model.name) })),
        ...known.receivers.map(({ receiver, integration }) => ({ part: { kind: 'receiver', name: receiver, integration } as const })),
      ];
      return { runtime, senders, known, parts };
    } catch (error) {
      await closeAll(opened, log);
      throw error;
    }
  }

  async close(runtime: Runtime): Promise<void> {
    const opened = this.#owned.get(runtime) ?? [];
    this.#owned.delete(runtime);
    await closeAll(opened, this.#options.log);
  }

  async #share<Thing extends Closable>(
    opened: Closable[],
    role: string,
    entry: { readonly kind: string; readonly name: string; readonly settings: unknown },
    create: () => Promise<Thing>,
  ): Promise<Thing> {
    const kind = `${role} ${entry.kind}`;
    let shared = this.#shared.find((other) => other.kind === kind && other.name === entry.name && isDeepStrictEqual(other.settings, entry.settings));
    if (shared === undefined) this.#shared.push((shared = { kind, name: entry.name, settings: entry.settings, thing: await create(), users: 0 }));
    const held = shared;
    held.users += 1;
    opened.push({ close: async () => await this.#release(held) });
    return held.thing as Thing;
  }

  async #release(shared: Shared): Promise<void> {
    shared.users -= 1;
    if (shared.users > 0) return;
    this.#shared.splice(this.#shared.indexOf(shared), 1);
    await shared.thing.close();
  }

  async #source(entry: Config['sources'][number]): Promise<Source> {
    const { clock, log, metrics } = this.#options;
    const plugin = Object.values(sourcePlugins).find((candidate) => candidate.kind === entry.kind) as SourcePlugin<unknown> | undefined;
    if (plugin === undefined) throw new Error(`no kind of source "${entry.kind}"`);
    return await plugin.create(entry.settings, {
      clock,
      log: log.child({ component: 'source', source: entry.name }),
      onRequest: (_method, code, durationMs) => metrics.sourceAsked(entry.name, { code, durationMs }),
      onWarning: () => metrics.sourceWarned(entry.name),
    });
  }

  async #plane(entry: Config['controlPlanes'][number]): Promise<ControlPlane> {
    const { clock, log, metrics, memory } = this.#options;
    return await createPlane(entry, {
      clock,
      log: log.child({ component: 'control-plane', plane: entry.name }),
      memory: () => memory.planeMemory(entry.name),
      onRequest: (method, code, durationMs) => metrics.controlPlaneAsked(entry.name, method, code, durationMs),
      commandEnv: commandEnvironment(),
    });
  }

  async #senders(receiver: Config['receivers'][number], opened: { close(): Promise<void> | void }[]): Promise<readonly ClosableSender[]> {
    const { clock, log } = this.#options;
    const senders: ClosableSender[] = [];
    for (const [index, { kind, settings }] of receiver.integrations.entries()) {
      const plugin = receiverKinds.get(kind);
      if (plugin === undefined) throw new Error(`no kind of receiver "${kind}"`);
      senders.push(
        keep(
          opened,
          await plugin.create(settings, { clock, log: log.child({ component: 'notify', receiver: receiver.name }), receiver: receiver.name, index }),
        ),
      );
    }
    return senders;
  }
}

/** Receivers of which an integration has `send_resolved`. */
function resolvedReceivers(config: Config): ReadonlySet<string> {
  const hears = (settings: unknown): boolean =>
    typeof settings === 'object' && settings !== null && 'send_resolved' in settings && settings.send_resolved === true;
  return new Set(config.receivers.filter((receiver) => receiver.integrations.some(({ settings }) => hears(settings))).map((receiver) => receiver.name));
}

function keep<Thing extends { close(): Promise<void> | void }>(opened: { close(): Promise<void> | void }[], thing: Thing): Thing {
  opened.push(thing);
  return thing;
}

/** In reverse; what cannot be closed is logged and does not keep the rest open. */
async function closeAll(opened: readonly { close(): Promise<void> | void }[], log: Log): Promise<void> {
  for (const thing of opened.toReversed()) {
    try {
      await thing.close();
    } catch (error) {
      log.warn({ err: error }, 'could not be closed');
    }
  }
}
