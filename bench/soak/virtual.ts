import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openJournal } from '../../src/adapters/journal/sqlite/open.ts';
import { createOutbox } from '../../src/adapters/notify/outbox.ts';
import { App } from '../../src/app/app.ts';
import { FleetWatch } from '../../src/app/fleet-watch.ts';
import { HealthBoard } from '../../src/app/health-board.ts';
import { pruneJournal } from '../../src/app/jobs.ts';
import { soleLeadership } from '../../src/app/leadership.ts';
import { Memory } from '../../src/app/memory.ts';
import { MessageTeller } from '../../src/app/message-teller.ts';
import { Observer } from '../../src/app/observer.ts';
import { AppQueries } from '../../src/app/queries.ts';
import type { Runtime } from '../../src/app/runtime.ts';
import { VerdictBoard } from '../../src/app/verdict-board.ts';
import { emptyCalendar } from '../../src/domain/calendar.ts';
import { defaultLimits } from '../../src/domain/limits.ts';
import type { ControlPlane, Source } from '../../src/domain/ports.ts';
import type { Rule } from '../../src/domain/rule.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { aModel, aPolicy, aRule } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { passingSmoke, silentLog } from '../../test/support/stage.ts';
import { describeMachine, median, numberFlag, tableText } from '../support/machine.ts';
import { isClearlyAbove, slopeOf, slopeText } from '../support/slope.ts';

/**
 * The worker for days, in virtual time: every ten minutes a new version of one model is bad and is rolled back, sources, planes and the receiver fail now
 * and then, the files are reloaded, the journal is pruned every night. Exit code 1: it grows, or holds ever more of anything.
 *
 *     node --expose-gc bench/soak/virtual.ts [--days=5] [--models=2]
 */
const days = numberFlag('days', 5);
const modelCount = numberFlag('models', 2);
const { gc } = globalThis;
if (gc === undefined) throw new Error('run it with --expose-gc, or by `npm run soak:virtual`');

const [minuteMs, hourMs, dayMs] = [60_000, 3_600_000, 86_400_000];
const stepMs = 5_000;
const sampleEveryMs = 3 * hourMs;
/** Rows that the journal may keep: those of a day and a half. */
const retentionMs = 1.5 * dayMs;
const deployEveryMs = 10 * minuteMs;
/** Names that versions have in turn. */
const versionNames = 20;
/**
 * The worker keeps so many rollbacks of a model at hand. Until all are there the heap may grow by what one takes; after that only by the ids of messages,
 * of which the outbox remembers the last 10,000: some 430 a day here, 0.1 to 0.2 kB each.
 */
const atHand = 200;
const bounds = { kbPerRollback: 40, kbPerDay: 150 };

console.log(describeMachine());
const folder = await mkdtemp(join(tmpdir(), 'rollbackd-soak-'));
await using _folder = { [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true, maxRetries: 3 }) };
const warnings: string[] = [];
process.on('warning', (warning) => warnings.push(`${warning.name}: ${warning.message}`));

const clock = new FakeClock(Date.UTC(2026, 10, 22));
const world = Array.from({ length: modelCount }, (_, index) => {
  const source = new FakeSource();
  source.traffic.set('1', { requests: 100, errorRatio: 0 });
  return { name: `model-${index}`, source, plane: new FakePlane({ clock, serving: '1', loadMs: 5_000 }), newest: 1, isBad: false };
});
const journal = await openJournal({ path: join(folder, 'rollbackd.db'), clock });
const [memory, board, fleet] = [await Memory.load(journal), new VerdictBoard(), new FleetWatch()];
const metrics = new Metrics({ version: 'soak' }, { processMetrics: false });
const health = new HealthBoard({ clock, metrics });
let sent = 0;
let isReceiverDown = false;
const outbox = createOutbox({
  journal,
  clock,
  log: silentLog,
  senders: new Map([
    [
      'oncall',
      [
        {
          lane: 'sink/0',
          send: async () => {
            if (isReceiverDown) return { kind: 'retry', retryAfterMs: null, reason: 'serverError', detail: 'status 503' };
            sent += 1;
            return { kind: 'sent', detail: '' };
          },
        },
      ],
    ],
  ]),
  random: () => 0.5,
});
memory.onAppend((events) => {
  if (events.some(({ type }) => type === 'message_enqueued')) void outbox.wake();
});
let closed = 0;
const app = new App(aRuntime(0), {
  ...{ memory, board, clock, metrics, fleet, health },
  log: silentLog,
  teller: new MessageTeller({ memory, board, fleet, sink: outbox, log: silentLog }),
  smoke: passingSmoke,
  leadership: soleLeadership,
  postman: outbox,
  closeRuntime: async () => {
    closed += 1;
  },
});
const queries = new AppQueries(app, clock, {
  settings: () => ({ config: { file: '', hash: '', files: [] } as never, loadedMs: 0, faults: [] }),
} as unknown as ConstructorParameters<typeof AppQueries>[2]);
app.start();

