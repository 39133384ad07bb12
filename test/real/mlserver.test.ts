import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kserveCrds } from '../support/kubernetes/crds/kserve.ts';
import { type MlServer, startMlServer } from '../support/mlserver/start.ts';
import { KserveKnativeController } from '../support/serving-platforms/kserve-knative.ts';
import { fakeCluster } from '../support/serving-platforms/platform-cluster.ts';
import { type Platform, setPlatformStage } from '../support/serving-platforms/platform-stage.ts';
import { untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

const uriOf = (version: string): string => `s3://models/fraud/${version}`;
const path = '/apis/serving.kserve.io/v1beta1/namespaces/shop/inferenceservices/fraud';

let mlserver: MlServer;
/** Versions that the real server has loaded. */
let loaded: ReadonlySet<string> = new Set();

beforeAll(async () => {
  mlserver = await startMlServer(['v1', 'v2']);
}, 120_000);
afterAll(async () => {
  await mlserver[Symbol.asyncDispose]();
});

/** Clients of an InferenceService whose revisions are served by MLServer: each request goes to the version of a revision that has traffic. */
class Clients implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;

  constructor(controller: KserveKnativeController) {
    this.#loop = this.#run(controller);
  }

  async #run(controller: KserveKnativeController): Promise<void> {
    for (let sent = 0; !this.#stop.signal.aborted; sent += 1) {
      const version = controller.routed('fraud').at(-1)?.uri.split('/').at(-1);
      // Three of ten amounts are ones that version v2 cannot take.
      if (version !== undefined) await mlserver.infer(version, (sent % 10) * 100 + 50).catch(() => undefined);
      await sleep(30, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }
}

function kserveOnMlServer(): Platform {
  return {
    kind: 'kserve',
    model: () => ({
      plane: { name: 'fraud', namespace: 'shop', artifact: 's3://models/fraud/{{ $version }}' },
      preset: 'mlserver',
      // Every client names its version here, so the label does tell.
      version_label: 'version',
      smoke_test: {
        timeout: '5s',
        requests: [
          {
            name: 'one known transaction',
            http: {
              method: 'POST',
              url: `http://${mlserver.rest}/v2/models/fraud/versions/{{ $to }}/infer`,
              body: '{"inputs": [{"name": "transactions", "shape": [1, 2], "datatype": "FP64", "data": [900, 1]}]}',
            },
            expect: { status: 200, json: { '$.model_version': 'v1', '$.outputs[0].data.length()': 1 } },
          },
        ],
      },
    }),
    metrics: mlserver.metrics,
    line: () => 'nothing_total{}',
    start: async ({ client, defer }) => {
      await client.create({
        apiVersion: 'serving.kserve.io/v1beta1',
        kind: 'InferenceService',
        metadata: { name: 'fraud', namespace: 'shop' },
        spec: { predictor: { model: { modelFormat: { name: 'sklearn' }, protocolVersion: 'v2', storageUri: uriOf('v1') } } },
      });
      // A revision comes up where MLServer has its model.
      const controller = new KserveKnativeController(client, 'shop', (uri) => (loaded.has(uri.split('/').at(-1) ?? '') ? 'serves' : 'crashes')).follow();
      defer(controller);
      await until('v1 to be rolled out', () => controller.history.at(-1)?.[uriOf('v1')] === 100);
      await client.merge(path, { spec: { predictor: { model: { storageUri: uriOf('v2') } } } });
      await until('v2 to be rolled out', () => controller.history.at(-1)?.[uriOf('v2')] === 100);
      defer(new Clients(controller));
      return {
        route: async () => controller.routed('fraud').map(({ revision, uri, share }) => ({ name: revision, version: uri.split('/').at(-1) ?? '', share })),
      };
    },
  };
}

async function readIndex(): Promise<void> {
  loaded = new Set(await mlserver.ready());
}

describe('MLServer behind KServe', () => {
  it('says its versions, loads and unloads them, and counts requests by the version that the client asked for', async () => {
    await readIndex();
    expect([...loaded].toSorted()).toEqual(['v1', 'v2']);
    expect(await mlserver.infer('v1', 900)).toEqual({ status: 200, version: 'v1' });
    expect((await mlserver.infer('v2', 900)).status).toBeGreaterThanOrEqual(400);
    expect(await mlserver.infer(null, 100)).toEqual({ status: 200, version: 'v2' });

    expect(await mlserver.unload()).toBe(200);
    expect((await mlserver.infer('v1', 100)).status).toBe(404);
    expect(await mlserver.load()).toBe(200);
    expect(await mlserver.infer('v1', 100)).toEqual({ status: 200, version: 'v1' });

    // What the preset rests on: a count of all requests, one of those that failed, no quantiles, and no version where none was asked for.
    const page = await (await fetch(`http://${mlserver.metrics}/metrics`)).text();
    expect(page).toMatch(/^model_infer_request_duration_count\{model="fraud",version="v1"\} \d/m);
    expect(page).toMatch(/^model_infer_request_failure_total\{model="fraud",version="v2"\} [1-9]/m);
    expect(page).toMatch(/^model_infer_request_duration_count\{model="fraud",version="None"\} 1\.0$/m);
    expect(page).not.toMatch(/^model_infer_request_duration(_bucket)?\{[^}]*(le|quantile)=/m);
  });

  it('is rolled back from a version that fails three requests of ten, by its own metrics and one real inference as the smoke test', async () => {
    await readIndex();
    await using stage = await setPlatformStage(kserveOnMlServer(), 'v1', await fakeCluster(kserveCrds, 'shop'));
    const daemon = await stage.startDaemon();

    const episode = await untilFinished(daemon, 60_000);

    expect(episode, JSON.stringify(episode)).toMatchObject({ from: 'v2', to: 'v1', state: 'succeeded', outcome: 'success' });
    expect(episode.smoke_tests).toMatchObject([{ name: 'one known transaction', outcome: 'passed' }]);
    expect((await stage.route()).map(({ version }) => version)).toEqual(['v1']);
  });

  it('keeps what served when the real server cannot load the target', async () => {
    await mlserver.addVersion('v0');
    const status = await mlserver.load();
    await readIndex();
    expect(loaded.has('v0'), `load answered ${status}`).toBe(false);
    // The attempt must not have cost the others anything.
    expect([...loaded].toSorted()).toEqual(['v1', 'v2']);
    await using stage = await setPlatformStage(kserveOnMlServer(), 'v0', await fakeCluster(kserveCrds, 'shop'));
    const daemon = await stage.startDaemon();

    const episode = await untilFinished(daemon, 60_000);

    expect(episode).toMatchObject({
      from: 'v2',
      to: 'v0',
      state: 'failed',
      outcome: 'failure',
      detail: expect.stringContaining('Nothing moved: v2 still serves') as string,
    });
    expect((await stage.route()).map(({ version }) => version)).toEqual(['v2']);
  });
});
