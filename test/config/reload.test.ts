import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSmokeRunner } from '../../src/adapters/smoke/index.ts';
import { Reloader } from '../../src/app/reloader.ts';
import { registries } from '../../src/cli/registries.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { readMetricsPage } from '../support/metrics-page.ts';
import { recordingLog } from '../support/recording-log.ts';
import { until } from '../support/until.ts';

const settings = `
rule_files: [rules-*.yaml]
sources: [{name: prom, prometheus: {url: 'http://prometheus:9090'}}]
control_planes: [{name: tfs, tensorflow_serving: {endpoints: ['tfs:8500'], model_config_list: [{name: fraud, base_path: /models/fraud, model_platform: tensorflow}]}}]
models:
- name: fraud
  source: prom
  control_plane: tfs
  plane: {model: fraud}
  version_label: version
  signals: {requests: {counter: requests_total}, errors: {matchers: ['code=~"5.."']}}
  smoke_test:
    requests:
    - {name: one, http: {method: POST, url: 'http://tfs:8501/v1/models/fraud:predict', body_file: body.json}, expect: {status: 200}}
`;
const rules = (above: string): string => `
groups:
- name: fraud
  model: fraud
  rules: [{alert: ErrorsHigh, condition: {error_ratio: {window: 1m, above: ${above}}}}]
`;

/** A folder as the kubelet mounts a ConfigMap: files are links through \`..data\`, which one rename swaps for all of them. */
class ConfigMapMount {
  readonly folder: string;
  #generation = 0;
  #files: Readonly<Record<string, string>> = {};

  constructor(folder: string) {
    this.folder = folder;
  }

