import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realClock } from '../src/adapters/clock/real-clock.ts';
import { openConfiguredJournal } from '../src/adapters/journal/index.ts';
import { createPrometheusSource } from '../src/adapters/sources/prometheus/index.ts';
import { prometheusSchema } from '../src/adapters/sources/prometheus/schema.ts';
import { batchesOf, Evaluator } from '../src/app/evaluator.ts';
import { FleetWatch } from '../src/app/fleet-watch.ts';
import { soleLeadership } from '../src/app/leadership.ts';
import { Memory } from '../src/app/memory.ts';
import { MessageTeller } from '../src/app/message-teller.ts';
import { Observer } from '../src/app/observer.ts';
import type { Runtime } from '../src/app/runtime.ts';
import { MeasurePlan } from '../src/app/stages/measure.ts';
import { VerdictBoard } from '../src/app/verdict-board.ts';
import { registries } from '../src/cli/registries.ts';
import type { Config } from '../src/config/config.ts';
import { loadConfig } from '../src/config/load.ts';
import type { Question } from '../src/domain/measurement.ts';
import type { Clock } from '../src/domain/ports.ts';
import { type PlannedQuery, planQueries } from '../src/domain/query-plan.ts';
import { Metrics } from '../src/telemetry/metrics.ts';
import { FakePlane } from '../test/support/fake-plane.ts';
import { silentLog } from '../test/support/stage.ts';
import { type FilledPrometheus, fillPrometheus } from './support/filled-prometheus.ts';
import { scrapeEveryMs, seriesOfVersion, windowMs, writeFleetFiles } from './support/fleet.ts';
import { cpuSecondsOf, describeMachine, median, numberFlag, tableText } from './support/machine.ts';

/**
 * A turn of the evaluator (measure, judge, ledger, durable append, alerts) over a large fleet on a real Prometheus, against the bare
 * fetch and JSON.parse of the same answers; and what the grouped queries cost Prometheus against a query per model.
 *
 *     npm run -s bench:turn [-- --models=2000 --rounds=15]
 */
const fleetSize = { models: numberFlag('models', 2000), versions: 2, rules: 3, seed: 7 };
const rounds = numberFlag('rounds', 15);
/** Not counted: code is compiled, connections and caches are warm. */
const warmUpRounds = 3;
/** Models asked one by one; their cost is multiplied up to the whole fleet. */
const sampledModels = Math.min(fleetSize.models, numberFlag('sample', 250));
/** As the source asks. */
const concurrency = 4;

/** What Go's HTTP client asks for unless told otherwise, and what ours asks for. */
const usualEncoding = 'gzip';

console.log(describeMachine());
const series = fleetSize.models * fleetSize.versions * seriesOfVersion;
console.log(`${fleetSize.models} models × ${fleetSize.versions} versions × ${fleetSize.rules} rules, ${series} series; filling a Prometheus …`);
await using prometheus = await fillPrometheus({ ...fleetSize, minutes: (windowMs + (rounds + warmUpRounds + 1) * scrapeEveryMs) / 60_000 });
const folder = await mkdtemp(join(tmpdir(), 'rollbackd-bench-turn-'));
await using _folder = { [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true }) };
const config = await readFleet();
const firstMs = prometheus.firstMs + windowMs + 2_000;
const questions = questionsOf(config, firstMs);
const queries = planQueries(questions);
console.log(`Prometheus ${prometheus.version}; ${queries.length} queries for ${questions.length} questions:`);
for (const query of queries) console.log(`  ${shortened(query.promql)}`);

await compareTurns(prometheus, queries);
await compareQueries(prometheus, questions, queries);
console.log(describeMachine());

async function readFleet(): Promise<Config> {
  const planes = [{ grpc: '127.0.0.1:1', modelConfigFile: '/models.config', models: fleetSize.models }];
  const file = await writeFleetFiles(folder, fleetSize, { prometheusUrl: prometheus.url, planes });
  const loaded = await loadConfig(file, registries);
  if (loaded.config === null) throw new Error(JSON.stringify(loaded.diagnostics));
  return loaded.config;
}

