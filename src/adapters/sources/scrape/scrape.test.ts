import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { contractQuestions, contractSeries, describeSourceContract, type SeriesSpec } from '../../../../test/contract/source.ts';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import type { Answer, Question } from '../../../domain/measurement.ts';
import { createScrapeSource, type ScrapeSource, startScrapeSource } from './index.ts';
import { scrapeSchema } from './schema.ts';

const startMs = Date.UTC(2026, 10, 22, 12);
const never = new AbortController().signal;
const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };

/** A server with a page that the test writes. */
class Page {
  text = '';
  status = 200;
  type = 'text/plain; version=0.0.4';
  reads = 0;
  readonly #server: Server = createServer((request, response) => {
    this.reads += 1;
    this.headers = request.headers;
    response.writeHead(this.status, { 'Content-Type': this.type }).end(this.text);
  });
  headers: Record<string, unknown> = {};

  async listen(): Promise<string> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

function exposition(series: readonly { name: string; labels: Readonly<Record<string, string>>; value: number }[]): string {
  return series
    .map(
      ({ name, labels, value }) =>
        `${name}{${Object.entries(labels)
          .map(([label, text]) => `${label}="${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`)
          .join(',')}} ${value}\n`,
    )
    .join('');
}

/** Reads the page at every instant any of the series has a sample at. */
async function feed(page: Page, source: ScrapeSource, clock: FakeClock, atMs: number, series: readonly SeriesSpec[]): Promise<void> {
  const instants = [...new Set(series.flatMap(({ samples }) => samples.map(([seconds]) => seconds)))].toSorted((a, b) => b - a);
  for (const seconds of instants) {
    clock.jump(atMs - seconds * 1000);
    page.text = exposition(
      series.flatMap(({ name, labels, samples }) => samples.filter(([when]) => when === seconds).map(([, value]) => ({ name, labels, value }))),
    );
    await source.scrapeOnce();
  }
  clock.jump(atMs);
}

const opened: { close(): unknown }[] = [];

describeSourceContract('scrape', async () => {
  const page = new Page();
  const clock = new FakeClock(startMs);
  const source = createScrapeSource(scrapeSchema.parse({ scrape_interval: '10s', static_configs: [{ targets: [await page.listen()] }] }), { clock, log });
  source.want(contractQuestions);
  await feed(page, source, clock, startMs, contractSeries);
  page.close();
  return { source, atMs: startMs };
});

describe('the scrape source', () => {
  let page: Page;
  let clock: FakeClock;
  let address: string;
  let source: ScrapeSource;

  beforeEach(async () => {
    page = new Page();
    clock = new FakeClock(startMs);
    address = await page.listen();
    opened.push(page);
    source = aSource({});
  });
  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close();
    vi.clearAllMocks();
  });

  function aSource(config: object): ScrapeSource {
    const made = createScrapeSource(
      scrapeSchema.parse({ scrape_interval: '10s', static_configs: [{ targets: [address], labels: { zone: 'eu' } }], ...config }),
      { clock, log },
    );
    made.want([aQuestion(), aQuestion({ kind: 'newest' })]);
    opened.push(made);
    return made;
  }

  function aQuestion(overrides: Partial<Question> = {}): Question {
    return { id: 'q', kind: 'increase', metric: 'x_total', matchers: [], windowMs: 60_000, versionLabel: 'version', ...overrides };
  }

  async function askOne(overrides: Partial<Question> = {}): Promise<Answer | undefined> {
    return (await source.ask([aQuestion(overrides)], clock.nowMs(), never)).get('q');
  }

  async function read(...values: readonly number[]): Promise<void> {
    for (const value of values) {
      clock.jump(clock.nowMs() + 10_000);
      page.text = `x_total{version="1"} ${value}\n`;
      await source.scrapeOnce();
    }
  }

  it('is neither up nor down, and answers an error, before the first read', async () => {
    expect(source.up()).toBeNull();
    expect(await askOne()).toEqual({ kind: 'error', reason: `1 of 1 targets missing: ${address} was not read yet` });
  });

  it('has neither PromQL nor history', () => {
    expect([source.askExpr, source.history]).toEqual([null, null]);
  });

  it('asks for the formats it knows', async () => {
    await read(1);

    expect(page.headers).toMatchObject({
      accept: expect.stringMatching(/^application\/openmetrics-text;version=1\.0\.0/),
      'x-prometheus-scrape-timeout-seconds': '10',
    });
  });

  it('adds target labels, and renames those of the page that clash', async () => {
    source = aSource({ static_configs: [{ targets: [address], labels: { version: '7' } }] });
    await read(10, 20, 30);

    const seven = { kind: 'increase', byVersion: new Map([['7', 30]]) };
    expect(await askOne({ windowMs: 30_000 })).toEqual({ kind: 'increase', byVersion: new Map([['7', 30]]) });
    expect(
      await askOne({
        windowMs: 30_000,
        matchers: [
          { label: 'exported_version', op: '=', value: '1' },
          { label: 'instance', op: '=', value: address },
          { label: 'job', op: '=', value: 'rollbackd' },
        ],
      }),
    ).toEqual(seven);
  });

  it('lets the page win with honor_labels', async () => {
    source = aSource({ honor_labels: true, static_configs: [{ targets: [address], labels: { version: '7' } }] });
    await read(10, 20, 30);

    expect(await askOne({ windowMs: 30_000 })).toEqual({ kind: 'increase', byVersion: new Map([['1', 30]]) });
  });

  it.each<[string, () => void, RegExp]>([
    [
      'another status',
      () => {
        page.status = 503;
      },
      /answered 503/,
    ],
    [
      'a page that is no metrics page',
      () => {
        page.text = '<html>';
      },
      /line 1: the page does not end with a line end/,
    ],
    [
      'an HTML page',
      () => {
        page.type = 'text/html';
        page.text = '<html>\n';
      },
      /the answer is text\/html, not a metrics page/,
    ],
    [
      'a fault on the page',
      () => {
        page.text = 'x_total{version="1"} 99\nbroken{\n';
      },
      /line 2: expected a label name/,
    ],
    [
      'a series twice',
      () => {
        page.text = 'x_total{a="1",b="2"} 1\nx_total{b="2",a="1"} 1\n';
      },
      /the page holds a series twice/,
    ],
    [
      'a page that is too large',
      () => {
        page.text = `# ${'x'.repeat(2 ** 20)}\n`;
      },
      /answer over the size limit/,
    ],
    [
      'a page with too many samples',
      () => {
        page.text = 'a 1\n'.repeat(200);
      },
      /more than 100 samples/,
    ],
    [
      'more series than may be kept',
      () => {
        page.text = Array.from({ length: 60 }, (_, index) => `x_total{version="${index}"} 1\n`).join('');
      },
      /more than 50 series are to be kept \(series_limit\)/,
    ],
  ])('takes %s for a failed read: nothing of it is used, answers are errors, series are gone', async (_name, spoil, reason) => {
    source = aSource({ body_size_limit: '1MB', sample_limit: 100, series_limit: 50 });
    await read(10, 20, 30);
    clock.jump(clock.nowMs() + 10_000);
    spoil();

    await source.scrapeOnce();

    expect(source.up()).toBe(false);
    expect(await askOne()).toEqual({ kind: 'error', reason: expect.stringMatching(reason) });
    expect(log.warn).toHaveBeenCalledTimes(1);

    page.status = 200;
    page.type = 'text/plain';
    await read(40);
    expect(source.up()).toBe(true);
    expect(await askOne({ windowMs: 50_000 })).toMatchObject({ kind: 'increase', byVersion: new Map([['1', 37.5]]) });
    expect(log.info).toHaveBeenCalledTimes(1);
  });

  it('loses sight of a series that left the page', async () => {
    await read(10, 20);
    expect(await askOne({ kind: 'newest' })).toEqual({ kind: 'newest', byVersion: new Map([['1', clock.nowMs()]]) });
    clock.jump(clock.nowMs() + 10_000);
    page.text = 'other 1\n';

    await source.scrapeOnce();

    expect(await askOne({ kind: 'newest' })).toEqual({ kind: 'newest', byVersion: new Map() });
    expect(await askOne()).toEqual({ kind: 'increase', byVersion: new Map([['1', 25]]) });
  });

  it('answers an error when the last read is older than two intervals', async () => {
    await read(10, 20);
    clock.jump(clock.nowMs() + 20_000);
    expect(await askOne()).toMatchObject({ kind: 'increase' });
    clock.jump(clock.nowMs() + 1000);

    expect(await askOne()).toEqual({ kind: 'error', reason: `1 of 1 targets missing: ${address} was last read 21 s ago` });
  });

  it('answers an error when one of the targets concerned is missing, and no other question', async () => {
    source = aSource({
      static_configs: [
        { targets: [address], labels: { model: 'a' } },
        { targets: ['127.0.0.1:1'], labels: { model: 'b' } },
      ],
    });
    await read(10, 20);

    expect(await askOne()).toEqual({ kind: 'error', reason: '1 of 2 targets missing: GET 127.0.0.1:1: connection refused (ECONNREFUSED)' });
    expect(await askOne({ matchers: [{ label: 'model', op: '=', value: 'b' }] })).toMatchObject({ kind: 'error' });
    expect(await askOne({ matchers: [{ label: 'model', op: '=~', value: 'a|c' }] })).toMatchObject({ kind: 'increase' });
  });

  it('keeps only series that questions select', async () => {
    page.text = 'x_total{version="1"} 1\nx_total{version="2"} 1\ny_total 1\n';
    source = createScrapeSource(scrapeSchema.parse({ scrape_interval: '10s', series_limit: 1, static_configs: [{ targets: [address] }] }), { clock, log });
    opened.push(source);
    source.want([aQuestion({ matchers: [{ label: 'version', op: '=', value: '1' }] })]);

    await source.scrapeOnce();

    expect(source.up()).toBe(true);
  });

  it('forgets samples that no window reaches', async () => {
    await read(...Array.from({ length: 100 }, (_, index) => index));
    clock.jump(clock.nowMs() + 10_000);
    page.text = 'nothing 1\n';
    for (let turn = 0; turn < 40; turn += 1) {
      await source.scrapeOnce();
      clock.jump(clock.nowMs() + 10_000);
    }

    expect(await askOne({ windowMs: 10_000_000 })).toEqual({ kind: 'increase', byVersion: new Map() });
  });

  it('starts afresh when the clock was set back', async () => {
    await read(10, 20, 30);
    clock.jump(startMs - 3_600_000);
    expect(await askOne()).toMatchObject({ byVersion: new Map() });

    await read(40, 50, 60);

    expect(await askOne({ windowMs: 30_000 })).toEqual({ kind: 'increase', byVersion: new Map([['1', 30]]) });
  });

  it('answers a regular expression that Prometheus would refuse with an error', async () => {
    await read(1);

    expect(await askOne({ matchers: [{ label: 'a', op: '=~', value: '(?!2)..' }] })).toEqual({
      kind: 'error',
      reason: 'the matcher a=~"(?!2).." cannot be evaluated by this source (look-around is unknown to RE2)',
    });
    expect(await askOne({ matchers: [{ label: 'version', op: '=~', value: '(?i)[x1]' }] })).toMatchObject({ kind: 'increase' });
  });

  it('never shows a secret of its http_config', async () => {
    const secret = 's3cr3t-planted';
    source = aSource({
      http_config: { authorization: { credentials: secret }, http_headers: { 'X-Key': { secrets: [secret] } } },
      metrics_path: `/metrics?token=${secret}`,
    });
    for (const spoil of [() => (page.status = 401), () => (page.type = `text/html; ${secret}`), () => (page.text = `${secret}{\n`), () => page.close()]) {
      page.status = 200;
      clock.jump(clock.nowMs() + 10_000);
      spoil();
      await source.scrapeOnce();
      expect(await askOne()).toMatchObject({ kind: 'error' });
      expect(inspect([await askOne(), source, log.warn.mock.calls], { depth: 6 })).not.toContain(secret);
      expect(page.headers['authorization']).toBe(`Bearer ${secret}`);
    }
  });

  it('describes its answers in PromQL', () => {
    expect(source.describe([aQuestion()])).toEqual(new Map([['q', 'sum by (version) (increase(x_total[1m]))']]));
  });

  it('reads by itself at once and every interval until it is closed', async () => {
    page.text = 'x_total{version="1"} 1\n';
    const running = startScrapeSource(scrapeSchema.parse({ scrape_interval: '10s', static_configs: [{ targets: [address] }] }), { clock, log });
    await vi.waitFor(() => expect(clock.sleeping).toBe(1));
    expect(page.reads).toBe(1);

    await clock.advance(10_000);
    await vi.waitFor(() => expect(page.reads).toBe(2));
    await vi.waitFor(() => expect(clock.sleeping).toBe(1));
    await running.close();

    expect(clock.sleeping).toBe(0);
    await clock.advance(60_000);
    expect(page.reads).toBe(2);
  });
});

