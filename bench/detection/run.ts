import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { bound } from './bound.ts';
import { alphaPerDay, type Judge, type Limit, type Method, methods, sequential } from './methods.ts';
import { type Poll, pollSeconds, stream, type Traffic } from './streams.ts';

/**
 * Detection methods side by side on the same seeded streams: false alarms of healthy versions, and delays until a bad one is rolled back.
 *
 *     ./node_modules/.bin/node bench/detection/run.ts [--days 100] [--months 10] [--runs 100] [--seed 1] [--only TABLE] [--write]
 *
 * The figures are times of the streams, not of this machine: they are the same on each. `--write` puts them into docs/detection.md.
 */
const { values: given } = parseArgs({
  options: {
    days: { type: 'string', default: '100' },
    months: { type: 'string', default: '10' },
    runs: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const [days, months, runs, firstSeed] = [Number(given.days), Number(given.months), Number(given.runs), Number(given.seed)];

const day = 86_400;
const rule: Limit = { limit: 0.05 };
const historyPolls = (6 * 3600) / pollSeconds;
const allRps = [1, 20, 500];
let seeds = firstSeed * 1_000_003;
const nextSeed = (): number => (seeds += 1);

type Healthy = { readonly name: string; readonly traffic: Traffic; readonly rate: number };

function historyOf({ traffic, rate }: { readonly traffic: Traffic; readonly rate: number }): readonly Poll[] {
  const { hasOutages: _, ...calm } = traffic;
  const next = stream(nextSeed(), calm, () => rate, rate);
  return Array.from({ length: historyPolls }, next);
}

/** @returns how many of `count` healthy streams each method would have rolled back */
function falseAlarms(scenario: Healthy, seconds: number, count: number, judged: readonly Method[]): number[] {
  const alarms = judged.map(() => 0);
  for (let index = 0; index < count; index += 1) {
    const history = historyOf(scenario);
    const judges: (Judge | null)[] = judged.map((method) => method.start(rule, history));
    const next = stream(nextSeed(), scenario.traffic, () => scenario.rate, scenario.rate);
    for (let second = 0; second < seconds && judges.some((judge) => judge !== null); second += pollSeconds) {
      const poll = next();
      judges.forEach((judge, at) => {
        if (judge === null || !judge(poll)) return;
        judges[at] = null;
        alarms[at] = (alarms[at] ?? 0) + 1;
      });
    }
  }
  return alarms;
}

type Delays = { readonly seconds: number[]; unseen: number; early: number };

/** Seconds from the change to the act, for each method; the version is healthy for `healthySeconds` first. */
function delays(options: { traffic: Traffic; base: number; rate: number; healthySeconds: number; patienceSeconds: number }): Delays[] {
  const { traffic, base, rate, healthySeconds, patienceSeconds } = options;
  const found: Delays[] = methods.map(() => ({ seconds: [], unseen: 0, early: 0 }));
  for (let run = 0; run < runs; run += 1) {
    const history = historyOf({ traffic, rate: base });
    const judges: (Judge | null)[] = methods.map((method) => method.start(rule, history));
    const next = stream(nextSeed(), traffic, (second) => (second < healthySeconds ? base : rate), base);
    for (let second = 0; second < healthySeconds + patienceSeconds && judges.some((judge) => judge !== null); second += pollSeconds) {
      const poll = next();
      judges.forEach((judge, at) => {
        const mine = found[at];
        if (judge === null || mine === undefined || !judge(poll)) return;
        judges[at] = null;
        const delay = second + pollSeconds - healthySeconds + (methods[at]?.waitSeconds ?? 0);
        if (second < healthySeconds) mine.early += 1;
        else mine.seconds.push(delay);
      });
    }
    judges.forEach((judge, at) => {
      const mine = found[at];
      if (judge !== null && mine !== undefined) mine.unseen += 1;
    });
  }
  return found;
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

/** Upper end of the 95 % interval (Wilson) of a share. */
function upper(count: number, of: number): number {
  const z = 1.96;
  const p = count / of;
  return (p + (z * z) / (2 * of) + z * Math.sqrt((p * (1 - p)) / of + (z * z) / (4 * of * of))) / (1 + (z * z) / of);
}

const percent = (ratio: number): string => `${Number((ratio * 100).toPrecision(2))} %`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
const seconds = (value: number): string => (Number.isNaN(value) ? '–' : value >= 600 ? `${Math.round(value / 60)} min` : `${Math.round(value)} s`);

function healthyDays(): string {
  const shapes: readonly [string, Partial<Traffic>][] = [
    ['independent', {}],
    ['bursts, rho 0.02', { rho: 0.02 }],
    ['load swings by 80 %', { isDiurnal: true }],
    ['common outages', { hasOutages: true }],
  ];
  const scenarios: Healthy[] = allRps.flatMap((rps) =>
    [0.001, 0.01, 0.03].flatMap((rate) =>
      shapes
        // The rates nearer to the limit are only for what the limit promises.
        .filter(([, shape]) => rate < 0.02 || Object.keys(shape).length === 0 || shape.rho !== undefined)
        .map(([name, shape]) => ({ name, rate, traffic: { rps, rho: 0, ...shape } })),
    ),
  );
  const sums = methods.map(() => 0);
  const calm = methods.map(() => 0);
  let calmStreams = 0;
  const rows = scenarios.map((scenario) => {
    const alarms = falseAlarms(scenario, day, days, methods);
    if (scenario.traffic.hasOutages !== true) {
      calmStreams += days;
      for (const [at, count] of alarms.entries()) calm[at] = (calm[at] ?? 0) + count;
    }
    for (const [at, count] of alarms.entries()) sums[at] = (sums[at] ?? 0) + count;
    progress(`false alarms: ${scenario.traffic.rps}/s, ${percent(scenario.rate)}, ${scenario.name}`);
    return [`${scenario.traffic.rps}`, percent(scenario.rate), scenario.name, ...alarms.map((count) => percent(count / days))];
  });
  const total = ['all', '', 'without outages', ...calm.map((count) => `${percent(count / calmStreams)} (≤ ${percent(upper(count, calmStreams))})`)];
  return table(['requests/s', 'healthy rate', 'stream', ...methods.map((method) => method.name)], [...rows, total]);
}

function atTheLimit(): string {
  const counts: number[] = [];
  const rows = allRps.flatMap((rps) =>
    [0, 0.02].map((rho) => {
      const [count = 0] = falseAlarms({ name: '', traffic: { rps, rho }, rate: rule.limit }, day, days, [sequential]);
      counts.push(count);
      progress(`at the limit: ${rps}/s, rho ${rho}`);
      return [`${rps}`, `${rho}`, `${count} of ${days}`, percent(upper(count, days)), percent(alphaPerDay)];
    }),
  );
  const total = counts.reduce((sum, count) => sum + count, 0);
  const all = ['all', '', `${total} of ${days * counts.length}`, percent(upper(total, days * counts.length)), percent(alphaPerDay)];
  return table(['requests/s', 'rho', 'days with a false alarm', '95 % upper end', 'stated'], [...rows, all]);
}

function healthyMonths(): string {
  const rows = [0, 0.02].map((rho) => {
    const alarms = falseAlarms({ name: '', traffic: { rps: 20, rho }, rate: 0.01 }, 30 * day, months, methods);
    progress(`months: rho ${rho}`);
    return [`20`, '1 %', `${rho}`, ...alarms.map((count) => `${count} of ${months}`)];
  });
  return table(['requests/s', 'healthy rate', 'rho', ...methods.map((method) => method.name)], rows);
}

function delayTable(healthySeconds: number): string {
  const rows: string[][] = [];
  for (const rps of allRps)
    for (const base of [0.001, 0.01])
      for (const rate of [0.06, 0.1, 0.2, 0.5, 1]) {
        if (base === 0.01 && rate !== 0.1) continue;
        const patienceSeconds = (rate < 0.1 ? 24 : 6) * 3600;
        const found = delays({ traffic: { rps, rho: 0 }, base, rate, healthySeconds, patienceSeconds });
        const limit = bound(rule.limit, rate, rps, alphaPerDay, healthySeconds === 0);
        for (const [at, { seconds: times, unseen, early }] of found.entries()) {
          const sorted = times.toSorted((a, b) => a - b);
          const [median, p95] = [quantile(sorted, 0.5), quantile(sorted, 0.95)];
          const mean = sorted.reduce((sum, time) => sum + time, 0) / sorted.length;
          rows.push([
            `${rps}`,
            `${percent(base)} → ${percent(rate)}`,
            seconds(limit.seconds),
            methods[at]?.name ?? '',
            seconds(median),
            seconds(p95),
            Number.isNaN(median) ? '–' : `${Math.round(median * rps)} / ${Math.round(p95 * rps)}`,
            seconds(mean),
            Number.isNaN(mean) ? '–' : (mean / Math.max(limit.seconds, pollSeconds)).toFixed(1),
            early > 0 ? percent(early / runs) : '',
            unseen > 0 ? percent(unseen / runs) : '',
          ]);
        }
        progress(`delays: ${rps}/s, ${percent(base)} to ${percent(rate)}, after ${healthySeconds} s`);
      }
  return table(
    ['requests/s', 'rate', 'bound', 'method', 'median', '95 %', 'requests, median / 95 %', 'mean', '× bound', 'false alarm first', 'not seen'],
    rows,
  );
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

const sections = {
  'false-alarms': healthyDays,
  'at-the-limit': atTheLimit,
  months: healthyMonths,
  'from-start': () => delayTable(0),
  'after-a-day': () => delayTable(day),
};

const page = new URL('../../docs/detection.md', import.meta.url);
if (given.only !== undefined && !Object.hasOwn(sections, given.only))
  throw new Error(`--only: found ${given.only}, expected one of ${Object.keys(sections).join(', ')}`);
for (const [name, make] of Object.entries(sections)) {
  if (given.only !== undefined && name !== given.only) continue;
  const text = make();
  console.log(`\n## ${name}\n\n${text}`);
  if (given.write) {
    const before = readFileSync(page, 'utf8');
    const [start, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
    const [from, to] = [before.indexOf(start), before.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`docs/detection.md: found no ${start} … ${end}; put them where the table belongs`);
    writeFileSync(page, `${before.slice(0, from + start.length)}\n\n${text}\n\n${before.slice(to)}`);
  }
}