async function compareTurns({ url, pid }: FilledPrometheus, asked: readonly PlannedQuery[]): Promise<void> {
  await using owned = new AsyncDisposableStack();
  let nowMs = firstMs;
  const clock: Clock = { nowMs: () => nowMs, sleep: async () => undefined };
  const journal = await openConfiguredJournal(config.journal, { clock });
  owned.defer(async () => await journal.close());
  const source = createPrometheusSource(prometheusSchema.parse({ url, timeout: '60s' }), { clock: realClock, log: silentLog });
  owned.defer(async () => await source.close());
  const planes = new Map([['tfs-0', new FakePlane({ clock, serving: '2' })]]);
  const observer = new Observer({ planes, clock, log: silentLog });
  const runtime: Runtime = {
    models: new Map(config.models.map((model) => [model.name, model])),
    groups: config.groups,
    sources: new Map([['prom', source]]),
    planes,
    observer,
    externalLabels: {},
    limits: config.limits,
    calendar: config.calendar,
    route: config.route,
    sendResolved: new Set(),
    modelGroups: [],
    forceDryRun: false,
  };
  const memory = await Memory.load(journal);
  const board = new VerdictBoard();
  const fleet = new FleetWatch();
  const teller = new MessageTeller({ memory, board, fleet, sink: { enqueue: async () => true, events: () => [] }, log: silentLog });
  const metrics = new Metrics({ version: 'bench' }, { processMetrics: false });
  const evaluator = new Evaluator({ memory, board, clock, log: silentLog, metrics, teller, leadership: soleLeadership, fleet, onOpened: () => undefined });
  const [batch] = batchesOf(runtime);
  if (batch === undefined) throw new Error('the fleet has no rules');
  const signal = new AbortController().signal;

  const taken = { bareMs: [] as number[], bareCpuMs: [] as number[], turnMs: [] as number[], turnCpuMs: [] as number[], prometheusMs: [] as number[] };
  let bytes = 0;
  let kinds: Readonly<Record<string, number>> = {};
  for (let round = 0; round < rounds + warmUpRounds; round += 1) {
    nowMs = firstMs + round * scrapeEveryMs;
    for (const model of config.models) await observer.observe(model, { thorough: false }, signal);
    const bare = async (): Promise<void> => {
      const took = await timed(async () => (bytes = await fetchAll(url, asked, nowMs)));
      if (round >= warmUpRounds) taken.bareMs.push(took.wallMs);
      if (round >= warmUpRounds) taken.bareCpuMs.push(took.cpuMs);
    };
    // In turns, so that neither always finds what the other has warmed.
    if (round % 2 === 0) await bare();
    const startedS = cpuSecondsOf(pid);
    const took = await timed(async () => {
      const verdicts = await evaluator.turn(runtime, batch, signal);
      kinds = Object.fromEntries([...Map.groupBy(verdicts, ({ kind }) => kind)].map(([kind, all]) => [kind, all.length]));
    });
    const prometheusMs = (cpuSecondsOf(pid) - startedS) * 1000;
    if (round % 2 === 1) await bare();
    if (round < warmUpRounds) continue;
    taken.turnMs.push(took.wallMs);
    taken.turnCpuMs.push(took.cpuMs);
    taken.prometheusMs.push(prometheusMs);
  }
  console.log(`\nverdicts of the last turn: ${JSON.stringify(kinds)}; ${(bytes / 1e6).toFixed(1)} MB of answers; medians of ${rounds} rounds`);
  console.log(
    tableText([
      ['', 'wall ms', 'own CPU ms', "Prometheus's CPU ms"],
      ['bare fetch and JSON.parse', median(taken.bareMs).toFixed(0), median(taken.bareCpuMs).toFixed(0), ''],
      ['whole turn', median(taken.turnMs).toFixed(0), median(taken.turnCpuMs).toFixed(0), median(taken.prometheusMs).toFixed(0)],
    ]),
  );
  const ratios = taken.turnMs.map((each, index) => each / (taken.bareMs[index] ?? Number.NaN));
  console.log(`ratio: ${median(ratios).toFixed(2)} by wall (target: at most 1.3)`);
}

async function timed(task: () => Promise<unknown>): Promise<{ wallMs: number; cpuMs: number }> {
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  await task();
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs: performance.now() - startedMs, cpuMs: (user + system) / 1000 };
}