describe('the settings of the scrape source', () => {
  const valid = { static_configs: [{ targets: ['a:1'] }] };

  it('has defaults', () => {
    expect(scrapeSchema.parse(valid)).toMatchObject({
      scrape_interval: 15_000,
      metrics_path: '/metrics',
      scheme: 'http',
      body_size_limit: 16_777_216,
      job_name: 'rollbackd',
    });
  });

  it.each<[string, object, string]>([
    ['a timeout over the interval', { ...valid, scrape_interval: '5s', scrape_timeout: '6s' }, 'expected no more than scrape_interval'],
    [
      'a target with scheme',
      { static_configs: [{ targets: ['http://a:1'] }] },
      'expected host:port, without scheme and path (those are scheme and metrics_path)',
    ],
    [
      'a target twice',
      { static_configs: [{ targets: ['a:1'] }, { targets: ['a:1'] }] },
      'expected each target once: read twice, its requests would count twice',
    ],
    ['no target', { static_configs: [{ targets: [] }] }, 'expected at least one target'],
    ['a size without unit', { ...valid, body_size_limit: '5' }, 'expected a size; write 16MB'],
    ['a key of later', { ...valid, relabel_configs: [] }, 'Unrecognized key: "relabel_configs"'],
  ])('refuses %s', (_name, config, message) => {
    expect(scrapeSchema.safeParse(config).error?.issues.map((issue) => issue.message)).toEqual([message]);
  });
});
