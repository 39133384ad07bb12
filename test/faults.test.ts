import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realClock } from '../src/adapters/clock/real-clock.ts';
import { leaseKinds } from '../src/adapters/leases/index.ts';
import { receiverKinds } from '../src/adapters/notify/index.ts';
import { createSmokeRunner } from '../src/adapters/smoke/index.ts';
import { sourcePlugins } from '../src/adapters/sources/index.ts';
import type { SourcePlugin } from '../src/adapters/sources/source-plugin.ts';
import type { Answer, Question } from '../src/domain/measurement.ts';
import { type Clock, PlaneError, type Source } from '../src/domain/ports.ts';
import { describeFaults, type FaultyPart, limitMs, type Place, type Talk } from './contract/faults.ts';
import { startFakePrometheus } from './support/fake-prometheus.ts';
import { startFakeKubernetes } from './support/kubernetes/fake-kubernetes.ts';
import { MlflowServer } from './support/mlflow/server.ts';
import { recordingLog } from './support/recording-log.ts';
import { startSlackEndpoint } from './support/slack-endpoint.ts';

/** The table of faults over everything that is no control plane; those have it in their own suites. */

const secret = 's3cr3t-planted';
const ever = new AbortController().signal;
const timeout = `${limitMs}ms`;
/** Limits that no setting holds are as short as the others. */
const hasty: Clock = { nowMs: () => realClock.nowMs(), sleep: async (ms, signal) => await realClock.sleep(Math.min(ms, limitMs), signal) };

/** What was looked up is old by the next time. */
const forgetful = (): Clock => {
  let nowMs = 0;
  return { nowMs: () => (nowMs += 3_600_000), sleep: async (ms, signal) => await realClock.sleep(ms, signal) };
};

const hostOf = (url: string): string => new URL(url).host;
const httpConfig = ({ caFile }: Place) => ({ authorization: { credentials: secret }, ...(caFile === null ? {} : { tls_config: { ca_file: caFile } }) });

/** Conversations with a source: it must call itself down whenever it has no numbers, and say why. */
async function sourceAt(
  kind: string,
  settings: unknown,
  converse: (source: Source) => Promise<{ readonly answer: Answer | undefined; readonly isRight: boolean }>,
  clock = realClock,
): ReturnType<FaultyPart['connect']> {
  const plugin = Object.values(sourcePlugins).find((candidate) => candidate.kind === kind) as SourcePlugin<unknown>;
  const log = recordingLog();
  const source = await plugin.create(plugin.schema.parse(settings), { clock, log });
  const talk = async (): Promise<Talk> => {
    const { answer, isRight } = await converse(source);
    const said = [answer?.kind === 'error' ? answer.reason : '', source.whyDown(), log.text()];
    if (isRight) {
      if (source.up() !== true || source.whyDown() !== null) throw new Error(`it answered, and is called down: ${source.whyDown()}`);
      return { well: true, said };
    }
    if (answer?.kind !== 'error') throw new Error(`numbers that the server did not say: ${JSON.stringify(answer)}`);
    if (source.up() !== false) throw new Error(`it did not answer (${answer.reason}), and is not called down`);
    return { well: false, class: 'transient', words: `${answer.reason}; ${source.whyDown() ?? 'undefined'}`, said };
  };
  return { talk, close: async () => await source.close() };
}

const question: Question = {
  id: 'q',
  kind: 'increase',
  metric: 'requests_total',
  matchers: [],
  windowMs: 60_000,
  versionLabel: 'model_name',
};

describeFaults(
  'the source prometheus',
  'http',
  async () => {
    const server = await startFakePrometheus();
    return {
      upstream: hostOf(server.url),
      secret,
      connect: async (place) =>
        await sourceAt('prometheus', { url: place.url, timeout, http_config: httpConfig(place) }, async (source) => {
          const answer = (await source.ask([question], Date.now(), ever)).get('q');
          return { answer, isRight: answer?.kind === 'increase' && answer.byVersion.get('fraud') === 1000 };
        }),
      [Symbol.asyncDispose]: server.close,
    };
  },
  { tls: true },
);

