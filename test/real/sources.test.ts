import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { realClock } from '../../src/adapters/clock/real-clock.ts';
import { AnswerBuilder, labelsKey } from '../../src/adapters/sources/answer-builder.ts';
import { createPrometheusSource } from '../../src/adapters/sources/prometheus/index.ts';
import { prometheusSchema } from '../../src/adapters/sources/prometheus/schema.ts';
import { evaluate } from '../../src/adapters/sources/scrape/evaluate.ts';
import { createScrapeSource } from '../../src/adapters/sources/scrape/index.ts';
import { compileMatcher } from '../../src/adapters/sources/scrape/matching.ts';
import { scrapeSchema } from '../../src/adapters/sources/scrape/schema.ts';
import { SeriesStore } from '../../src/adapters/sources/scrape/series-store.ts';
import type { Answer, Question } from '../../src/domain/measurement.ts';
import type { Source } from '../../src/domain/ports.ts';
import { extrapolatedIncrease, histogramQuantile, type Sample } from '../../src/domain/prometheus-functions.ts';
import { planQueries } from '../../src/domain/query-plan.ts';
import { contractSeries, describeSourceContract } from '../contract/source.ts';
import { type RealPrometheus, startPrometheus } from '../support/real-prometheus.ts';

/** Instants end in 0 ms, samples in 3 ms: none lies on the left edge of a window, which Prometheus 2 counts and Prometheus 3 does not. */
const atMs = Date.UTC(2026, 10, 20, 12);
const never = new AbortController().signal;
const seed = 20_261_122;
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };

type Series = { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly samples: readonly Sample[] };

function openMetrics(series: readonly Series[]): string {
  const lines = series.flatMap(({ name, labels, samples }) => {
    const text = Object.entries(labels)
      .map(([label, value]) => `${label}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`)
      .join(',');
    return samples.map((sample) => `${name}{${text}} ${String(sample.value).replace('Infinity', 'Inf')} ${(sample.atMs / 1000).toFixed(3)}`);
  });
  return `${lines.join('\n')}\n# EOF\n`;
}

function aPrometheusSource(url: string): Source {
  return createPrometheusSource(prometheusSchema.parse({ url }), { clock: realClock, log: silent });
}

/** Answers of the direct source's evaluator over the same samples. */
function askEvaluator(series: readonly Series[], questions: readonly Question[], instantMs: number): Map<string, Answer> {
  const store = new SeriesStore();
  for (const { name, labels, samples } of series) {
    const ring = store.add(name, labelsKey(labels), labels);
    for (const sample of samples) ring.append(sample.atMs, sample.value, false);
  }
  return new Map(
    questions.map((question) => {
      const [query] = planQueries([question]);
      const builder = new AnswerBuilder(query!, instantMs);
      for (const { labels, value } of evaluate(store, question, question.matchers.map(compileMatcher), instantMs))
        builder.add(labels, { atMs: instantMs, value });
      return [question.id, builder.answers().get(question.id)!];
    }),
  );
}

/** Flat numbers of an answer, by version and bound. */
function numbers(answer: Answer | undefined): Map<string, number> {
  if (answer === undefined || answer.kind === 'samples' || !('byVersion' in answer)) throw new Error(`no answer: ${JSON.stringify(answer)}`);
  const flat = new Map<string, number>();
  for (const [version, value] of answer.byVersion) {
    if (typeof value === 'number') flat.set(version, value);
    else for (const [le, count] of value) flat.set(`${version} ${le}`, count);
  }
  return flat;
}

function expectClose(actual: number, expected: number, what: string): void {
  if (Object.is(actual, expected)) return;
  const scale = Math.max(Math.abs(actual), Math.abs(expected));
  if (!(Math.abs(actual - expected) <= 1e-9 * scale)) throw new Error(`${what}: ${actual} instead of ${expected}`);
}

/** Where Prometheus 2 deviates: it compares the zero point with the whole way to the left edge, not with half a distance. */
function differsInPrometheus2(samples: readonly Sample[], startMs: number, endMs: number): boolean {
  const inside = samples.filter((sample) => sample.atMs > startMs && sample.atMs <= endMs);
  const [first, last] = [inside[0], inside.at(-1)];
  if (first === undefined || last === undefined || inside.length < 2) return false;
  const growth = inside.reduce(
    (sum, sample, index) => sum + (index > 0 && sample.value < inside[index - 1]!.value ? inside[index - 1]!.value : 0),
    last.value - first.value,
  );
  const sampledMs = last.atMs - first.atMs;
  const distanceMs = sampledMs / (inside.length - 1);
  const toZeroMs = sampledMs * (first.value / growth);
  return first.atMs - startMs >= distanceMs * 1.1 && growth > 0 && toZeroMs > distanceMs / 2 && toZeroMs < distanceMs * 1.1;
}

