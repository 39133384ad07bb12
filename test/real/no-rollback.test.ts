import { describe, expect, it } from 'vitest';
import { type Fault, faults } from '../support/faulty-proxy.ts';
import { createPrometheusSource } from '../support/prometheus-source.ts';
import { watchServing } from '../support/serving-watch.ts';
import { describeDaemon, modelName, served, setStageFromFiles, untilFinished, untilJudged } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** What each fault must look like: the verdict, words of its reason, and whether the source counts as up. */
const expected: Readonly<Record<Fault, { readonly verdict: 'error' | 'no_data'; readonly reason: RegExp; readonly up: 0 | 1 }>> = {
  '503': { verdict: 'error', reason: /answered 503/, up: 0 },
  hang: { verdict: 'error', reason: /timeout|no answer|within/i, up: 0 },
  cut: { verdict: 'error', reason: /no whole JSON \(cut short\?\)/, up: 0 },
  'hang up': { verdict: 'error', reason: /Prometheus: POST 127\.0\.0\.1:\d+: /, up: 0 },
  NaN: { verdict: 'no_data', reason: /no sample of this version/, up: 1 },
  empty: { verdict: 'no_data', reason: /no sample of this version/, up: 1 },
  warnings: { verdict: 'error', reason: /may be partial, warnings: fetching series/, up: 1 },
};

describe.concurrent('with a real Prometheus rollbackd does not roll back while every fifth request fails', () => {
  it.each(faults)('and Prometheus’s answer is spoilt: %s; once it is whole again it does', async (fault) => {
    const prometheus = createPrometheusSource();
    await using stage = await setStageFromFiles({ source: prometheus.source });
    const [only] = stage.servers;
    const watch = watchServing([only!.client], served);
    stage.defer(watch.stop);
    prometheus.proxy().setFault(fault);

    const daemon = await stage.startDaemon();
    await until('a verdict', async () => (await daemon.model()).verdict === expected[fault].verdict, { seen: async () => await describeDaemon(daemon) });
    await untilJudged(daemon, 6);

    const { verdicts, versions } = await daemon.model();
    expect(verdicts).toMatchObject([{ version: '2', verdict: expected[fault].verdict, value: null }]);
    expect(verdicts[0]?.reason).toMatch(expected[fault].reason);
    expect(prometheus.proxy().spoilt()).toBeGreaterThan(6);
    // Neither bad nor healthy.
    expect(versions.find(({ version }) => version === '2')).toMatchObject({
      known_good: false,
      known_good_reason: expect.stringContaining('healthy for 0s') as string,
    });
    expect(await daemon.decisions()).toEqual([]);
    expect(await daemon.rollbacks()).toEqual([]);
    expect(await daemon.api('alerts')).toEqual([]);
    const metrics = await daemon.metrics();
    expect(metrics.value('rollbackd_source_up', { source: 'metrics' })).toBe(expected[fault].up);
    expect(metrics.sum('rollbackd_decisions_total')).toBe(0);
    expect(metrics.sum('rollbackd_rollbacks_total')).toBe(0);
    expect(metrics.value('rollbackd_rule_state', { state: expected[fault].verdict })).toBe(1);
    expect(metrics.sum('rollbackd_rule_evaluation_failures_total') > 0).toBe(expected[fault].verdict === 'error');
    expect(metrics.sum('rollbackd_source_warnings_total') > 0).toBe(fault === 'warnings');
    expect(await only!.orders()).toEqual([]);
    expect(watch.history()).toEqual([['2']]);
    expect(stage.slack.deliveries).toEqual([]);

    prometheus.proxy().setFault(null);
    expect(await untilFinished(daemon, 60_000)).toMatchObject({ model: modelName, from: '2', to: '1', outcome: 'success' });
    expect(await only!.orders()).toEqual(['1+2', '1']);
    expect(watch.history()).toEqual([['2', '1']]);
    expect((await daemon.metrics()).value('rollbackd_source_up', { source: 'metrics' })).toBe(1);
  });

  it('and Prometheus goes away in the middle of a rollback: the switch stands, whether it helped is not known', async () => {
    const prometheus = createPrometheusSource();
    await using stage = await setStageFromFiles({
      source: prometheus.source,
      versions: { 1: { load_ms: 2_000 }, 2: { fail_ratio: 0.2 } },
      rollback: { recovery: { within: '5s' } },
    });
    const daemon = await stage.startDaemon();
    await until('the rollback to begin', async () => (await daemon.rollbacks())[0]?.state === 'staging', { seen: async () => await describeDaemon(daemon) });
    prometheus.proxy().setFault('503');

    const episode = await untilFinished(daemon, 60_000);

    expect(episode).toMatchObject({ state: 'failed', outcome: 'unknown', to: '1' });
    expect(episode.detail).toMatch(/1 serves, but whether it helped is not known after 5s: .*answered 503.*Nothing further is switched/);
    expect(await stage.servers[0]!.orders()).toEqual(['1+2', '1']);
    expect(await stage.servers[0]!.client.metadataVersion(served)).toBe('1');
    await until('Slack to be told', () => stage.slack.deliveries.length > 0);
    expect(stage.slack.deliveries[0]?.text).toMatch(/outcome unknown/);
  });
});