  async change(changes: Readonly<Record<string, string>>): Promise<void> {
    const before = this.#generation === 0 ? null : this.#name();
    this.#files = { ...this.#files, ...changes };
    this.#generation += 1;
    await mkdir(join(this.folder, this.#name()));
    for (const [name, text] of Object.entries(this.#files)) await writeFile(join(this.folder, this.#name(), name), text);
    await symlink(this.#name(), join(this.folder, '..data_tmp'));
    await rename(join(this.folder, '..data_tmp'), join(this.folder, '..data'));
    for (const name of Object.keys(this.#files)) await symlink(join('..data', name), join(this.folder, name)).catch(() => undefined);
    if (before !== null) await rm(join(this.folder, before), { recursive: true });
  }

  #name(): string {
    return `..2026_11_26_08_00_0${this.#generation}.123456789`;
  }
}

let mount: ConfigMapMount;
let clock: FakeClock;
let applied: Config[];
let log: ReturnType<typeof recordingLog>;
let metrics: Metrics;
/** Thrown by the next applying. */
let failure: string | null;
/** How often all files were read. */
let readings: number;
let polling: { readonly stop: AbortController; readonly done: Promise<void> } | null;

beforeEach(async () => {
  mount = new ConfigMapMount(await mkdtemp(join(tmpdir(), 'rollbackd-reload-')));
  await mount.change({ 'rollbackd.yaml': settings, 'rules-a.yaml': rules('5%'), 'body.json': '{"instances": [1]}' });
  clock = new FakeClock();
  [applied, log, metrics, failure, readings, polling] = [[], recordingLog(), new Metrics({ version: 'test' }, { processMetrics: false }), null, 0, null];
});

afterEach(async () => {
  polling?.stop.abort();
  await polling?.done;
  await rm(mount.folder, { recursive: true });
});

async function start(load?: () => ReturnType<typeof loadConfig>): Promise<Reloader> {
  const file = join(mount.folder, 'rollbackd.yaml');
  const read = async (): ReturnType<typeof loadConfig> => {
    readings += 1;
    return await loadConfig(file, registries);
  };
  const { config, diagnostics } = await read();
  if (config === null) throw new Error(JSON.stringify(diagnostics));
  const apply = async (next: Config): Promise<void> => {
    if (failure !== null) throw new Error(failure);
    applied.push(next);
  };
  return new Reloader(config, { load: load ?? read, apply, clock, log, metrics });
}

async function startPolling(): Promise<Reloader> {
  const reloader = await start();
  const stop = new AbortController();
  polling = { stop, done: reloader.poll(30_000, stop.signal) };
  return reloader;
}

/** Time passes until it is so; files are read meanwhile in real time. */
async function passUntil(what: string, look: () => boolean | Promise<boolean>): Promise<void> {
  await until(
    what,
    async () => {
      await clock.advance(1_000);
      return await look();
    },
    { everyMs: 5 },
  );
}

const limits = (): unknown[] =>
  applied.map(({ groups }) => groups.flatMap((group) => group.rules.map(({ condition }) => 'limit' in condition && condition.limit)));
const worked = async (): Promise<number | undefined> => readMetricsPage((await metrics.render()).body).value('rollbackd_config_last_reload_successful');
const refusals = (): number => log.text().split('settings refused').length - 1;

describe('files that are mounted from a ConfigMap', () => {
  it('are taken again after each swap, the rules as well as the settings', async () => {
    const reloader = await startPolling();

    await mount.change({ 'rules-a.yaml': rules('7%') });
    await passUntil('the first swap', () => applied.length === 1);
    await mount.change({ 'rules-a.yaml': rules('9%') });
    await passUntil('the second swap', () => applied.length === 2);
    await mount.change({ 'rollbackd.yaml': settings.replace("'http://prometheus:9090'", "'http://thanos:9090'") });
    await passUntil('the third swap', () => applied.length === 3);

    expect(limits().map((found) => JSON.stringify(found))).toEqual([
      expect.stringContaining('0.07'),
      expect.stringContaining('0.09'),
      expect.stringContaining('0.09'),
    ]);
    expect(reloader.config.sources[0]?.settings).toMatchObject({ url: 'http://thanos:9090' });
    expect(await worked()).toBe(1);
  });

  it('may bring a further rule file', async () => {
    await startPolling();

    await mount.change({ 'rules-b.yaml': rules('9%').replace('ErrorsHigh', 'ErrorsVeryHigh').replace('name: fraud', 'name: more') });
    await passUntil('the swap', () => applied.length === 1);

    expect(applied[0]?.groups.map(({ name }) => name)).toEqual(['fraud', 'more']);
  });

  it('may hold bodies of smoke tests, which are read at use and need no reload', async () => {
    const smokeTest = (await start()).config.models[0]?.smokeTest;
    if (smokeTest == null) throw new Error('no smoke test');
    const runner = createSmokeRunner({ clock, log, baseEnv: {} });
    await mount.change({ 'body.json': '{"instances": [2]}' });
    nock('http://tfs:8501')
      .post('/v1/models/fraud:predict', { instances: [2] })
      .reply(200, {});

    const results = await runner.run(smokeTest, { model: 'fraud', from: '2', to: '1', labels: {} }, new AbortController().signal);

    expect(results).toMatchObject([{ outcome: 'passed' }]);
  });
});

describe('a reload that is refused', () => {
  it('says its faults once, and once the files are put back all is well again', async () => {
    await startPolling();

    await mount.change({ 'rules-a.yaml': rules('five') });
    await passUntil('the refusal', () => refusals() === 1);
    const soFar = readings;
    await passUntil('three more looks', () => readings >= soFar + 3);
    expect(await worked()).toBe(0);
    expect([refusals(), applied.length]).toEqual([1, 0]);

    await mount.change({ 'rules-a.yaml': rules('5%') });
    await passUntil('the good end', async () => (await worked()) === 1);
  });

  it('is tried again: what was missing may have been mounted since', async () => {
    await startPolling();
    failure = 'no such file: /etc/tls/ca.crt';

    await mount.change({ 'rules-a.yaml': rules('7%') });
    await passUntil('the refusal', () => refusals() === 1);
    expect(await worked()).toBe(0);
    failure = null;
    await passUntil('the reload', () => applied.length === 1);

    expect(await worked()).toBe(1);
    expect(log.text()).toContain('/etc/tls/ca.crt');
  });

  it('does not change what is in force, also where it fails while it is applied', async () => {
    const reloader = await start();
    const before = reloader.config;
    await mount.change({ 'rules-a.yaml': rules('7%') });
    failure = 'no kind of control plane "x"';

    expect(await reloader.reload()).toEqual({ faults: ['no kind of control plane "x"'] });
    expect(reloader.config).toBe(before);
    expect(await reloader.reload()).toEqual({ faults: ['no kind of control plane "x"'] });
    expect(refusals()).toBe(2);
  });
});

it('never takes half of a swap: files that change while they are read are read again', async () => {
  const file = join(mount.folder, 'rollbackd.yaml');
  let loads = 0;
  const reloader = await start(async () => {
    const loaded = await loadConfig(file, registries);
    loads += 1;
    if (loads === 1) await mount.change({ 'rules-a.yaml': rules('7%') });
    return loaded;
  });

  expect(await reloader.reload()).toEqual({ faults: [] });

  expect(loads).toBe(2);
  expect(limits().map((found) => JSON.stringify(found))).toEqual([expect.stringContaining('0.07')]);
});
