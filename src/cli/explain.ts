import { setTimeout as sleep } from 'node:timers/promises';
import { realClock } from '../adapters/clock/real-clock.ts';
import { openMemoryJournal } from '../adapters/journal/index.ts';
import type { App } from '../app/app.ts';
import { createApp } from '../app/create.ts';
import { actingRules, effectivePolicy, intervalOf, isActing, rulesOf } from '../app/runtime.ts';
import { MeasurePlan, queriesOf } from '../app/stages/measure.ts';
import type { Config } from '../config/config.ts';
import { spellCondition } from '../domain/conditions/spell-condition.ts';
import { formatDuration } from '../domain/duration.ts';
import { type Explanation, explainRule, spellDelay, type Traffic } from '../domain/explain/explain.ts';
import { shareSlowerThan } from '../domain/explain/slow-share.ts';
import type { Measurement } from '../domain/measurement.ts';
import type { Model } from '../domain/model.ts';
import type { Condition, Rule } from '../domain/rule.ts';
import { percent, trimNumber } from '../domain/words.ts';
import { createLog } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { CommandFailed, exitCodes } from './exit.ts';
import { gatherMsOf, scrapeIntervalOf } from './scrape-time.ts';
import { loadSettings } from './settings.ts';
import { type OutputFormat, renderOutput } from './table.ts';
import { readVersion } from './version.ts';

/** Over which the present traffic is counted. */
const trafficWindowMs = 300_000;
const unknownTraffic: Traffic = { requestsPerSecond: null, badShare: null };

type Explained = Explanation & {
  readonly model: string;
  readonly rule: string;
  readonly condition: string;
  readonly for: string;
  readonly interval: string;
  readonly acts: string;
  readonly queries: readonly string[];
  readonly traffic: Traffic;
};

export type ExplainOptions = {
  readonly model: string | null;
  readonly configFile: string;
  readonly gatherMs: number | null;
  /** Reckon with this instead of asking the sources; `badShare` 0..1. */
  readonly assumed: Traffic | null;
  readonly output: OutputFormat;
};

/** Prints for each rule what it asks, needs and sees, how soon, and how often it errs. Changes nothing. */
export async function explain(options: ExplainOptions): Promise<number> {
  const config = await loadSettings(options.configFile);
  const { app, close } = await createApp(config, {
    log: createLog({ level: 'error', format: process.stderr.isTTY ? 'pretty' : 'ecs' }),
    metrics: new Metrics({ version: readVersion() }, { processMetrics: false }),
    journal: await openMemoryJournal({ clock: realClock }),
    forceDryRun: true,
  });
  try {
    const models = [...app.runtime.models.values()].filter((model) => options.model === null || model.name === options.model);
    if (options.model !== null && models.length === 0)
      throw new CommandFailed(
        `rollbackd: found no model ${options.model}; expected one of ${[...app.runtime.models.keys()].join(', ') || 'none: no model is configured'}`,
      );
    const windowMs = options.assumed === null ? await gather(app, config, options.gatherMs) : trafficWindowMs;
    const rows: Explained[] = [];
    for (const model of models) rows.push(...(await explainModel(app, config, { model, windowMs, assumed: options.assumed })));
    process.stdout.write(
      options.output === 'json' || options.output === 'yaml'
        ? renderOutput(options.output, { data: rows, rows: [], columns: [], none: '' }, process.stdout)
        : `${rows.length === 0 ? 'No rules.' : rows.map(describe).join('\n\n')}\n`,
    );
    return exitCodes.ok;
  } finally {
    await close(0);
  }
}

/** Lets sources that scrape gather their samples. @returns the window that traffic can be counted over, ms */
async function gather(app: App, config: Config, givenMs: number | null): Promise<number> {
  const gatherMs = givenMs ?? gatherMsOf(config);
  if (gatherMs <= 0) return trafficWindowMs;
  process.stderr.write(`gathering samples for ${gatherMs / 1000} s\n`);
  await app.turn();
  await sleep(gatherMs);
  return Math.min(trafficWindowMs, gatherMs);
}

async function explainModel(
  app: App,
  config: Config,
  { model, windowMs, assumed }: { model: Model; windowMs: number; assumed: Traffic | null },
): Promise<Explained[]> {
  const { runtime } = app;
  const rules = rulesOf(runtime, model.name);
  const traffics = assumed === null ? await measureTraffic(app, model, rules, windowMs) : null;
  const sharers = actingRules(runtime, model).filter(({ condition }) => condition.kind === 'sequential').length;
  return rules.map((rule) => {
    const traffic = assumed ?? traffics?.get(rule.id) ?? unknownTraffic;
    const intervalMs = intervalOf(runtime, rule.id);
    // What a Prometheus scrapes, only it knows: a turn is not more often than that.
    const scrapeMs = scrapeIntervalOf(config, model.source) ?? intervalMs;
    return {
      model: model.name,
      rule: rule.alert,
      condition: spellCondition(rule.condition),
      for: formatDuration(rule.forMs),
      interval: formatDuration(intervalMs),
      acts: isActing(runtime, model, rule) ? effectivePolicy({ ...runtime, forceDryRun: false }, model, rule).mode : 'notify',
      queries: queriesOf(runtime.sources.get(model.source), model, rule, realClock.nowMs()),
      traffic,
      ...explainRule(rule, { intervalMs, scrapeMs }, traffic, isActing(runtime, model, rule) ? Math.max(1, sharers) : 1),
    };
  });
}