type Spent = { readonly cpuS: number; readonly wallS: number };

/** What Prometheus spends on the questions of one turn: grouped, and a query for each question of each model. */
async function compareQueries({ url, pid }: FilledPrometheus, all: readonly Question[], grouped: readonly PlannedQuery[]): Promise<void> {
  const sampled = new Set(config.models.slice(0, sampledModels).map(({ name }) => name));
  const alone = all.filter(({ matchers }) => matchers.some(({ label, value }) => label === 'model' && sampled.has(value))).flatMap((one) => planQueries([one]));
  const scale = fleetSize.models / sampledModels;
  const spend = async (asked: readonly PlannedQuery[], encoding: string, times = 1): Promise<Spent> => {
    const startedS = cpuSecondsOf(pid);
    const startedMs = performance.now();
    await fetchAll(url, asked, firstMs, encoding);
    return { cpuS: (cpuSecondsOf(pid) - startedS) * times, wallS: ((performance.now() - startedMs) * times) / 1000 };
  };
  const isBucket = (query: PlannedQuery): boolean => query.kind === 'buckets';
  const rows: string[][] = [];
  for (const encoding of [usualEncoding, 'identity']) {
    for (const [what, fits] of [
      ['all', () => true],
      ['without histograms', (query: PlannedQuery) => !isBucket(query)],
    ] as const) {
      const [many, few] = [alone.filter(fits), grouped.filter(fits)];
      const together: Spent[] = [];
      const each: Spent[] = [];
      for (let round = 0; round < 5; round += 1) {
        together.push(await spend(few, encoding));
        each.push(await spend(many, encoding, scale));
      }
      const ratio = (key: keyof Spent): string => median(each.map((one, index) => one[key] / (together[index]?.[key] ?? Number.NaN))).toFixed(1);
      const mid = (of: readonly Spent[], key: keyof Spent): string => median(of.map((one) => one[key])).toFixed(2);
      rows.push([
        `${what}, ${encoding}`,
        `${few.length}`,
        mid(together, 'cpuS'),
        mid(together, 'wallS'),
        `${many.length * scale}`,
        mid(each, 'cpuS'),
        mid(each, 'wallS'),
        ratio('cpuS'),
        ratio('wallS'),
      ]);
    }
  }
  console.log(`\nPrometheus's time for the questions of one turn: medians of 5 rounds; per model: ${sampledModels} models, times ${scale}`);
  console.log(tableText([['questions, encoding', 'grouped', 'CPU s', 'wall s', 'per model', 'CPU s', 'wall s', 'CPU ratio', 'wall ratio'], ...rows]));
  console.log('(target: 20 or more)');
  for (const query of grouped) {
    const each: Spent[] = [];
    for (let round = 0; round < 5; round += 1) each.push(await spend([query], usualEncoding));
    console.log(`  ${median(each.map(({ cpuS }) => cpuS)).toFixed(2)} CPU s: ${shortened(query.promql)}`);
  }
}

function questionsOf({ models, groups }: Config, atMs: number): readonly Question[] {
  const plan = new MeasurePlan(atMs);
  const rules = new Map(groups.map((group) => [group.model, group.rules]));
  for (const model of models) plan.add({ model, rules: rules.get(model.name) ?? [], serving: ['2'], sinceMs: null });
  return plan.questions;
}

/** Asks as the source does, and does nothing but parse. @returns characters of all answers */
async function fetchAll(url: string, asked: readonly PlannedQuery[], atMs: number, encoding = usualEncoding): Promise<number> {
  let length = 0;
  const rest = asked.values();
  const worker = async (): Promise<void> => {
    for (const { promql } of rest) {
      const body = new URLSearchParams({ query: promql, time: (atMs / 1000).toFixed(3) });
      const answer = await fetch(`${url}/api/v1/query`, { method: 'POST', headers: { 'Accept-Encoding': encoding }, body });
      const text = await answer.text();
      length += text.length;
      const parsed = JSON.parse(text) as { status: string };
      if (parsed.status !== 'success') throw new Error(text.slice(0, 500));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return length;
}

function shortened(promql: string): string {
  return promql.replaceAll(/"((?:[^"|]*\|){3})[^"]*"/g, (_all, first: string) => `"${first}…"`);
}
