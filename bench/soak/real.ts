import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type MetricsPage, readMetricsPage } from '../../test/support/metrics-page.ts';
import { startSlackEndpoint } from '../../test/support/slack-endpoint.ts';
import { fillPrometheus } from '../support/filled-prometheus.ts';
import { windowMs, writeFleetFiles } from '../support/fleet.ts';
import { startFleetServers } from '../support/fleet-servers.ts';
import { cpuSecondsOf, describeMachine, median, numberFlag, residentMb, tableText, waitedSecondsOf } from '../support/machine.ts';
import { isClearlyAbove, type Slope, slopeOf, slopeText } from '../support/slope.ts';
import type { HeldByProcess } from '../support/tell-memory.ts';

/**
 * The daemon as it runs, for an hour: a fleet on a real Prometheus, model servers beside it, a rollback every five minutes, a reload every ten,
 * callers of the API and of the stream. Exit code 1: it grows, it holds ever more handles, or an iteration was missed.
 *
 *     ROLLBACKD_SOAK_MINUTES=60 node bench/soak/real.ts [--models=500] [--interval=15]
 */
const minutes = Number(process.env['ROLLBACKD_SOAK_MINUTES'] ?? 60);
if (!(minutes >= 2)) throw new Error('ROLLBACKD_SOAK_MINUTES: expected a number of at least 2');
const fleetSize = { models: numberFlag('models', 500), versions: 2, rules: 4, seed: 7 };
const intervalSeconds = numberFlag('interval', 15);
const sampleEveryMs = Math.min(30_000, (minutes * 60_000) / 20);
const reloadEveryMs = 600_000;
/** What an hour can tell from the noise of garbage; the slope of the virtual days is held to far less. */
const bounds = { heapMbPerHour: 4, residentMbPerHour: 20, externalMbPerHour: 4 };
/** More of what is open at rest in the last third than in the one before. */
const handlesMore = 2;
/** The start is no slope. */
const judgedFromMinutes = 20;
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const tellMemory = new URL('../support/tell-memory.ts', import.meta.url).href;

type Sample = {
  readonly hours: number;
  readonly residentMb: number;
  readonly heapMb: number;
  readonly externalMb: number;
  readonly descriptors: number;
  readonly resources: number;
  readonly missed: number;
  readonly turnSeconds: number;
  readonly lagMs: number;
  readonly journalMb: number;
};

console.log(describeMachine());
const folder = await mkdtemp(join(tmpdir(), 'rollbackd-soak-'));
await using _folder = { [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true, maxRetries: 3 }) };
const slack = await startSlackEndpoint();
await using _slack = { [Symbol.asyncDispose]: async () => await slack.close() };
await using prometheus = await fillPrometheus({
  ...fleetSize,
  spells: { everyMs: 300_000, lastsMs: 120_000, errorRatio: 0.5 },
  minutes: windowMs / 60_000 + 1,
  goOn: true,
});
await using servers = await startFleetServers(join(folder, 'models'), { models: fleetSize.models, modelsPerServer: 50 });
const configFile = await writeFleetFiles(folder, fleetSize, {
  prometheusUrl: prometheus.url,
  planes: servers.planes,
  slackUrl: slack.url,
  interval: `${intervalSeconds}s`,
  rollback: { mode: 'enforce', stick: '1m', known_good: { backfill: '0s', versions: ['1'] } },
});

const daemon = spawn(
  process.execPath,
  ['--expose-gc', '--import', tellMemory, main, 'run', '--config.file', configFile, '--config.auto-reload', '--config.auto-reload-interval', '10s'].concat([
    '--web.listen-address',
    '127.0.0.1:0',
    '--log.level',
    'info',
    '--log.format',
    'ecs',
  ]),
  { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] },
);
process.once('exit', () => daemon.kill('SIGKILL'));
const ended = once(daemon, 'exit') as Promise<[number | null, string | null]>;
let isStopping = false;
const pid = daemon.pid ?? 0;
const log = readLog(daemon);
const url = await log.url;
const [samples, reloads] = [[] as Sample[], new Set<number>()];
const [startedMs, startedCpu, startedWaited] = [Date.now(), cpuSecondsOf(pid), waitedSecondsOf(pid)];
let reloadedMs = startedMs;
console.log(
  `${fleetSize.models} models × ${fleetSize.versions} versions × ${fleetSize.rules} rules, a turn every ${intervalSeconds} s, for ${minutes} minutes`,
);
while (Date.now() < startedMs + minutes * 60_000) {
  await sleep(Math.max(0, startedMs + (samples.length + 1) * sampleEveryMs - Date.now()));
  if (daemon.exitCode !== null || daemon.signalCode !== null)
    throw new Error(`the daemon ended (${daemon.exitCode ?? daemon.signalCode}); it said:\n${log.tail()}`);
  const sample = await takeSample();
  samples.push(sample);
  console.log(
    `${(sample.hours * 60).toFixed(1)} min: heap ${sample.heapMb.toFixed(1)} MB, external ${sample.externalMb.toFixed(1)} MB, resident ${sample.residentMb.toFixed(0)} MB, ${sample.descriptors} descriptors, ${sample.resources} resources, turn ${sample.turnSeconds.toFixed(1)} s, lag ${sample.lagMs.toFixed(0)} ms, ${sample.missed} missed, journal ${sample.journalMb.toFixed(1)} MB`,
  );
  if (Date.now() - reloadedMs >= reloadEveryMs) {
    reloadedMs = Date.now();
    await changeRules();
  }
}

