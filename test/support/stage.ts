import { App, type AppDeps, type Postman } from '../../src/app/app.ts';
import { FleetWatch } from '../../src/app/fleet-watch.ts';
import { HealthBoard } from '../../src/app/health-board.ts';
import { soleLeadership } from '../../src/app/leadership.ts';
import { measuredJournal } from '../../src/app/measured-journal.ts';
import { Memory } from '../../src/app/memory.ts';
import { Observer } from '../../src/app/observer.ts';
import { RegistryPlane } from '../../src/app/registry-plane.ts';
import type { Runtime } from '../../src/app/runtime.ts';
import type { Teller } from '../../src/app/teller.ts';
import { VerdictBoard } from '../../src/app/verdict-board.ts';
import { type Calendar, emptyCalendar } from '../../src/domain/calendar.ts';
import type { Episode } from '../../src/domain/episode.ts';
import { defaultLimits, type Limits } from '../../src/domain/limits.ts';
import type { Model } from '../../src/domain/model.ts';
import type { ModelGroup } from '../../src/domain/model-group.ts';
import type { ControlPlane, Journal, Leadership, Log, SmokeRunner, Source } from '../../src/domain/ports.ts';
import type { Rule } from '../../src/domain/rule.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { aModel, aRule } from './builders.ts';
import type { FakeClock } from './fake-clock.ts';
import type { FakePlane } from './fake-plane.ts';

export const silentLog: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silentLog };

/** Remembers what was told. */
export class FakeTeller implements Teller {
  readonly opened: Episode[] = [];
  readonly finished: Episode[] = [];
  onOpened(episode: Episode) {
    this.opened.push(episode);
    return [];
  }
  onStarted() {
    return [];
  }
  onFinished(episode: Episode) {
    this.finished.push(episode);
    return [];
  }
  async tellAlerts(): Promise<void> {}
  logClosed(): void {}
}

/** Ends processes, without waiting for what they have in hand. */
export async function stopAll(apps: readonly App[]): Promise<void> {
  for (const app of apps) {
    app.hurry();
    await app.stop(0);
  }
}

export type StageOptions = {
  readonly clock: FakeClock;
  readonly journal: Journal;
  readonly plane: ControlPlane;
  /** Put before the plane, as the composition root does for a registry with an actuator. */
  readonly registry?: ControlPlane;
  readonly source: Source;
  /** Further sources, by name. */
  readonly sources?: Readonly<Record<string, Source>>;
  readonly model?: Partial<Model>;
  readonly rules?: readonly Rule[];
  /** How often they are judged. Default: 5 s. */
  readonly intervalMs?: number;
  readonly smoke?: SmokeRunner;
  readonly forceDryRun?: boolean;
  readonly limits?: Limits;
  readonly calendar?: Calendar;
  readonly modelGroups?: readonly ModelGroup[];
  /** Default: it leads alone. */
  readonly leadership?: Leadership;
  /** Default: {@link FakeTeller}. All it tells goes to the receiver `oncall`. */
  readonly tell?: (parts: { readonly memory: Memory; readonly board: VerdictBoard; readonly fleet: FleetWatch }) => Teller;
  /** Default: nobody sends. */
  readonly postman?: Postman;
  /** Further models, each on a plane of its own. */
  readonly others?: readonly { readonly model: Partial<Model> & { readonly name: string }; readonly plane: FakePlane }[];
};

export const passingSmoke: SmokeRunner = { run: async () => [{ name: 'one transaction', outcome: 'passed', durationMs: 5, detail: '' }] };

function planeOf({ plane, registry }: StageOptions): ControlPlane {
  return registry === undefined ? plane : new RegistryPlane({ name: 'registry', registry, actuator: plane, actuatorName: 'actuator' });
}

const rootRoute = {
  receiver: 'oncall',
  groupBy: [],
  groupWaitMs: 0,
  groupIntervalMs: 0,
  repeatIntervalMs: 0,
  matchers: [],
  continue: false,
  routes: [],
} as const;

/** The whole application on fakes for what lies outside, and on virtual time. */
export async function setStage(
  options: StageOptions,
): Promise<{ app: App; teller: FakeTeller; runtime: Runtime; model: Model; metrics: Metrics; health: HealthBoard }> {
  const model = aModel(options.model);
  const rules = options.rules ?? [aRule({ model: model.name })];
  const others = (options.others ?? []).map(({ model: changes, plane }) => ({ model: aModel({ ...changes, controlPlane: changes.name }), plane }));
  const planes = new Map<string, ControlPlane>([['tfs', planeOf(options)], ...others.map(({ model: other, plane }) => [other.name, plane] as const)]);
  const metrics = new Metrics({ version: 'test' }, { processMetrics: false });
  const health = new HealthBoard({ clock: options.clock, metrics });
  const runtime: Runtime = {
    models: new Map([model, ...others.map((other) => other.model)].map((each) => [each.name, each])),
    groups: [
      { name: 'fraud', model: model.name, intervalMs: options.intervalMs ?? 5_000, rules },
      ...others.map(({ model: { name } }) => ({
        name,
        model: name,
        intervalMs: 5_000,
        rules: [aRule({ id: `${name}/ErrorsHigh`, group: name, model: name })],
      })),
    ],
    modelGroups: options.modelGroups ?? [],
    sources: new Map<string, Source>([['prom', options.source], ...Object.entries(options.sources ?? {})]),
    planes,
    observer: new Observer({ planes, clock: options.clock, log: silentLog, health }),
    externalLabels: {},
    limits: options.limits ?? defaultLimits,
    calendar: options.calendar ?? emptyCalendar,
    route: options.tell === undefined ? null : rootRoute,
    sendResolved: new Set(),
    forceDryRun: options.forceDryRun ?? false,
  };
  health.know([
    ...['journal', 'lease'].map((kind) => ({ part: { kind: kind as 'journal' | 'lease' } })),
    ...[...runtime.sources.keys()].map((name) => ({ part: { kind: 'source', name } as const })),
    ...[...planes.keys()].map((name) => ({ part: { kind: 'control_plane', name } as const })),
  ]);
  const teller = new FakeTeller();
  const fleet = new FleetWatch();
  const [memory, board] = [await Memory.load(measuredJournal(options.journal, { metrics, health, clock: options.clock })), new VerdictBoard()];
  const deps: AppDeps = {
    memory,
    board,
    clock: options.clock,
    log: silentLog,
    metrics,
    teller: options.tell?.({ memory, board, fleet }) ?? teller,
    smoke: options.smoke ?? passingSmoke,
    leadership: options.leadership ?? soleLeadership,
    fleet,
    health,
    postman: options.postman ?? { run: async () => undefined, flush: async () => undefined },
    closeRuntime: async () => undefined,
  };
  return { app: new App(runtime, deps), teller, runtime, model, metrics, health };
}