const counter = fc
  .record({
    everyMs: fc.constantFrom(5_000, 10_000, 15_000, 30_000),
    count: fc.integer({ min: 1, max: 60 }),
    endsBeforeMs: fc.integer({ min: 0, max: 20 }).map((steps) => steps * 7_000),
    base: fc.constantFrom(0, 1, 1000, 123_456_789),
    steps: fc.array(
      fc.record({
        growth: fc.oneof(
          fc.constant(0),
          fc.integer({ min: 0, max: 500 }),
          fc.integer({ min: 0, max: 9999 }).map((thousandths) => thousandths / 1000),
        ),
        resets: fc.integer({ min: 0, max: 14 }).map((die) => die === 0),
        missing: fc.integer({ min: 0, max: 9 }).map((die) => die === 0),
        jitterMs: fc.integer({ min: -20, max: 20 }).map((tens) => tens * 10),
      }),
      { minLength: 60, maxLength: 60 },
    ),
  })
  .map(({ everyMs, count, endsBeforeMs, base, steps }): Sample[] => {
    let value: number = base;
    return steps.slice(0, count).flatMap(({ growth, resets, missing, jitterMs }, index) => {
      value = resets ? growth : value + growth;
      return missing ? [] : [{ atMs: atMs - endsBeforeMs - (count - 1 - index) * everyMs + jitterMs - 1_000 + 3, value }];
    });
  });

const bounds = [0.005, 0.05, 0.25, 1, 2.5, Infinity];

let prometheus: RealPrometheus;
const sources: Source[] = [];
afterAll(async () => {
  for (const source of sources) await source.close();
  await prometheus?.stop();
});

const counters: Series[] = fc
  .sample(counter, { seed, numRuns: 200 })
  .map((samples, index) => ({ name: 'p_total', labels: { series: `${index}"\\.|`, version: String(index % 7), job: 'x' }, samples }));
const histograms: Series[] = fc
  .sample(fc.tuple(counter, fc.array(fc.integer({ min: 0, max: 100 }), { minLength: bounds.length, maxLength: bounds.length })), { seed, numRuns: 20 })
  .flatMap(([samples, weights], index) => {
    let share = 0;
    return bounds.map((bound, position) => {
      share += weights[position]!;
      return {
        name: 'h_bucket',
        labels: { series: String(index), version: String(index % 3), le: bound === Infinity ? '+Inf' : String(bound) },
        samples: samples.map((sample) => ({ atMs: sample.atMs, value: Math.floor((sample.value * share) / 100) })),
      };
    });
  });
/** Buckets as they are, also such as no client would write. */
const gaugeBuckets = fc.sample(
  fc.uniqueArray(
    fc.tuple(fc.oneof(fc.constantFrom(-2, -0.5, 0, 0.1, 1, 5), fc.constant(Infinity), fc.constant(Infinity)), fc.constantFrom(0, 1, 3, 7, 20, 20.5, 1e6)),
    { selector: ([bound]) => bound, minLength: 1, maxLength: 7 },
  ),
  { seed, numRuns: 60 },
);
const gauges: Series[] = gaugeBuckets.flatMap((buckets, index) =>
  buckets.map(([bound, value]) => ({
    name: 'g_bucket',
    labels: { series: String(index), le: bound === Infinity ? '+Inf' : String(bound) },
    samples: [{ atMs: atMs - 997, value }],
  })),
);

beforeAll(async () => {
  const contract = contractSeries.map(({ name, labels, samples }) => ({
    name,
    labels,
    samples: samples.map(([seconds, value]) => ({ atMs: atMs - seconds * 1000, value })),
  }));
  prometheus = await startPrometheus({
    openMetrics: openMetrics([...counters, ...histograms, ...gauges, ...contract].filter(({ samples }) => samples.length > 0)),
  });
  sources.push(aPrometheusSource(prometheus.url));
}, 60_000);

describeSourceContract('a real Prometheus', async () => ({ source: sources[0]!, atMs }));