/** The present traffic in the eyes of each rule: of the version with the most requests. */
async function measureTraffic(app: App, model: Model, rules: readonly Rule[], windowMs: number): Promise<ReadonlyMap<string, Traffic>> {
  const source = app.runtime.sources.get(model.source);
  if (source === undefined) return new Map();
  const plan = new MeasurePlan(realClock.nowMs());
  const asked = rules.map((rule) => ({ ...rule, condition: countedFor(rule.condition, model, windowMs) }));
  // Traffic without a version is the serving one's, whatever its name: the plane need not be asked for it.
  plan.add({ model, rules: asked, serving: model.attribution.kind === 'serving' ? ['serving'] : [], sinceMs: null });
  const measured = (await plan.measure(source, app.runtime.sources, AbortSignal.timeout(30_000))).get(model.name) ?? [];
  return new Map(measured.map(({ rule, byVersion }) => [rule.id, trafficOf(rule.condition, busiest([...byVersion.values()]), windowMs)]));
}

/** What to count to know a rule's traffic: bad ones as the rule means them, else requests alone. */
function countedFor(condition: Condition, model: Model, windowMs: number): Condition {
  const nothing = { op: 'above', value: 0 } as const;
  const common = { windowMs, minRequests: 0 };
  const seconds = slowLimit(condition);
  if (seconds !== null && model.signals.latency !== null) return { kind: 'latency', quantile: 0.5, limit: { op: 'above', value: seconds }, ...common };
  if (model.signals.errors !== null && seconds === null) return { kind: 'error_ratio', limit: nothing, ...common };
  return { kind: 'request_rate', limit: nothing, ...common };
}

/** Above which a request is slow in a rule's sense, seconds. */
function slowLimit(condition: Condition): number | null {
  if (condition.kind === 'latency' && condition.limit.op !== 'above_baseline') return condition.limit.value;
  if (condition.kind === 'sequential' && condition.of.kind === 'latency' && condition.limit.op !== 'above_baseline') return condition.limit.value;
  return null;
}

function busiest(measurements: readonly Measurement[]): Measurement | null {
  return measurements.reduce<Measurement | null>((most, one) => ((one.requests ?? 0) > (most?.requests ?? -1) ? one : most), null);
}

function trafficOf(condition: Condition, measurement: Measurement | null, windowMs: number): Traffic {
  if (measurement === null || measurement.error !== null || measurement.requests === null) return unknownTraffic;
  const requestsPerSecond = measurement.requests / (windowMs / 1000);
  if (condition.kind === 'latency' && condition.limit.op !== 'above_baseline')
    return { requestsPerSecond, badShare: measurement.buckets === null ? null : shareSlowerThan(measurement.buckets, condition.limit.value) };
  if (measurement.errors === null || measurement.requests === 0) return { requestsPerSecond, badShare: null };
  return { requestsPerSecond, badShare: measurement.errors / measurement.requests };
}

function describe(row: Explained): string {
  const line = (name: string, value: string): string => `  ${`${name}:`.padEnd(14)}${value}`;
  const { requestsPerSecond: rps, badShare } = row.traffic;
  const now =
    rps === null
      ? 'not known: the source has no requests of a version'
      : `${trimNumber(rps)} requests a second${badShare === null ? '' : `, ${percent(badShare)} of them bad`}`;
  return [
    `${row.model} ${row.rule}`,
    line('judges', `${inOneLine(row.condition)}, for: ${row.for}, every ${row.interval}`),
    ...row.queries.map((query, index) => (index === 0 ? line('asks', inOneLine(query)) : `${' '.repeat(16)}${inOneLine(query)}`)),
    line('traffic', now),
    line('needs', row.needs),
    ...row.delays.map((delay, index) => {
      const text = `${spellDelay(delay)} after the fault begins, ${delay.of}`;
      return index === 0 ? line('acts', text) : `${' '.repeat(16)}${text}`;
    }),
    line(
      'false alarms',
      row.falseAlarmsPerYear === null
        ? `cannot be said${badShare === null ? ': the present share of bad requests is not known' : ''}`
        : `${spellAlarms(row.falseAlarmsPerYear)} a year and version`,
    ),
    line('reckoned', row.because),
    line('then', row.acts === 'notify' ? 'tells' : `rolls back (mode: ${row.acts})`),
  ].join('\n');
}

function inOneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}

function spellAlarms(value: number): string {
  return value < 0.01 ? 'below 0.01' : value >= 100 ? `${Math.round(value)}` : trimNumber(value);
}