const page = await metricsPage();
const cpuShare = (cpuSecondsOf(pid) - startedCpu) / ((Date.now() - startedMs) / 1000);
/** Others may have had the cores. */
const waitedShare = (waitedSecondsOf(pid) - startedWaited) / ((Date.now() - startedMs) / 1000);
const rollbacks = (await api('rollbacks?limit=1000')) as readonly { readonly outcome: string | null; readonly state: string }[];
isStopping = true;
daemon.kill('SIGTERM');
// A handle that was forgotten would keep it alive.
const exit = await Promise.race([ended.then(([code, signal]) => String(code ?? signal)), sleep(90_000, 'none within 90 s', { ref: false })]);
const failures = report();
for (const failure of failures) console.error(`failed: ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;

async function takeSample(): Promise<Sample> {
  const resident = residentMb(pid);
  const descriptors = readdirSync(`/proc/${pid}/fd`).length;
  // Somebody looks at the page, too, and goes away again.
  for (const path of ['models', 'alerts', 'rules', 'decisions', 'rollbacks']) await api(path);
  const stream = new AbortController();
  await fetch(`${url}/api/v1/events`, { signal: stream.signal });
  stream.abort();
  const metrics = await metricsPage();
  reloads.add(metrics.value('rollbackd_config_last_reload_success_timestamp_seconds') ?? 0);
  const answered = once(daemon, 'message', { signal: AbortSignal.timeout(30_000) });
  daemon.send({});
  const [held] = (await answered) as [HeldByProcess];
  return {
    hours: (Date.now() - startedMs) / 3_600_000,
    residentMb: resident,
    heapMb: held.heapUsed / 1e6,
    externalMb: held.external / 1e6,
    descriptors,
    resources: held.resources.length,
    turnSeconds: metrics.value('rollbackd_rule_group_last_duration_seconds', { rule_group: 'model-0000' }) ?? Number.NaN,
    lagMs: 1000 * (metrics.value('nodejs_eventloop_lag_max_seconds') ?? Number.NaN),
    missed: metrics.sum('rollbackd_rule_group_iterations_missed_total'),
    journalMb: metrics.sum('rollbackd_journal_size_bytes') / 1e6,
  };
}

function report(): readonly string[] {
  // The first third is the start: caches fill, code is compiled.
  const late = samples.filter(({ hours }) => hours * 60 >= minutes / 3);
  const slope = (of: (sample: Sample) => number): Slope => slopeOf(late.map((sample) => [sample.hours, of(sample)]));
  const rows = [
    ['heap after a collection, MB', (sample: Sample) => sample.heapMb, bounds.heapMbPerHour],
    ['resident, MB', (sample: Sample) => sample.residentMb, bounds.residentMbPerHour],
    ['outside the heap (external), MB', (sample: Sample) => sample.externalMb, bounds.externalMbPerHour],
  ] as const;
  const table = rows.map(([name, of, bound]) => {
    const values = late.map(of);
    return [name, median(values).toFixed(1), Math.max(...values).toFixed(1), slopeText(slope(of)), `at most ${bound}`];
  });
  console.log(`\n${tableText([['last two thirds', 'median', 'most', 'slope an hour', 'bound'], ...table])}`);
  const handles = (['descriptors', 'resources'] as const).map((kind) => {
    const [before, after] = [leastOf(kind, 1 / 3, 2 / 3), leastOf(kind, 2 / 3, 1)];
    console.log(`${kind} at rest: ${before} in the second third, ${after} in the last; most: ${Math.max(...samples.map((sample) => sample[kind]))}`);
    return { kind, before, after };
  });
  const turns = late.map(({ turnSeconds }) => turnSeconds);
  console.log(
    `turns: ${median(turns).toFixed(1)} s (median), ${Math.max(...turns).toFixed(1)} s (most); event loop held up for at most ${Math.max(...late.map(({ lagMs }) => lagMs)).toFixed(0)} ms`,
  );
  const missed = page.sum('rollbackd_rule_group_iterations_missed_total');
  const iterations = page.sum('rollbackd_rule_group_iterations_total');
  const ends = Map.groupBy(rollbacks, ({ outcome, state }) => outcome ?? state);
  const unwell = rollbacks.filter(({ outcome }) => outcome !== 'success' && outcome !== null).length;
  const starved = `the main thread waited for a core ${(100 * waitedShare).toFixed(0)} % of the time`;
  console.log(`iterations of rule groups: ${iterations}, missed: ${missed}; ${starved}`);
  console.log(
    `rollbacks: ${[...ends].map(([end, all]) => `${all.length} ${end}`).join(', ') || 'none'}; messages: ${slack.deliveries.length}; reloads: ${reloads.size - 1}`,
  );
  console.log(`CPU: ${(100 * cpuShare).toFixed(0)} % of one core; journal: ${(samples.at(-1)?.journalMb ?? 0).toFixed(1)} MB; exit: ${exit}`);
  console.log(describeMachine());
  return [
    ...rows
      .filter(([, of, bound]) => minutes >= judgedFromMinutes && isClearlyAbove(slope(of), bound))
      .map(([name, of, bound]) => `${name}: ${slopeText(slope(of))} an hour, expected at most ${bound}`),
    ...handles.filter(({ before, after }) => after > before + handlesMore).map(({ kind, before, after }) => `${kind} at rest: ${before}, later ${after}`),
    ...(missed > 0 ? [`${missed} of ${iterations} iterations were missed; ${starved}`] : []),
    ...(iterations === 0 ? ['nothing was judged'] : []),
    ...((rollbacks.length === 0 && minutes > 10) || unwell > 0
      ? [`${unwell} of ${rollbacks.length} rollbacks did not succeed, expected some, and all to`]
      : []),
    ...(reloads.size - 1 < Math.floor((minutes - 2) / 10) ? [`${reloads.size - 1} reloads`] : []),
    ...(exit === '0' ? [] : [`after SIGTERM: exit ${exit}, expected 0`]),
    ...log.warnings.map((line) => `warned: ${line}`),
  ];
}

/** What is open at rest: the least seen in a part (0..1) of the time. */
function leastOf(kind: 'descriptors' | 'resources', from: number, to: number): number {
  return Math.min(...samples.filter(({ hours }) => (hours * 60) / minutes > from && (hours * 60) / minutes <= to + 0.01).map((sample) => sample[kind]));
}

/** Another severity in one rule of fifty models. */
async function changeRules(): Promise<void> {
  const file = join(folder, 'rules', 'model-0000.yaml');
  const text = await readFile(file, 'utf8');
  await writeFile(
    file,
    text.replaceAll(/severity: (\w+)/g, (_, severity) => `severity: ${severity === 'page' ? 'ticket' : 'page'}`),
  );
}

async function metricsPage(): Promise<MetricsPage> {
  return readMetricsPage(await (await fetch(`${url}/metrics`)).text());
}

async function api(path: string): Promise<unknown> {
  const answer = (await (await fetch(`${url}/api/v1/${path}`)).json()) as { readonly status: string; readonly data?: unknown };
  if (answer.status !== 'success') throw new Error(`${path}: ${JSON.stringify(answer).slice(0, 300)}`);
  return answer.data;
}

/** Its log: where it listens, and what Node says of leaks (`MaxListenersExceededWarning` and the like are no JSON). */
function readLog(child: ChildProcess): { readonly url: Promise<string>; readonly warnings: readonly string[]; readonly tail: () => string } {
  const listening = Promise.withResolvers<string>();
  const warnings: string[] = [];
  let rest = '';
  let tail = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.toString('utf8')).slice(-4_000);
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const found = /"rollbackd.url":"([^"]+)"/.exec(line)?.[1];
      if (found !== undefined) listening.resolve(found);
      if (/Warning/.test(line) && !line.startsWith('{')) warnings.push(line);
    }
  });
  child.once('exit', () => {
    if (!isStopping) listening.reject(new Error(`the daemon ended; it said:\n${tail}`));
  });
  return { url: listening.promise, warnings, tail: () => tail };
}
