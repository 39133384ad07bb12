import { captureOf } from '../../domain/linear-regex.ts';
import { lookUp } from '../../domain/lookup.ts';
import type { Answer, CounterSeries, ExprQuestion, Measurement, QualityQuestion, Question } from '../../domain/measurement.ts';
import type { Matcher, Model, QualitySource } from '../../domain/model.ts';
import type { Source } from '../../domain/ports.ts';
import { type Condition, defaultGaugeAgeMs, partsOf, type Rule } from '../../domain/rule.ts';

/** Window of the request count beside an `expr` without a range selector. */
const exprWindowMs = 300_000;

/** How far back raw samples are asked for unless the task says otherwise. */
const defaultSamplesMs = 60_000;

/** Window of the request count beside a quality. */
const qualityWindowMs = 60_000;

/** What is asked of one model in a turn. */
export type MeasureTask = {
  readonly model: Model;
  readonly rules: readonly Rule[];
  /** Versions the plane serves, main one first; may be empty when it could not be observed. */
  readonly serving: readonly string[];
  /** Windows do not reach back behind this instant (a switch): ms since 1970, `null` = no cut. */
  readonly sinceMs: number | null;
  /** Metrics' names of versions → versions, as the plane has them; absent: the same. */
  readonly names?: Readonly<Record<string, string>>;
  /** How far back raw samples are asked for; absent: a minute. */
  readonly samplesMs?: (rule: Rule) => number;
};

/** Measurements of one rule per version, as the plane names it. */
export type Measured = { readonly rule: Rule; readonly byVersion: ReadonlyMap<string, Measurement>; readonly error: string | null };

/** The questions of one condition, and of its parts. */
type Asked = {
  readonly condition: Condition;
  readonly windowMs: number;
  readonly parts: readonly Asked[];
  readonly requests?: string;
  readonly errors?: string;
  readonly buckets?: string;
  readonly newest?: string;
  readonly expr?: string;
  readonly gauge?: string;
  readonly quality?: string;
  /** Raw samples of requests (or of buckets), and of failed requests. */
  readonly samples?: string;
  readonly badSamples?: string;
  /** Requests of a version whose quality is judged: shown, not needed. */
  readonly traffic?: string;
};

/** A question to a registry, which is another source than the one the numbers come from. */
type AskedOfRegistry = { readonly source: string; readonly question: QualityQuestion };

type AskedRule = { readonly rule: Rule; readonly asked: Asked };

/** What a rule asks of its source, in the source's own language. @param source `undefined`: gone from the settings, then nothing but an expression is known */
export function queriesOf(source: Source | undefined, model: Model, rule: Rule, nowMs: number): readonly string[] {
  if (rule.condition.kind === 'expr') return [rule.condition.expr];
  const asked = new MeasurePlan(nowMs);
  asked.add({ model, rules: [rule], serving: [], sinceMs: null });
  return source === undefined ? [] : [...source.describe(asked.questions).values()];
}

/** Collects the questions of a whole turn, so that equal ones are asked once and alike ones in one query, and reads the answers back. */
export class MeasurePlan {
  readonly #questions = new Map<string, Question>();
  readonly #exprs = new Map<string, ExprQuestion>();
  readonly #ofRegistries = new Map<string, AskedOfRegistry>();
  readonly #tasks: { readonly task: MeasureTask; readonly asked: readonly AskedRule[] }[] = [];
  readonly #nowMs: number;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  add(task: MeasureTask): void {
    this.#tasks.push({
      task,
      asked: task.rules.map((rule) => ({ rule, asked: this.#askFor(task, rule.id, rule.condition, task.samplesMs?.(rule) ?? defaultSamplesMs) })),
    });
  }

