import { lookUp } from '../../domain/lookup.ts';
import type { Answer, CounterSeries } from '../../domain/measurement.ts';
import { groupKey, type PlannedQuery } from '../../domain/query-plan.ts';

/** An answer that must not be read as numbers; the message is fit for a person. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError';
}

export type Labels = Readonly<Record<string, string>>;
export type Point = { readonly atMs: number; readonly value: number };

/** How far an answer's time may be from the instant asked, ms; Prometheus gives the very same. */
const timeToleranceMs = 1000;

/** @throws {AnswerError} when a sample is of another instant than the one asked (a cache, a clock that jumped) */
export function checkInstant(givenMs: number, askedMs: number): void {
  if (Math.abs(givenMs - askedMs) > timeToleranceMs)
    throw new AnswerError(`the answer is of ${new Date(givenMs).toISOString()}, asked was ${new Date(askedMs).toISOString()}`);
}

/** Sorts the elements of one instant into the answers of the query's questions. Each element is handed over once, then `answers()`. */
export class AnswerBuilder {
  readonly #query: PlannedQuery;
  readonly #atMs: number;
  readonly #numbers = new Map<string, Map<string, number>>();
  readonly #buckets = new Map<string, Map<string, Map<number, number>>>();
  readonly #unusable = new Map<string, Set<string>>();
  /** How each bound was written first ("1"); buckets that write it otherwise ("1.0") wait until the end. */
  readonly #spelling = new Map<number, string>();
  readonly #otherwise = new Map<string, { readonly key: string; readonly version: string; readonly bound: number; readonly value: number }>();

  constructor(query: PlannedQuery, atMs: number) {
    this.#query = query;
    this.#atMs = atMs;
  }