type Sample = {
  readonly day: number;
  readonly heapMb: number;
  readonly externalMb: number;
  readonly resources: number;
  readonly sleepers: number;
  readonly rows: number;
  readonly rollbacks: number;
};
const samples: Sample[] = [];
const counts = { deployed: 0, reloads: 0, faults: 0, missed: 0 };
const begunAt = performance.now();
for (let passedMs = stepMs; passedMs <= days * dayMs; passedMs += stepMs) {
  await clock.advance(stepMs);
  followTraffic();
  await disturb(passedMs);
  if (passedMs % sampleEveryMs === 0) samples.push(await takeSample(passedMs));
}
const wallSeconds = (performance.now() - begunAt) / 1000;
counts.missed = metricSum(await metrics.render(), 'rollbackd_rule_group_iterations_missed_total');
const iterations = metricSum(await metrics.render(), 'rollbackd_rule_group_iterations_total');
const verified = await journal.verify();
const ended = app.stop(0);
for (let second = 0; second < 30; second += 1) await clock.advance(1_000);
await ended;
const left = clock.sleeping;
await journal.close();
const failures = report();
for (const failure of failures) console.error(`failed: ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;

/** As the files say it; `revision` is a reload, which changes a rule of the first model. */
function aRuntime(revision: number): Runtime {
  const planes = new Map<string, ControlPlane>(world.map(({ name, plane }) => [name, plane]));
  const rollback = aPolicy({
    knownGood: { minAgeMs: minuteMs, minRequests: 100, backfillMs: 0, versions: ['1'] },
    cooldownMs: 0,
    maxPer: { count: 100, windowMs: hourMs },
    quarantineMs: hourMs,
  });
  const models = new Map(world.map(({ name }) => [name, aModel({ name, source: name, controlPlane: name, rollback })]));
  return {
    models,
    groups: world.map(({ name }, index) => ({ name, model: name, intervalMs: 15_000, rules: rulesOf(name, index === 0 ? revision : 0) })),
    modelGroups: [],
    sources: new Map<string, Source>(world.map(({ name, source }) => [name, source])),
    planes,
    observer: new Observer({ planes, clock, log: silentLog, health }),
    externalLabels: {},
    limits: { ...defaultLimits, flapLock: { ...defaultLimits.flapLock, windowMs: 1 } },
    calendar: emptyCalendar,
    route: {
      receiver: 'oncall',
      groupBy: ['model'],
      groupWaitMs: 30_000,
      groupIntervalMs: 5 * minuteMs,
      repeatIntervalMs: 4 * hourMs,
      matchers: [],
      continue: false,
      routes: [],
    },
    sendResolved: new Set(['oncall']),
    forceDryRun: false,
  };
}

function rulesOf(model: string, revision: number): readonly Rule[] {
  const rule = (alert: string, changes: Partial<Rule>): Rule =>
    aRule({ id: `${model}/${alert}`, group: model, model, alert, annotations: { summary: `revision ${revision}` }, ...changes });
  const ratio = (value: number): Rule['condition'] => ({ kind: 'error_ratio', windowMs: minuteMs, limit: { op: 'above', value }, minRequests: 100 });
  return [
    rule('ErrorsHigh', { condition: ratio(0.05), forMs: 30_000 }),
    rule('ErrorsSome', { condition: ratio(0.01), rollback: null }),
    rule('TrafficLow', { condition: { kind: 'request_rate', windowMs: minuteMs, limit: { op: 'below', value: 1 }, minRequests: 0 }, rollback: null }),
    rule('ErrorsMost', { condition: ratio(0.5 + revision / 1000), rollback: null }),
  ];
}

/** Traffic goes where the planes send it; of a version that was deployed last and is bad a tenth fails. */
function followTraffic(): void {
  for (const model of world) {
    const serving = model.plane.serving()[0] ?? '';
    model.source.traffic.clear();
    model.source.traffic.set(serving, { requests: 100, errorRatio: model.isBad && serving === String(model.newest) ? 0.1 : 0 });
    // What a test wants to know is no memory of the program.
    for (const noted of [model.source.windows, model.plane.applied, model.plane.switches]) noted.length = 0;
  }
}

async function disturb(passedMs: number): Promise<void> {
  const at = (minute: number, everyMinutes: number): boolean => passedMs % (everyMinutes * minuteMs) === minute * minuteMs;
  const model = world[Math.floor(passedMs / deployEveryMs) % world.length];
  if (model !== undefined && at(1, deployEveryMs / minuteMs)) {
    model.newest = 2 + (Math.floor(counts.deployed / world.length) % versionNames);
    counts.deployed += 1;
    model.isBad = true;
    model.plane.switchBehindTheBack(String(model.newest));
  }
  if (at(29, 120)) {
    counts.reloads += 1;
    await app.replaceRuntime(aRuntime(counts.reloads));
  }
  for (const { source, plane } of world) {
    if (at(35, 300)) source.failure = 'connection refused';
    if (at(38, 300)) source.failure = null;
    if (at(40, 420)) plane.unreachable = 'no answer';
    if (at(43, 420)) plane.unreachable = null;
  }
  if (at(3, 240)) isReceiverDown = true;
  if (at(20, 240)) isReceiverDown = false;
  if (at(35, 300) || at(40, 420) || at(3, 240)) counts.faults += 1;
  if (passedMs % dayMs === 0) await pruneJournal({ app, clock, log: silentLog, retentionMs: () => retentionMs });
}

async function takeSample(passedMs: number): Promise<Sample> {
  await Promise.all([queries.models(), queries.rules(), queries.alerts(), queries.rollbacks({ limit: 100 }), queries.decisions({ limit: 100 })]);
  await metrics.render();
  for (let round = 0; round < 3; round += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    gc?.();
  }
  const { heapUsed, external } = process.memoryUsage();
  const checked = await journal.verify();
  const sample = {
    day: passedMs / dayMs,
    heapMb: heapUsed / 1e6,
    externalMb: external / 1e6,
    resources: process.getActiveResourcesInfo().length,
    sleepers: clock.sleeping,
    rows: checked.ok ? checked.events : Number.NaN,
    rollbacks: memory.episodes().length,
  };
  console.log(
    `day ${sample.day.toFixed(3)}: heap ${sample.heapMb.toFixed(2)} MB, ${sample.resources} resources, ${sample.sleepers} sleepers, ${sample.rows} events, ${sample.rollbacks} rollbacks at hand`,
  );
  return sample;
}

function metricSum({ body }: { readonly body: string }, name: string): number {
  return body
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

function report(): readonly string[] {
  // The first half day is the start: caches fill, code is compiled.
  const filling = samples.filter(({ day, rollbacks }) => day > 0.5 && rollbacks < atHand * modelCount);
  const full = samples.filter(({ rollbacks }) => rollbacks >= atHand * modelCount);
  const perRollback = slopeOf(filling.map(({ rollbacks, heapMb }) => [rollbacks, heapMb * 1000]));
  const perDay = slopeOf(full.map(({ day, heapMb }) => [day, heapMb * 1000]));
  const external = slopeOf(full.map(({ day, externalMb }) => [day, externalMb * 1000]));
  const episodes = memory.episodes();
  const unwell = episodes.filter(({ finishedAtMs, outcome }) => finishedAtMs !== null && outcome !== 'success');
  const most = (of: (sample: Sample) => number, from: number, to: number): number =>
    Math.max(...samples.filter(({ day }) => day > from * days && day <= to * days).map(of));
  const [early, late] = [(of: (sample: Sample) => number): number => most(of, 0.25, 0.75), (of: (sample: Sample) => number): number => most(of, 0.75, 1)];
  const middle = (of: (sample: Sample) => number): string => median(samples.map(of)).toFixed(1);
  const rows = [
    ['heap after a collection, while rollbacks gather', `${middle(({ heapMb }) => heapMb)} MB`, `${slopeText(perRollback, 1)} kB a rollback`],
    [`the same, with ${atHand} of every model at hand`, `${median(full.map(({ heapMb }) => heapMb)).toFixed(1)} MB`, `${slopeText(perDay, 0)} kB a day`],
    ['outside the heap, then', `${median(full.map(({ externalMb }) => externalMb)).toFixed(1)} MB`, `${slopeText(external, 0)} kB a day`],
    ['active resources', middle(({ resources }) => resources), `most ${early(({ resources }) => resources)}, then ${late(({ resources }) => resources)}`],
    ['virtual timers', middle(({ sleepers }) => sleepers), `most ${early(({ sleepers }) => sleepers)}, then ${late(({ sleepers }) => sleepers)}`],
    ['events in the journal', middle(({ rows: events }) => events), `most ${early(({ rows: events }) => events)}, then ${late(({ rows: events }) => events)}`],
  ];
  console.log(`\n${tableText([['', 'median', 'growth'], ...rows])}`);
  console.log(`${days} days of ${modelCount} models × 4 rules in ${(wallSeconds / 60).toFixed(1)} minutes; ${iterations} iterations, ${counts.missed} missed`);
  console.log(
    `${counts.deployed} bad versions, ${episodes.length} rollbacks at hand, ${unwell.length} of them not well; ${counts.reloads} reloads, ${counts.faults} faults, ${sent} messages; chain ${verified.ok ? 'whole' : 'BROKEN'}; ${left} timers left after the stop`,
  );
  console.log(describeMachine());
  return [
    ...(isClearlyAbove(perRollback, bounds.kbPerRollback)
      ? [`a rollback takes ${slopeText(perRollback, 1)} kB, expected at most ${bounds.kbPerRollback}`]
      : []),
    ...(isClearlyAbove(perDay, bounds.kbPerDay) ? [`the heap grows by ${slopeText(perDay, 0)} kB a day, expected at most ${bounds.kbPerDay}`] : []),
    ...(late(({ resources }) => resources) > early(({ resources }) => resources) ? ['more and more active resources'] : []),
    ...(late(({ sleepers }) => sleepers) > early(({ sleepers }) => sleepers) ? ['more and more timers'] : []),
    ...(days >= 8 && late(({ rows: events }) => events) > 1.1 * early(({ rows: events }) => events) ? ['the journal keeps more and more events'] : []),
    ...(episodes.length < Math.min(0.9 * counts.deployed, atHand * modelCount) ? [`${episodes.length} rollbacks for ${counts.deployed} bad versions`] : []),
    ...unwell.slice(0, 5).map(({ id, detail }) => `${id}: ${detail}`),
    ...(counts.missed > 0 ? [`${counts.missed} iterations were missed`] : []),
    ...(closed !== counts.reloads + 1 ? [`${closed} readings of the files were closed, expected ${counts.reloads + 1}`] : []),
    ...(left > 0 ? [`${left} timers are left after the stop`] : []),
    ...(verified.ok ? [] : ['the chain of the journal is broken']),
    ...(sent === 0 ? ['nobody was told'] : []),
    ...warnings,
  ];
}
