import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { DaemonProcess } from '../support/daemon-process.ts';
import { watchServing } from '../support/serving-watch.ts';
import {
  describeDaemon,
  errorRatioRule,
  gatewaySignals,
  modelName,
  type Stage,
  served,
  setStageFromFiles,
  untilFinished,
  untilJudged,
} from '../support/stage-files.ts';
import { generateLoad } from '../support/tensorflow-serving/load.ts';
import { until } from '../support/until.ts';

/** What serves was never anything but version 2, and nobody was asked to change it. */
async function expectUntouched(stage: Stage): Promise<void> {
  for (const { client, orders } of stage.servers) {
    expect(await client.metadataVersion(served)).toBe('2');
    expect(await client.predictVersion(served).catch(() => 'failed')).toMatch(/^(?:2|failed)$/);
    expect(await orders()).toEqual([]);
  }
}

/** Nothing was opened, nothing counted, nothing told. */
async function expectQuiet(stage: Stage, daemon: DaemonProcess): Promise<void> {
  const metrics = await daemon.metrics();

  expect(await daemon.rollbacks()).toEqual([]);
  expect(metrics.sum('rollbackd_rollbacks_total')).toBe(0);
  expect(metrics.sum('rollbackd_control_plane_requests_total', { method: 'HandleReloadConfigRequest' })).toBe(0);
  expect(metrics.value('rollbackd_rollback_in_progress', { model: modelName })).toBe(0);
  expect(metrics.value('rollbackd_model_pinned', { model: modelName })).toBe(0);
  expect(stage.slack.deliveries).toEqual([]);
}

async function untilDecided(daemon: DaemonProcess, reason: string): Promise<void> {
  await until(`a decision because of ${reason}`, async () => (await daemon.decisions()).some((decision) => decision.reason === reason), {
    seen: async () => await describeDaemon(daemon),
  });
}

/** Sends to one version by its number, whether or not it answers in time, until the stage ends. */
function sendToVersion(stage: Stage, version: string, everyMs: number): void {
  const url = `${stage.servers[0]!.server.rest}/v1/models/${served}/versions/${version}:predict`;
  const underWay = new Set<Promise<unknown>>();
  const timer = setInterval(() => {
    const one = fetch(url, { method: 'POST', body: '{"instances": [[1]]}', signal: AbortSignal.timeout(5_000) })
      .then(async (answer) => await answer.arrayBuffer())
      .catch(() => undefined)
      .finally(() => underWay.delete(one));
    underWay.add(one);
  }, everyMs);
  stage.defer(async () => {
    clearInterval(timer);
    await Promise.all(underWay);
  });
}