describe('the direct source and a real Prometheus agree within 1e-9', () => {
  const instants = [0, -10_000, -37_000, -120_000, 30_000].map((offset) => atMs + offset);
  const windows = [20_000, 60_000, 90_000, 300_000];

  it('on the increase of every counter', async () => {
    let compared = 0;
    let deviating = 0;
    for (const instantMs of instants) {
      const questions = windows.flatMap((windowMs) =>
        counters.map(
          ({ labels }, index): Question => ({
            id: `${windowMs} ${index}`,
            kind: 'increase',
            metric: 'p_total',
            matchers: [{ label: 'series', op: '=', value: labels['series']! }],
            windowMs,
            versionLabel: 'version',
          }),
        ),
      );
      const theirs = await sources[0]!.ask(questions, instantMs, never);
      const ours = askEvaluator(counters, questions, instantMs);
      for (const { id, windowMs } of questions) {
        const { samples } = counters[Number(id.split(' ')[1])]!;
        const [their, our] = [numbers(theirs.get(id)), numbers(ours.get(id))];
        expect([...our.keys()], `${id} at ${instantMs}`).toEqual([...their.keys()]);
        if (differsInPrometheus2(samples, instantMs - windowMs, instantMs)) {
          deviating += 1;
          continue;
        }
        for (const [version, value] of our) {
          expectClose(value, their.get(version)!, `${id} at ${instantMs}`);
          compared += 1;
        }
      }
    }
    expect(compared).toBeGreaterThan(1500);
    expect(deviating).toBeLessThan(compared / 20);
  });

  it('on sums over versions, buckets and newest samples', async () => {
    for (const instantMs of instants) {
      const known = counters.filter(({ samples }) => windows.every((windowMs) => !differsInPrometheus2(samples, instantMs - windowMs, instantMs)));
      const excluded = counters
        .filter((series) => !known.includes(series))
        .map(({ labels }) => ({ label: 'series', op: '!=', value: labels['series']! }) as const);
      const questions = windows.flatMap((windowMs): Question[] => [
        { id: `sum ${windowMs}`, kind: 'increase', metric: 'p_total', matchers: excluded, windowMs, versionLabel: 'version' },
        {
          id: `all ${windowMs}`,
          kind: 'increase',
          metric: 'p_total',
          matchers: [...excluded, { label: 'job', op: '=~', value: 'x|y' }],
          windowMs,
          versionLabel: null,
        },
        { id: `newest ${windowMs}`, kind: 'newest', metric: 'p_total', matchers: [], windowMs, versionLabel: 'series' },
      ]);
      const theirs = await sources[0]!.ask(questions, instantMs, never);
      const ours = askEvaluator(counters, questions, instantMs);
      for (const { id } of questions) {
        const [their, our] = [numbers(theirs.get(id)), numbers(ours.get(id))];
        expect([...our.keys()].toSorted()).toEqual([...their.keys()].toSorted());
        for (const [key, value] of our) expectClose(value, their.get(key)!, `${id} ${key} at ${instantMs}`);
      }
    }
  });

  it('on quantiles of histograms', async () => {
    const quantiles = [0.0537, 0.513, 0.917, 0.9931];
    let compared = 0;
    for (const instantMs of instants.slice(0, 3)) {
      const steady = histograms.filter(({ samples }) => !differsInPrometheus2(samples, instantMs - 90_000, instantMs));
      const excluded = [...new Set(histograms.filter((series) => !steady.includes(series)).map(({ labels }) => labels['series']!))];
      const matchers = excluded.map((value) => ({ label: 'series', op: '!=', value }) as const);
      const question: Question = { id: 'q', kind: 'buckets', metric: 'h_bucket', matchers, windowMs: 90_000, versionLabel: 'version' };
      const buckets = await sources[0]!.ask([question], instantMs, never).then((answers) => answers.get('q'));
      const ours = askEvaluator(histograms, [question], instantMs).get('q')!;
      const [their, our] = [numbers(buckets), numbers(ours)];
      for (const [key, value] of our) expectClose(value, their.get(key)!, `${key} at ${instantMs}`);
      const promql = planQueries([question])[0]!.promql;
      const answers = await sources[0]!.askExpr!(
        quantiles.map((q) => ({ id: String(q), expr: `histogram_quantile(${q}, ${promql})` })),
        instantMs,
        never,
      );
      for (const q of quantiles) {
        const answer = answers.get(String(q));
        if (answer?.kind !== 'expr' || ours.kind !== 'buckets') throw new Error(JSON.stringify(answer));
        for (const { labels, value } of answer.elements) {
          expectClose(histogramQuantile(q, ours.byVersion.get(labels['version']!)!), value, `p${q * 100} of ${labels['version']}`);
          compared += 1;
        }
      }
    }
    expect(compared).toBeGreaterThan(20);
  });

  it('on quantiles of buckets of every odd kind', async () => {
    const quantiles = [-1, 0, 0.1, 0.5, 0.77, 1, 2];
    const answers = await sources[0]!.askExpr!(
      quantiles.map((q) => ({ id: String(q), expr: `histogram_quantile(${q}, g_bucket)` })),
      atMs,
      never,
    );
    for (const q of quantiles) {
      const answer = answers.get(String(q));
      if (answer?.kind !== 'expr') throw new Error(JSON.stringify(answer));
      expect(answer.elements).toHaveLength(gaugeBuckets.length);
      for (const { labels, value } of answer.elements)
        expectClose(
          histogramQuantile(q, new Map(gaugeBuckets[Number(labels['series'])])),
          value,
          `q ${q} of ${JSON.stringify(gaugeBuckets[Number(labels['series'])])}`,
        );
    }
  });

  it('on history, point by point', async () => {
    const range = { startMs: atMs - 120_000, endMs: atMs, stepMs: 15_000 };
    const question: Question = {
      id: 'q',
      kind: 'increase',
      metric: 'p_total',
      matchers: [{ label: 'series', op: '=', value: counters[0]!.labels['series']! }],
      windowMs: 60_000,
      versionLabel: 'version',
    };

    const history = await sources[0]!.history!([question], range, never);

    expect(history.map((point) => point.atMs)).toEqual(Array.from({ length: 9 }, (_, index) => range.startMs + index * 15_000));
    for (const point of history) {
      const instant = await sources[0]!.ask([question], point.atMs, never);
      expect(point.answers.get('q')).toEqual(instant.get('q'));
    }
  });

  it('knows where Prometheus 2 deviates from Prometheus 3', () => {
    const samples = [
      { atMs: 40_003, value: 8 },
      { atMs: 50_003, value: 18 },
    ];

    expect(differsInPrometheus2(samples, 0, 60_000)).toBe(true);
    expect(extrapolatedIncrease(samples, 0, 60_000)).toBeCloseTo((10 * (10 + 5 + 9.997)) / 10, 6);
  });
});