  get questions(): readonly Question[] {
    return [...this.#questions.values()];
  }

  /**
   * Asks everything of one source at one instant, and what registries know of those. Never throws: a failing source gives `error` measurements.
   * @param sources by name, for the registries
   */
  async measure(source: Source, sources: ReadonlyMap<string, Source>, signal: AbortSignal): Promise<ReadonlyMap<string, readonly Measured[]>> {
    const [counted, evaluated, looked] = await Promise.all([
      this.#questions.size === 0 ? new Map<string, Answer>() : source.ask(this.questions, this.#nowMs, signal),
      this.#exprs.size === 0 || source.askExpr === null ? new Map<string, Answer>() : source.askExpr([...this.#exprs.values()], this.#nowMs, signal),
      this.#lookUp(sources, signal),
    ]);
    return this.read(new Map([...counted, ...evaluated, ...looked]));
  }

  async #lookUp(sources: ReadonlyMap<string, Source>, signal: AbortSignal): Promise<ReadonlyMap<string, Answer>> {
    const bySource = Map.groupBy(this.#ofRegistries.values(), (asked) => asked.source);
    const answers = await Promise.all(
      [...bySource].map(async ([name, asked]): Promise<ReadonlyMap<string, Answer>> => {
        const questions = asked.map(({ question }) => question);
        const ask = sources.get(name)?.askQuality ?? null;
        if (ask !== null) return await ask(questions, this.#nowMs, signal);
        return new Map(questions.map(({ id }): [string, Answer] => [id, { kind: 'error', reason: `source ${name} is no registry` }]));
      }),
    );
    return new Map(answers.flatMap((some) => [...some]));
  }

  /** The same, when nothing may be asked or believed. */
  fail(reason: string): ReadonlyMap<string, readonly Measured[]> {
    return this.read(new Map([...this.#questions.keys(), ...this.#exprs.keys(), ...this.#ofRegistries.keys()].map((id) => [id, { kind: 'error', reason }])));
  }

  /** Reads given answers back into measurements, per model. */
  read(answers: ReadonlyMap<string, Answer>): ReadonlyMap<string, readonly Measured[]> {
    return new Map(
      this.#tasks.map(({ task, asked }) => {
        const nameOf = versionName(task);
        return [task.model.name, asked.map(({ rule, asked: questions }) => ({ rule, ...read({ ...task, nameOf, nowMs: this.#nowMs }, questions, answers) }))];
      }),
    );
  }

  #askFor(task: MeasureTask, id: string, condition: Condition, samplesMs: number): Asked {
    const parts = partsOf(condition).map((part, index) => this.#askFor(task, `${id} ${index}`, part, samplesMs));
    const { signals } = task.model;
    const { requests, latency } = signals;
    const ask = (kind: Question['kind'], selector: { metric: string; matchers: readonly Matcher[] }, windowMs: number): string =>
      this.#question(task.model, kind, selector.metric, selector.matchers, windowMs);
    switch (condition.kind) {
      case 'all':
      case 'any':
      case 'burn_rate':
        return { condition, parts, windowMs: Math.max(0, ...parts.map((part) => part.windowMs)) };
      case 'error_ratio': {
        const windowMs = this.#cut(task, condition.windowMs);
        const selector = errorSelector(task.model);
        const errors = selector === null ? {} : { errors: ask('increase', selector, windowMs) };
        return { condition, parts, windowMs, newest: ask('newest', requests, windowMs), requests: ask('increase', requests, windowMs), ...errors };
      }
      case 'request_rate': {
        const windowMs = this.#cut(task, condition.windowMs);
        return { condition, parts, windowMs, newest: ask('newest', requests, windowMs), requests: ask('increase', requests, windowMs) };
      }
      case 'latency': {
        const windowMs = this.#cut(task, condition.windowMs);
        if (latency === null) return { condition, parts, windowMs, newest: ask('newest', requests, windowMs) };
        return {
          condition,
          parts,
          windowMs,
          newest: ask('newest', { ...latency, metric: `${latency.metric}_count` }, windowMs),
          buckets: ask('buckets', { ...latency, metric: `${latency.metric}_bucket` }, windowMs),
        };
      }
      case 'sequential': {
        const windowMs = samplesMs;
        if (condition.of.kind === 'latency')
          return latency === null
            ? { condition, parts, windowMs }
            : { condition, parts, windowMs, samples: ask('samples', { ...latency, metric: `${latency.metric}_bucket` }, windowMs) };
        const selector = errorSelector(task.model);
        const bad = selector === null ? {} : { badSamples: ask('samples', selector, windowMs) };
        return { condition, parts, windowMs, samples: ask('samples', requests, windowMs), ...bad };
      }
      case 'quality': {
        const windowMs = this.#cut(task, qualityWindowMs);
        const traffic = ask('increase', requests, windowMs);
        if (condition.of.kind === 'metric') return { condition, parts, windowMs, traffic, ...this.#askRegistry(task, condition.of.metric) };
        const ageMs = this.#cut(task, condition.maxAgeMs ?? defaultGaugeAgeMs);
        return { condition, parts, windowMs, traffic, gauge: ask('gauge', condition.of, ageMs), newest: ask('newest', condition.of, ageMs) };
      }
      case 'expr': {
        const windowMs = this.#cut(task, condition.rangeMs || exprWindowMs);
        const expr = `expr ${id}`;
        this.#exprs.set(expr, { id: expr, expr: condition.expr });
        if (condition.minRequests === null) return { condition, parts, windowMs, expr };
        return { condition, parts, windowMs, expr, newest: ask('newest', requests, windowMs), requests: ask('increase', requests, windowMs) };
      }
    }
  }

  /** Asked of the versions that serve: a registry knows many more. Nothing is asked where none is known to serve. */
  #askRegistry(task: MeasureTask, metric: string): { readonly quality?: string } {
    const { quality } = task.model;
    if (quality === null) return {};
    const versions = task.serving.flatMap((version) => registryVersion(quality, version) ?? []);
    const question = { id: JSON.stringify(['quality', quality.source, quality.model, metric, versions]), model: quality.model, metric, versions };
    this.#ofRegistries.set(question.id, { source: quality.source, question });
    return { quality: question.id };
  }

  #cut(task: MeasureTask, windowMs: number): number {
    if (task.sinceMs === null) return windowMs;
    return Math.max(1000, Math.min(windowMs, Math.floor((this.#nowMs - task.sinceMs) / 1000) * 1000));
  }

  #question(model: Model, kind: Question['kind'], metric: string, matchers: readonly Matcher[], windowMs: number): string {
    const versionLabel = model.attribution.kind === 'label' ? model.attribution.label : null;
    const id = JSON.stringify([kind, metric, matchers, windowMs, versionLabel]);
    if (!this.#questions.has(id)) this.#questions.set(id, { id, kind, metric, matchers, windowMs, versionLabel });
    return id;
  }
}

function errorSelector(model: Model): { metric: string; matchers: readonly Matcher[] } | null {
  const { errors, requests } = model.signals;
  if (errors === null) return null;
  return errors.metric === null
    ? { metric: requests.metric, matchers: [...requests.matchers, ...errors.matchers] }
    : { metric: errors.metric, matchers: errors.matchers };
}

type ReadTask = MeasureTask & { readonly nameOf: (metricVersion: string) => string | null; readonly nowMs: number };

type Read = { readonly byVersion: ReadonlyMap<string, Measurement>; readonly error: string | null };

function read(task: ReadTask, asked: Asked, answers: ReadonlyMap<string, Answer>): Read {
  const parts = asked.parts.map((part) => read(task, part, answers));
  const error = firstError(asked, answers);
  const collected = new Map<string, MutableMeasurement>();
  const at = (version: string): MutableMeasurement => {
    let found = collected.get(version);
    if (found === undefined) collected.set(version, (found = emptyMeasurement(asked.windowMs, error)));
    return found;
  };
  for (const version of task.serving) at(version);
  for (const part of parts) for (const version of part.byVersion.keys()) at(version);
  if (error === null) fill(task, asked, answers, at);
  // A registry names the version itself.
  const ambiguous = asked.quality === undefined ? ambiguity(task) : null;
  for (const [version, found] of collected) {
    if (ambiguous !== null) found.error = ambiguous;
    if (parts.length > 0)
      found.parts = parts.map((part, index) => part.byVersion.get(version) ?? emptyMeasurement(asked.parts[index]?.windowMs ?? asked.windowMs, part.error));
  }
  return { byVersion: collected, error: error ?? parts.find((part) => part.error !== null)?.error ?? null };
}

type MutableMeasurement = { -readonly [K in keyof Measurement]: Measurement[K] };

function emptyMeasurement(windowMs: number, error: string | null): MutableMeasurement {
  return { requests: null, errors: null, buckets: null, value: null, newestMs: null, windowMs, error };
}

function firstError(asked: Asked, answers: ReadonlyMap<string, Answer>): string | null {
  for (const id of [asked.requests, asked.errors, asked.buckets, asked.newest, asked.expr, asked.gauge, asked.quality, asked.samples, asked.badSamples]) {
    if (id === undefined) continue;
    const answer = answers.get(id);
    if (answer === undefined) return 'the source gave no answer';
    if (answer.kind === 'error') return answer.reason;
  }
  return null;
}

/** With `attribution: serving` the numbers of two versions cannot be told apart. */
function ambiguity(task: MeasureTask): string | null {
  if (task.model.attribution.kind !== 'serving' || task.serving.length <= 1) return null;
  return `versions ${task.serving.join(' and ')} serve at once and the metrics carry no version label (attribution: serving)`;
}

function fill(task: ReadTask, asked: Asked, answers: ReadonlyMap<string, Answer>, at: (version: string) => MutableMeasurement): void {
  const { nameOf } = task;
  const each = <V>(id: string | undefined, kind: Answer['kind'], use: (found: MutableMeasurement, value: V) => void): void => {
    const answer = id === undefined ? undefined : answers.get(id);
    if (answer === undefined || answer.kind !== kind || !('byVersion' in answer)) return;
    for (const [metricVersion, value] of answer.byVersion) {
      const version = nameOf(metricVersion);
      if (version !== null) use(at(version), value as V);
    }
  };
  each<number>(asked.newest, 'newest', (found, value) => (found.newestMs = Math.max(found.newestMs ?? 0, value)));
  each<number>(asked.requests, 'increase', (found, value) => {
    found.requests = (found.requests ?? 0) + value;
    // A complete answer without a series of failures means none failed.
    found.errors ??= asked.errors === undefined ? null : 0;
  });
  each<number>(asked.errors, 'increase', (found, value) => (found.errors = (found.errors ?? 0) + value));
  const unit = task.model.signals.latency?.unitSeconds ?? 1;
  each<ReadonlyMap<number, number>>(asked.buckets, 'buckets', (found, value) => {
    const sum = new Map(found.buckets ?? []);
    for (const [bound, count] of value) sum.set(bound * unit, (sum.get(bound * unit) ?? 0) + count);
    found.buckets = sum;
    found.requests = sum.get(Number.POSITIVE_INFINITY) ?? null;
  });
  each<readonly CounterSeries[]>(asked.samples, 'samples', (found, series) => {
    const scaled = unit === 1 ? series : series.map((one) => ({ ...one, le: one.le === null ? null : one.le * unit }));
    found.counters = { total: [...(found.counters?.total ?? []), ...scaled], bad: found.counters?.bad ?? [], sinceMs: task.sinceMs };
  });
  each<readonly CounterSeries[]>(asked.badSamples, 'samples', (found, series) => {
    if (found.counters !== undefined) found.counters = { ...found.counters, bad: [...found.counters.bad, ...series] };
  });
  each<number>(asked.traffic, 'increase', (found, value) => (found.requests = (found.requests ?? 0) + value));
  each<number>(asked.gauge, 'gauge', (found, value) => (found.value = value));
  fillExpr(task, asked, answers, at);
  fillQuality(task, asked, answers, at);
}

function fillQuality(task: ReadTask, asked: Asked, answers: ReadonlyMap<string, Answer>, at: (version: string) => MutableMeasurement): void {
  const answer = asked.quality === undefined ? undefined : answers.get(asked.quality);
  const { quality } = task.model;
  if (answer?.kind !== 'quality' || quality === null) return;
  for (const version of task.serving) {
    const named = registryVersion(quality, version);
    const found = named === null ? undefined : answer.values.get(named);
    if (named === null) at(version).note = `registry_version does not fit ${version}`;
    if (found !== undefined) Object.assign(at(version), { value: found.value, newestMs: found.measuredMs, note: found.note });
  }
}

/** The registry's name of a version; `null` when the pattern does not fit. */
function registryVersion({ versionPattern }: QualitySource, version: string): string | null {
  return versionPattern === null ? version : captureOf(versionPattern, version);
}

function fillExpr(task: ReadTask, asked: Asked, answers: ReadonlyMap<string, Answer>, at: (version: string) => MutableMeasurement): void {
  const answer = asked.expr === undefined ? undefined : answers.get(asked.expr);
  if (answer?.kind !== 'expr') return;
  const { nameOf } = task;
  const { attribution } = task.model;
  const { condition } = asked;
  const rangeMs = condition.kind === 'expr' ? condition.rangeMs || exprWindowMs : 0;
  // An expression cannot be cut: what it found may be the doing of the version that served before.
  const reachesBehind = attribution.kind === 'serving' && task.sinceMs !== null && task.nowMs - task.sinceMs < rangeMs;
  for (const element of answer.elements) {
    const label = attribution.kind === 'label' ? lookUp(element.labels, attribution.label) : '';
    const version = label === undefined ? null : nameOf(label);
    if (version === null) continue;
    if (reachesBehind) at(version).error = 'the range of the expression reaches behind the time since which this version serves';
    else at(version).value = element.value;
  }
}

/** Metrics' name of a version → the plane's; `null` when it names none. */
function versionName(task: MeasureTask): (metricVersion: string) => string | null {
  const { model, serving, names } = task;
  if (model.attribution.kind === 'serving') return () => serving[0] ?? null;
  const known = new Set(Object.values(names ?? {}));
  const translate = (name: string): string | null => (names === undefined || known.has(name) ? name : (lookUp(names, name) ?? null));
  if (model.versionMap === null) return (name) => (name === '' ? null : translate(name));
  const { versionMap } = model;
  return (name) => {
    const captured = captureOf(versionMap, name);
    return captured === null ? null : translate(captured);
  };
}