describe.concurrent('rollbackd does not roll back', { timeout: 100_000 }, () => {
  it('while both versions receive traffic and fail alike; once the other is well again it does', async () => {
    const rule = { ...errorRatioRule, condition: { error_ratio: { window: '4s', above: '5%', min_requests: 20 } } };
    await using stage = await setStageFromFiles({
      versions: { 1: {}, 2: {} },
      entry: { versions: [1, 2] },
      flags: { extra_versioned_metrics: true },
      load: 25,
      source: ({ rest }) => ({ scrape: { scrape_interval: '500ms', metrics_path: '/metrics', static_configs: [{ targets: rest }] } }),
      model: gatewaySignals,
      rules: [rule],
    });
    sendToVersion(stage, '1', 20);
    const daemon = await stage.startDaemon();
    await until('both to be well', async () => (await daemon.model()).verdicts.filter(({ verdict }) => verdict === 'ok').length === 2, {
      seen: async () => await describeDaemon(daemon),
    });
    // The would-be target first, so that it is seen to fail by the time the other is judged.
    await stage.repository.setBehaviour(served, 1, { fail_ratio: 0.3 });
    await until('version 1 to be seen failing', async () =>
      (await daemon.model()).verdicts.some(({ version, verdict }) => version === '1' && verdict === 'breach'),
    );
    await stage.repository.setBehaviour(served, 2, { fail_ratio: 0.3 });
    await untilDecided(daemon, 'breach_everywhere');
    await untilJudged(daemon, 3);

    const held = (await daemon.decisions()).filter((decision) => decision.version === '2');
    expect(held[0]).toMatchObject({ decision: 'hold', reason: 'breach_everywhere', rule: 'ModelErrorRatioHigh', episode: null });
    expect(held[0]?.detail).toMatch(/every version with traffic breaches alike.*1: error ratio/);
    expect((await daemon.metrics()).value('rollbackd_decisions_total', { decision: 'hold', reason: 'breach_everywhere' })).toBeGreaterThan(0);
    await expectQuiet(stage, daemon);
    await expectUntouched(stage);

    await stage.repository.setBehaviour(served, 1, {});
    expect(await untilFinished(daemon)).toMatchObject({ from: '2', to: '1', outcome: 'success' });
    expect(await stage.servers[0]!.orders()).toEqual(['1']);
  });

  it('while traffic is below min_requests, though every request fails; with more traffic it does', async () => {
    const rule = { ...errorRatioRule, condition: { error_ratio: { window: '10s', above: '5%', min_requests: 200 } } };
    await using stage = await setStageFromFiles({ versions: { 1: {}, 2: { fail_ratio: 1 } }, load: 10, rules: [rule] });
    const daemon = await stage.startDaemon();
    await until('numbers', async () => (await daemon.model()).verdicts.some((verdict) => (verdict.requests ?? 0) >= 20));
    await untilJudged(daemon, 3);

    const { verdicts, versions } = await daemon.model();
    expect(verdicts).toMatchObject([{ version: '2', verdict: 'no_data', value: null }]);
    expect(verdicts[0]?.reason).toMatch(/^\d+ of 200 requests needed in \d+s$/);
    // Too little to condemn is too little to praise.
    expect(versions.find(({ version }) => version === '2')).toMatchObject({
      known_good: false,
      known_good_reason: expect.stringContaining('healthy for 0s on 0 requests') as string,
    });
    expect(await daemon.decisions()).toEqual([]);
    await expectQuiet(stage, daemon);
    await expectUntouched(stage);

    const stop = new AbortController();
    const rush = generateLoad({ endpoints: [stage.servers[0]!.server.rest], model: served, ratePerSecond: 120, signal: stop.signal });
    stage.defer(async () => {
      stop.abort();
      await rush.done;
    });
    expect(await untilFinished(daemon)).toMatchObject({ from: '2', to: '1', outcome: 'success' });
  });

  it('when the staged target fails its smoke test: nothing moves, the staging is taken back', async () => {
    await using stage = await setStageFromFiles({
      versions: { 1: { fail_ratio: 1, fail_message: 'weights are all zero' }, 2: { fail_ratio: 0.2 } },
      servers: 2,
    });
    const list = await readFile(stage.modelsConfig, 'utf8');
    const watch = watchServing(
      stage.servers.map(({ client }) => client),
      served,
    );
    stage.defer(watch.stop);
    const daemon = await stage.startDaemon();

    const episode = await untilFinished(daemon);

    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure', from: '2', to: '1', switched_at: null, pinned: false });
    expect(episode.detail).toMatch(/^the smoke test failed on the staged version 1: one known transaction: .*500.*weights are all zero/);
    expect(episode.detail).toMatch(/Nothing moved: 2 still serves\. Look why 1 does not come up, or roll back to another version by hand$/);
    expect(episode.smoke_tests).toMatchObject([{ name: 'one known transaction', outcome: 'failed' }]);
    expect(episode.steps.map(({ name, state }) => `${state} ${name.replace(/127\S+/, 'a server').replace(stage.folder, '')}`)).toEqual([
      'inverted stage 1 on a server',
      'inverted stage 1 on a server',
      'pending unload 2 on a server',
      'pending unload 2 on a server',
      'pending write specific 1 to /models/models.config',
    ]);
    for (const { client, orders } of stage.servers) {
      await until('the staging to be gone', async () => (await client.states(served)) === '1 END, 2 AVAILABLE');
      expect(await orders()).toEqual(['1+2', 'latest']);
    }
    expect(watch.history()).toEqual([['2'], ['2']]);
    expect(await readFile(stage.modelsConfig, 'utf8')).toBe(list);
    await until('Slack to be told', () => stage.slack.deliveries.length > 0);
    expect(stage.slack.deliveries[0]?.text).toMatch(/Rollback failed: fraud-detector 2 → 1/);
    expect(stage.slack.deliveries[0]?.text).toMatch(/What to do.*rollbackd get versions fraud-detector/);
    const metrics = await daemon.metrics();
    expect(metrics.value('rollbackd_rollbacks_total', { trigger: 'rule', outcome: 'failure' })).toBe(1);
    expect(metrics.value('rollbackd_smoke_tests_total', { outcome: 'failed' })).toBe(1);
    expect((await daemon.model()).versions.find(({ version }) => version === '2')).toMatchObject({ share: 1, quarantined_until: null });
    // The next breach waits out the cooldown.
    await untilDecided(daemon, 'cooldown');
    expect(await daemon.rollbacks()).toHaveLength(1);
  });

  it("when the target's folder is missing: nothing is sent", async () => {
    await using stage = await setStageFromFiles({ versions: { 2: { fail_ratio: 0.2 } } });
    const daemon = await stage.startDaemon();

    const episode = await untilFinished(daemon);

    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure', to: '1', switched_at: null, steps: [] });
    expect(episode.detail).toMatch(/version 1 has no folder under base_path \(found 2\).*Nothing moved: 2 still serves/);
    await expectUntouched(stage);
    expect((await daemon.metrics()).value('rollbackd_rollbacks_total', { trigger: 'rule', outcome: 'failure' })).toBe(1);
  });

  it('when the target will not load: the staging is taken back', async () => {
    await using stage = await setStageFromFiles({ versions: { 1: { load_error: 'saved_model.pb is cut' }, 2: { fail_ratio: 0.2 } } });
    const [{ client, orders }] = stage.servers as [Stage['servers'][number]];
    const watch = watchServing([client], served);
    stage.defer(watch.stop);
    const daemon = await stage.startDaemon();

    const episode = await untilFinished(daemon);

    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure', switched_at: null, smoke_tests: [] });
    expect(episode.detail).toMatch(/version 1 on \S+ failed to load: .*saved_model\.pb is cut.*Nothing moved: 2 still serves/);
    expect(await orders()).toEqual(['1+2', 'latest']);
    expect(watch.history()).toEqual([['2']]);
  });

  it('any further when someone else switches meanwhile: theirs is left alone', async () => {
    await using stage = await setStageFromFiles({
      versions: { 1: { load_ms: 2_500 }, 2: { fail_ratio: 0.2 }, 3: {} },
      entry: { versions: [2] },
      flags: { num_load_threads: 2, num_unload_threads: 2 },
      rollback: { converge_timeout: '6s' },
    });
    const [{ client, orders }] = stage.servers as [Stage['servers'][number]];
    const watch = watchServing([client], served);
    stage.defer(watch.stop);
    const daemon = await stage.startDaemon();
    await until('version 1 to be staged', async () => (await client.states(served)).includes('1 LOADING'), { seen: async () => await describeDaemon(daemon) });

    const theirs = stage.repository.configText([{ name: served, versions: [3] }]);
    await client.reload(theirs);
    const episode = await untilFinished(daemon);
    expect(episode).toMatchObject({ state: 'aborted', outcome: 'failure', from: '2', to: '1', switched_at: null, pinned: false });
    await untilJudged(daemon, 3);
    expect(await client.metadataVersion(served)).toBe('3');
    expect(await orders()).toEqual(['1+2', '3']);
    expect(watch.history()).toEqual([['2', '3']]);
    expect(episode.detail).toMatch(/stopped \(version_changed\): .*serves 3.*leaves theirs alone/);
    expect(episode.detail).not.toContain('2 still serves');
  });

  it.each([
    ['when the mode is dry_run', { mode: 'dry_run' }, []],
    ['when it is started with --dry-run, whatever the files say', { mode: 'enforce' }, ['--dry-run']],
  ])('%s: what would have been done is recorded and told, once', async (_name, rollback, args) => {
    await using stage = await setStageFromFiles({ rollback });
    const daemon = await stage.startDaemon(args);
    const recorded = await until('a dry run', async () => (await daemon.rollbacks())[0], { seen: async () => await describeDaemon(daemon) });
    await untilJudged(daemon, 4);

    expect(recorded).toMatchObject({ mode: 'dry_run', state: 'recorded', outcome: null, from: '2', to: '1', started_at: null, switched_at: null, steps: [] });
    expect(await daemon.rollbacks()).toHaveLength(1);
    expect((await daemon.decisions()).map(({ decision, reason }) => `${decision} ${reason}`)).toEqual(['dry_run dry_run']);
    await expectUntouched(stage);
    await until('Slack to be told', () => stage.slack.deliveries.length > 0);
    expect(stage.slack.deliveries).toHaveLength(1);
    expect(stage.slack.deliveries[0]?.text).toMatch(/would have rolled back: fraud-detector 2 -> 1/);
    expect((await daemon.metrics()).sum('rollbackd_rollbacks_total')).toBe(0);
    expect((await daemon.model()).rollback_in_progress).toBeNull();
  });
});