describe('live, on the same page', () => {
  it('both see a series come, grow and go', async () => {
    let page = '';
    const server = createServer((_request, response) => response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4' }).end(page));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const startedMs = Date.now();
    const ticker = setInterval(() => {
      page = page === 'gone 1\n' ? page : `x_total{version="7"} ${Math.floor((Date.now() - startedMs) / 10)}\n`;
    }, 20);
    const live = await startPrometheus({
      config: JSON.stringify({
        scrape_configs: [{ job_name: 'x', scrape_interval: '500ms', scrape_timeout: '400ms', static_configs: [{ targets: [address] }] }],
      }),
    });
    const theirs = aPrometheusSource(live.url);
    const ours = createScrapeSource(scrapeSchema.parse({ scrape_interval: '500ms', static_configs: [{ targets: [address] }] }), {
      clock: realClock,
      log: silent,
    });
    try {
      const questions: Question[] = [
        { id: 'increase', kind: 'increase', metric: 'x_total', matchers: [], windowMs: 4_000, versionLabel: 'version' },
        { id: 'newest', kind: 'newest', metric: 'x_total', matchers: [], windowMs: 60_000, versionLabel: 'version' },
      ];
      ours.want(questions);
      ours.start();
      const ask = async (): Promise<Map<string, number>[]> => {
        const nowMs = Date.now();
        return (await Promise.all([theirs, ours].map((source) => source.ask(questions, nowMs, never)))).flatMap((answers) =>
          questions.map(({ id }) => (answers.get(id)?.kind === 'error' ? new Map<string, number>() : numbers(answers.get(id)))),
        );
      };
      let [their, theirNewest, our, ourNewest] = await ask();
      // Prometheus begins to scrape some seconds after it is ready.
      for (const untilMs = Date.now() + 30_000; Date.now() < untilMs && !((their?.get('7') ?? 0) > 350); await sleep(250))
        [their, theirNewest, our, ourNewest] = await ask();
      expect(Math.abs(their!.get('7')! - 400)).toBeLessThan(60);
      expect(Math.abs(our!.get('7')! - 400)).toBeLessThan(60);
      expect(Math.abs(theirNewest!.get('7')! - ourNewest!.get('7')!)).toBeLessThan(1_500);

      page = 'gone 1\n';
      await sleep(2_000);
      const after = await ask();
      expect([after[1]!.size, after[3]!.size]).toEqual([0, 0]);
      expect([after[0]!.size, after[2]!.size]).toEqual([1, 1]);
    } finally {
      clearInterval(ticker);
      await ours.close();
      await theirs.close();
      await live.stop();
      server.closeAllConnections();
      server.close();
    }
  });
});