  /** @throws {AnswerError} when the element repeats another or is of another instant */
  add(labels: Labels, { atMs, value }: Point): void {
    checkInstant(atMs, this.#atMs);
    const { ids, kind } = this.#query;
    const { key, version } = placeOf(this.#query, labels);
    if (!ids.has(key)) return;
    if (kind === 'buckets') this.#addBucket(key, version, labels['le'], value);
    else this.#addNumber(key, version, value);
  }

  answers(): ReadonlyMap<string, Answer> {
    this.#joinSpellings();
    const answers = new Map<string, Answer>();
    for (const [key, ids] of this.#query.ids) {
      const answer = this.#answer(key);
      for (const id of ids) answers.set(id, answer);
    }
    return answers;
  }

  #answer(key: string): Answer {
    const { kind } = this.#query;
    if (kind === 'samples') throw new AnswerError('raw samples are no numbers');
    if (kind !== 'buckets') return { kind, byVersion: this.#numbers.get(key) ?? new Map() };
    const byVersion = this.#buckets.get(key) ?? new Map<string, Map<number, number>>();
    for (const version of this.#unusable.get(key) ?? []) byVersion.delete(version);
    return { kind, byVersion };
  }

  #addNumber(key: string, version: string, value: number): void {
    let byVersion = this.#numbers.get(key);
    if (byVersion === undefined) this.#numbers.set(key, (byVersion = new Map()));
    if (byVersion.has(version) || this.#unusable.get(key)?.has(version) === true) throw new AnswerError('the answer holds a series twice');
    // NaN and infinities are no counts and no times: such a version has no data.
    if (!Number.isFinite(value)) this.#spoil(key, version);
    else if (this.#query.kind === 'increase' || this.#query.kind === 'gauge') byVersion.set(version, value);
    else if (value * 1000 >= this.#atMs - this.#query.windowMs) byVersion.set(version, Math.round(value * 1000));
    else this.#spoil(key, version);
  }

  #addBucket(key: string, version: string, le: string | undefined, value: number): void {
    const bound = le === undefined ? Number.NaN : parseBound(le);
    if (le === undefined || Number.isNaN(bound)) throw new AnswerError('a bucket of the answer has no "le" that is a number');
    if (!Number.isFinite(value)) this.#spoil(key, version);
    const spelling = this.#spelling.get(bound) ?? le;
    this.#spelling.set(bound, spelling);
    if (spelling !== le) {
      const place = JSON.stringify([key, version, le]);
      if (this.#otherwise.has(place)) throw new AnswerError('the answer holds a series twice');
      this.#otherwise.set(place, { key, version, bound, value });
      return;
    }
    const buckets = this.#bucketsOf(key, version);
    if (buckets.has(bound)) throw new AnswerError('the answer holds a series twice');
    buckets.set(bound, value);
  }

  #bucketsOf(key: string, version: string): Map<number, number> {
    let byVersion = this.#buckets.get(key);
    if (byVersion === undefined) this.#buckets.set(key, (byVersion = new Map()));
    let buckets = byVersion.get(version);
    if (buckets === undefined) byVersion.set(version, (buckets = new Map()));
    return buckets;
  }

  /** Clients that write a bound differently share it, as in `histogram_quantile`. */
  #joinSpellings(): void {
    for (const { key, version, bound, value } of this.#otherwise.values()) {
      const buckets = this.#bucketsOf(key, version);
      buckets.set(bound, (buckets.get(bound) ?? 0) + value);
    }
    this.#otherwise.clear();
  }

  #spoil(key: string, version: string): void {
    const versions = this.#unusable.get(key);
    if (versions === undefined) this.#unusable.set(key, new Set([version]));
    else versions.add(version);
  }
}

/** Sorts whole series into the answers of a query for raw samples; otherwise as `AnswerBuilder`. */
export class SamplesBuilder {
  readonly #query: PlannedQuery;
  readonly #series = new Map<string, Map<string, CounterSeries[]>>();
  readonly #unusable = new Map<string, Set<string>>();
  readonly #seen = new Set<string>();

  constructor(query: PlannedQuery) {
    this.#query = query;
  }

  /** @param points in time order. @throws {AnswerError} when the series repeats another */
  add(labels: Labels, points: readonly Point[]): void {
    const { key, version } = placeOf(this.#query, labels);
    if (!this.#query.ids.has(key)) return;
    const own = labelsKey(labels);
    if (this.#seen.has(own)) throw new AnswerError('the answer holds a series twice');
    this.#seen.add(own);
    // A counter that is no number says nothing of its version.
    if (points.some(({ value }) => !Number.isFinite(value))) valueAt(this.#unusable, key, () => new Set()).add(version);
    const le = labels['le'] === undefined ? null : parseBound(labels['le']);
    if (le !== null && Number.isNaN(le)) throw new AnswerError('a bucket of the answer has no "le" that is a number');
    const target = labels['instance'] === undefined ? null : JSON.stringify([labels['job'] ?? '', labels['instance']]);
    const byVersion = valueAt(this.#series, key, () => new Map<string, CounterSeries[]>());
    valueAt(byVersion, version, () => []).push({ key: own, target, le, points });
  }

  answers(): ReadonlyMap<string, Answer> {
    const answers = new Map<string, Answer>();
    for (const [key, ids] of this.#query.ids) {
      const byVersion = this.#series.get(key) ?? new Map<string, CounterSeries[]>();
      for (const version of this.#unusable.get(key) ?? []) byVersion.delete(version);
      for (const id of ids) answers.set(id, { kind: 'samples', byVersion });
    }
    return answers;
  }
}

/** Identity of a label set, whatever its order. */
export function labelsKey(labels: Labels): string {
  return JSON.stringify(
    Object.keys(labels)
      .toSorted()
      .map((name) => [name, labels[name]]),
  );
}

/** Which question of the query an element answers, and for which version. */
function placeOf({ keyLabels, versionLabel }: PlannedQuery, labels: Labels): { readonly key: string; readonly version: string } {
  const [only] = keyLabels;
  const key = keyLabels.length === 1 && only !== undefined ? (lookUp(labels, only) ?? '') : groupKey(keyLabels.map((label) => lookUp(labels, label) ?? ''));
  return { key, version: versionLabel === null ? '' : (lookUp(labels, versionLabel) ?? '') };
}

function valueAt<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function parseBound(le: string): number {
  if (le === '+Inf' || le === 'Inf') return Infinity;
  return le.trim() === '' ? Number.NaN : Number(le);
}