describeFaults(
  'the source scrape',
  'http',
  async () => {
    const server = createServer((_request, response) =>
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end('# TYPE requests_total counter\nrequests_total{model_version="7"} 5\n'),
    );
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const samples: Question = { ...question, kind: 'samples', versionLabel: 'model_version' };
    return {
      upstream: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      secret,
      connect: async (place) =>
        await sourceAt(
          'scrape',
          {
            // Read when the test says so.
            scrape_interval: '1h',
            scrape_timeout: timeout,
            scheme: place.caFile === null ? 'http' : 'https',
            static_configs: [{ targets: [place.address] }],
            http_config: httpConfig(place),
          },
          async (source) => {
            const scraper = source as Source & { scrapeOnce(): Promise<void>; want(questions: readonly Question[]): void };
            scraper.want([samples]);
            await scraper.scrapeOnce();
            const answer = (await source.ask([samples], Date.now(), ever)).get('q');
            return { answer, isRight: answer?.kind === 'samples' && answer.byVersion.has('7') };
          },
        ),
      [Symbol.asyncDispose]: async () => {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  },
  { tls: true },
);

describeFaults(
  'the source mlflow',
  'http',
  async () => {
    const server = await MlflowServer.start();
    server.state.register('fraud', { metrics: { accuracy: 0.95 } });
    return {
      upstream: hostOf(server.url),
      secret,
      connect: async (place) =>
        await sourceAt(
          'mlflow',
          { url: place.url, timeout, refresh: '1s', http_config: httpConfig(place) },
          async (source) => {
            const asked = [{ id: 'q', model: 'fraud', metric: 'accuracy', versions: ['1'] }];
            const answer = (await source.askQuality?.(asked, Date.now(), ever))?.get('q');
            return { answer, isRight: answer?.kind === 'quality' && answer.values.get('1')?.value === 0.95 };
          },
          forgetful(),
        ),
      [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose](),
    };
  },
  { tls: true },
);

describeFaults(
  'the receiver slack',
  'http',
  async () => {
    const path = `/services/T000/B000/${secret}`;
    const endpoint = await startSlackEndpoint(path);
    return {
      upstream: hostOf(endpoint.url),
      secret,
      connect: async (place) => {
        const kind = receiverKinds.get('slack_configs');
        if (kind === undefined) throw new Error('no slack');
        const log = recordingLog();
        const config = kind.config.parse({ api_url: `${place.url}${path}`, http_config: httpConfig(place) });
        const sender = await kind.create(config, { clock: hasty, log, receiver: 'oncall', index: 0 });
        const content = { day: '2026-11-22', wouldHave: [], did: [], externalLabels: {} };
        const times = { enqueuedMs: 0, notBeforeMs: 0, attempts: 0, state: 'waiting', detail: '' } as const;
        const talk = async (): Promise<Talk> => {
          const told = endpoint.deliveries.length;
          const result = await sender.send({ id: 'a', receiver: 'oncall', kind: 'digest', content, ...times }, ever);
          const said = [result, log.text()];
          if (result.kind === 'sent') return { well: endpoint.deliveries.length > told, class: 'permanent', words: 'sent to nobody', said };
          return { well: false, class: result.kind === 'retry' ? 'transient' : 'permanent', words: result.detail, said };
        };
        return { talk, close: async () => sender.close() };
      },
      [Symbol.asyncDispose]: endpoint.close,
    };
  },
  // What speaks Slack's protocol besides Slack answers JSON of its own.
  { tls: true, accepts: ['JSON of another shape'] },
);

describeFaults('a smoke test', 'http', async () => {
  const server = createServer((_request, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"predictions": [0.1]}'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    upstream: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    // What the tested model answers is shown on purpose.
    secret: null,
    connect: async (place) => {
      const runner = createSmokeRunner({ clock: realClock, log: recordingLog(), baseEnv: {} });
      const request = {
        kind: 'http',
        name: 'one known transaction',
        method: 'POST',
        url: `${place.url}/v1/models/fraud:predict`,
        headers: {},
        body: '{"instances": [1]}',
        bodyFile: null,
        expect: { status: 200, json: { '$.predictions[0]': 0.1 }, durationBelowMs: null },
      } as const;
      const talk = async (): Promise<Talk> => {
        const test = { timeoutMs: limitMs, retries: 0, onFailure: 'stop', requests: [request] } as const;
        const [result] = await runner.run(test, { model: 'fraud', to: '6', from: '7', labels: {} }, ever);
        return result?.outcome === 'passed' ? { well: true, said: result } : { well: false, class: 'permanent', words: result?.detail ?? '', said: result };
      };
      return { talk, close: async () => runner.close() };
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
});

describeFaults(
  'the lease kubernetes_lease',
  'http',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rollbackd-lease-'));
    const kubernetes = await startFakeKubernetes({ namespaces: ['shop'], tokens: { [secret]: { name: 'rollbackd', groups: ['system:masters'] } } });
    return {
      upstream: hostOf(kubernetes.url),
      secret,
      connect: async ({ url, caFile }) => {
        const kubeconfig = join(folder, 'kubeconfig.json');
        const cluster = { server: url, ...(caFile === null ? {} : { 'certificate-authority': caFile }) };
        const context = { cluster: 'test', user: 'test', namespace: 'shop' };
        const all = { clusters: [{ name: 'test', cluster }], contexts: [{ name: 'test', context }], users: [{ name: 'test', user: { token: secret } }] };
        writeFileSync(kubeconfig, JSON.stringify({ 'current-context': 'test', ...all }));
        const log = recordingLog();
        const kind = leaseKinds['kubernetes_lease'];
        if (kind === undefined) throw new Error('no kubernetes_lease');
        const lease = await kind.open(kind.schema.parse({ kubeconfig, timeout, apply_timeout: timeout }), {
          clock: realClock,
          log,
          monotonicMs: () => performance.now(),
          holder: 'one',
          leaseDurationMs: 15_000,
          environment: {},
          signal: ever,
        });
        const talk = async (): Promise<Talk> => {
          try {
            const answer = await lease.acquire(ever);
            return { well: answer.isHeld, class: 'permanent', words: 'not held', said: [answer, log.text()] };
          } catch (error) {
            if (!(error instanceof PlaneError)) throw error;
            // A lost write is asked again like a lost reading: who holds the lease is written in it.
            return { well: false, class: error.class === 'indeterminate' ? 'transient' : error.class, words: error.message, said: error };
          }
        };
        return { talk, close: async () => await lease.close() };
      },
      [Symbol.asyncDispose]: async () => {
        await kubernetes[Symbol.asyncDispose]();
        rmSync(folder, { recursive: true });
      },
    };
  },
  { tls: true },
);
