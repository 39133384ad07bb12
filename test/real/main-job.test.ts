import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type EpisodeView, viewEpisode } from '../../src/domain/episode-view.ts';
import type { DaemonProcess } from '../support/daemon-process.ts';
import { createPrometheusSource } from '../support/prometheus-source.ts';
import { prometheusBinary } from '../support/real-prometheus.ts';
import { type ServingWatch, watchServing } from '../support/serving-watch.ts';
import { describeDaemon, gatewaySignals, modelName, type Stage, type StageOptions, served, setStageFromFiles, untilFinished } from '../support/stage-files.ts';
import type { Behaviour } from '../support/tensorflow-serving/core/behaviour.ts';
import { ModelServerConfigSchema } from '../support/tensorflow-serving/gen/tensorflow_serving/config/model_server_config_pb.ts';
import { parseTextProto } from '../support/tensorflow-serving/text-proto/text-proto.ts';
import { until } from '../support/until.ts';

const labels = { severity: 'page' };
const annotations = { summary: '{{ $labels.model }} v{{ $labels.version }} is bad' };
const failing = ':tensorflow:serving:request_count{model_name="fraud", status="INTERNAL"}';
const all = ':tensorflow:serving:request_count{model_name="fraud"}';

type Row = {
  readonly name: string;
  readonly rule: Readonly<Record<string, unknown>> & { readonly alert: string };
  readonly fault: Behaviour;
  readonly stage: Partial<StageOptions>;
  readonly metricsPath?: string;
  /** What the message says of the evidence. */
  readonly evidence: RegExp;
  readonly signal: string;
  /** That the evidence must rest on. Default: the hundred of min_requests. */
  readonly leastRequests?: number;
};

const errorRatio: Row = {
  name: 'an error ratio above 5%, by TensorFlow Serving’s own metrics; version 1 has earned its good name',
  rule: {
    alert: 'ModelErrorRatioHigh',
    condition: { error_ratio: { window: '10s', above: '5%', min_requests: 100 } },
    for: '2s',
    labels,
    annotations,
    rollback: {},
  },
  fault: { fail_ratio: 0.1, latency_ms: 3 },
  stage: { versions: { 1: { latency_ms: 3 } }, rollback: { known_good: { min_age: '3s', min_requests: 100, backfill: '0s' } } },
  evidence: /\*ModelErrorRatioHigh\*: \*\d+(?:\.\d+)?%\* of \d+ requests failed in 10s \(limit 5%\)/,
  signal: 'error_ratio',
};

const rows: readonly Row[] = [
  errorRatio,
  {
    name: 'a p99 latency above 250ms',
    rule: {
      alert: 'ModelLatencyP99High',
      condition: { latency: { quantile: 0.99, window: '10s', above: '250ms', min_requests: 100 } },
      for: '1s',
      labels,
      annotations,
      rollback: {},
    },
    fault: { latency_ms: 3, latency_ms_p99: 700 },
    stage: {},
    evidence: /\*ModelLatencyP99High\*: latency \*\d+(?:\.\d+)?m?s\* over \d+ requests in 10s \(limit 250ms\)/,
    signal: 'latency',
  },
  {
    name: 'an error ratio of the version that a label of the gateway’s metrics names',
    rule: { ...errorRatio.rule, alert: 'GatewayErrorRatioHigh' },
    fault: { fail_ratio: 0.1, latency_ms: 3 },
    stage: { flags: { extra_versioned_metrics: true }, model: gatewaySignals },
    metricsPath: '/metrics',
    evidence: /\*GatewayErrorRatioHigh\*: \*\d+(?:\.\d+)?%\* of \d+ requests failed in 10s \(limit 5%\)/,
    signal: 'error_ratio',
  },
  {
    name: 'an error ratio above 5%, decided from raw counts (detect: sequential)',
    rule: { alert: 'ModelErrorsFast', condition: { error_ratio: { detect: 'sequential', above: '5%' } }, labels, annotations, rollback: {} },
    fault: { fail_ratio: 0.5, latency_ms: 3 },
    stage: {},
    evidence: /\*ModelErrorsFast\*: \*\d+(?:\.\d+)?%\* of \d+ requests failed in \w+ \(limit 5%\)/,
    signal: 'error_ratio',
    leastRequests: 5,
  },
  {
    name: 'a p90 latency above 394ms, decided from the slow requests themselves (detect: sequential)',
    rule: { alert: 'ModelSlowFast', condition: { latency: { detect: 'sequential', quantile: 0.9, above: '394ms' } }, labels, annotations, rollback: {} },
    fault: { latency_ms: 500 },
    stage: {},
    evidence: /\*ModelSlowFast\*: \*\d+(?:\.\d+)?%\* of \d+ requests are slow in \w+ \(limit 10%\)/,
    signal: 'slow_ratio',
    leastRequests: 5,
  },
  {
    name: 'a PromQL expression on enough requests',
    rule: {
      alert: 'ModelInternalErrors',
      expr: `sum by (model_name) (rate(${failing}[10s])) / sum by (model_name) (rate(${all}[10s])) > 0.05`,
      min_requests: 100,
      for: '1s',
      labels,
      annotations,
      rollback: {},
    },
    fault: { fail_ratio: 0.1, latency_ms: 3 },
    stage: {},
    evidence: /\*ModelInternalErrors\*: value \*0\.\d+\* on \d+ requests/,
    signal: 'expr',
  },
];

/** Version 2 serves and works; then it goes bad. */
async function deployAndSpoil(stage: Stage, daemon: DaemonProcess, fault: Behaviour): Promise<void> {
  const version = async (id: string) => (await daemon.model()).versions.find((found) => found.version === id);
  await until('version 1 to be known good', async () => (await version('1'))?.known_good === true || (await version('2'))?.share === 1, {
    seen: async () => await describeDaemon(daemon),
  });
  await stage.repository.setBehaviour(served, 2, { latency_ms: 3 });
  await until(
    'version 2 to serve, and to serve well',
    async () => (await version('2'))?.share === 1 && (await daemon.model()).verdicts.some(({ version: id, verdict }) => id === '2' && verdict === 'ok'),
    {
      seen: async () => await describeDaemon(daemon),
    },
  );
  expect(await daemon.rollbacks()).toEqual([]);
  await stage.repository.setBehaviour(served, 2, fault);
}

async function expectClientsGetVersion1(stage: Stage, watch: ServingWatch): Promise<void> {
  for (const { client, orders } of stage.servers) {
    expect(await client.metadataVersion(served)).toBe('1');
    expect(await client.predictVersion(served)).toBe('1');
    expect(await client.restVersion(served)).toBe('1');
    expect(await client.metadataVersion('churn')).toBe('1');
    expect(await orders()).toEqual(['1+2', '1']);
  }
  // It never went back and forth, and no client was left without an answer (but where Node's keep-alive lost its race, which is the client's to repeat).
  for (const history of watch.history()) expect(history.slice(history.indexOf('2'))).toEqual(['2', '1']);
  const { ECONNRESET: lostRaces = 0, ...failures } = stage.load?.report.failures ?? {};
  expect(failures).toEqual({});
  expect(lostRaces).toBeLessThan(5);
  expect(Object.keys(stage.load?.report.byVersion ?? {}).toSorted()).toEqual(['1', '2']);
  expect(Object.keys(stage.load?.report.byVersion['1'] ?? {})).toEqual(['200']);
}

function expectSlackWasToldOnce(stage: Stage, row: Row, episode: EpisodeView): void {
  expect(stage.slack.deliveries.length).toBeLessThanOrEqual(3);
  const finished = stage.slack.deliveries.filter(({ text }) => text.includes('rollback success'));
  expect(finished).toHaveLength(1);
  const text = finished[0]?.text ?? '';
  expect(text).toContain('Rolled back fraud-detector 2 → 1');
  expect(text).toMatch(row.evidence);
  expect(text).toContain(episode.reason);
  expect(text).toMatch(/\*Smoke test\*\npassed, 2\/2, \d+ ms\n/);
  expect(text).toMatch(/\*Took\*\n(?:\d+ m )?\d+(?:\.\d)? s \(2 replicas\)\n/);
  expect(text).toMatch(/\*Version 2\*\nquarantined until /);
  expect(text).toContain('rollbackd unpin fraud-detector');
  expect(text).toContain(episode.id);
}

/** The journal, the API, the log and the metrics tell the same. */
async function expectAllAgree(stage: Stage, daemon: DaemonProcess, row: Row, episode: EpisodeView): Promise<void> {
  const metrics = await daemon.metrics();
  const { versions, pinned } = await daemon.model();
  const decisions = await daemon.decisions();
  expect(await daemon.stop()).toEqual({ code: 0, signal: null });

  const labelsOfIt = { model: modelName, trigger: 'rule', outcome: 'success' };
  expect(metrics.text).toContain(`rollbackd_rollbacks_total{model="${modelName}",trigger="rule",outcome="success"} 1\n`);
  expect(metrics.sum('rollbackd_rollbacks_total')).toBe(metrics.value('rollbackd_rollbacks_total', labelsOfIt));
  const tookMs = Date.parse(episode.finished_at ?? '') - Date.parse(episode.started_at ?? '');
  expect(metrics.value('rollbackd_rollback_duration_seconds_sum', { outcome: 'success' })).toBeCloseTo(tookMs / 1000, 2);
  expect(metrics.value('rollbackd_decisions_total', { decision: 'rollback', reason: 'go' })).toBe(1);
  expect(metrics.value('rollbackd_rollback_in_progress', { model: modelName })).toBe(0);
  expect(metrics.value('rollbackd_smoke_tests_total', { outcome: 'passed' })).toBe(episode.smoke_tests.length);
  expect(metrics.value('rollbackd_smoke_tests_total', { outcome: 'failed' })).toBe(0);
  expect(metrics.value('rollbackd_model_version_info', { version: '2', role: 'quarantined' })).toBe(1);
  expect(metrics.value('rollbackd_model_version_info', { version: '1', role: 'active' })).toBe(1);
  expect(metrics.value('rollbackd_model_pinned', { model: modelName })).toBe(pinned ? 1 : 0);
  expect(pinned && episode.pinned).toBe(true);
  expect(metrics.value('rollbackd_notifications_total', { integration: 'slack' })).toBe(stage.slack.deliveries.length);
  expect(metrics.value('rollbackd_source_up', { source: 'metrics' })).toBe(1);

  expect(decisions.filter(({ decision }) => decision === 'rollback')).toMatchObject([{ episode: episode.id, reason: 'go', target: '1', version: '2' }]);
  await stage.readJournal(async (journal) => {
    expect(await journal.verify()).toMatchObject({ ok: true });
    const episodes = await journal.episodes({});
    expect(episodes.map(viewEpisode)).toEqual([episode]);
    expect(await journal.quarantine()).toMatchObject([{ model: modelName, version: '2' }]);
    expect(versions.find(({ version }) => version === '2')?.quarantined_until).toBe(new Date((await journal.quarantine())[0]?.untilMs ?? 0).toISOString());
    const events = (await journal.events(0, 10_000)).map(({ event }) => event);
    for (const { name } of episode.steps) {
      const intent = events.findIndex((event) => event.type === 'step_intent' && event.step === name);
      const outcome = events.findIndex((event) => event.type === 'step_outcome' && event.step === name);
      expect(intent, name).toBeGreaterThan(-1);
      expect(outcome, name).toBeGreaterThan(intent);
    }
  });

  const found = daemon.logLines().filter((line) => /\brollback\b/i.test(line) && /\bsuccess\b/i.test(line));
  expect(found).toHaveLength(1);
  expect(JSON.parse(found[0] ?? '')).toMatchObject({
    'event.action': 'rollback',
    'event.outcome': 'success',
    'event.id': episode.id,
    'event.reason': episode.reason,
    'event.start': episode.started_at,
    'event.end': episode.finished_at,
    'event.duration': tookMs * 1e6,
    'labels.model': modelName,
    'labels.from_version': '2',
    'labels.to_version': '1',
    'rule.name': row.rule.alert,
    'rollbackd.value': episode.evidence.value,
    message: expect.stringMatching(/^rollback success: fraud-detector 2 -> 1 in \d/) as string,
  });
  expect(daemon.logRecords().filter((record) => record['log.level'] === 'error')).toEqual([]);
  await expectPromtoolIsContent(['check', 'metrics'], metrics.text);
}

/** Prometheus's own checker, with a text as its input. */
async function expectPromtoolIsContent(args: readonly string[], input = ''): Promise<void> {
  const program = join(prometheusBinary(), '..', 'promtool');
  const said = await new Promise<string>((resolve) => {
    const child = execFile(program, [...args], (error, stdout, stderr) => resolve(`${error === null ? 0 : error.code}\n${stdout}${stderr}`));
    child.stdin?.end(input);
  });
  // 3: style only (it would have all counters of prom-client renamed).
  expect(said, `promtool ${args.join(' ')}`).toMatch(/^(?:0|3)\n/);
  expect(said).not.toMatch(/error|FAILED/);
}

/** models.config says 1, and nothing else in it has changed; so says a server that is started on it. */
async function expectItLasts(stage: Stage, before: string): Promise<void> {
  const text = await readFile(stage.modelsConfig, 'utf8');
  const read = (config: string) => {
    const parsed = parseTextProto(ModelServerConfigSchema, config).config;
    return parsed.case === 'modelConfigList' ? parsed.value.config : [];
  };
  expect(read(text).map(({ name, basePath, modelPlatform }) => ({ name, basePath, modelPlatform }))).toEqual(
    read(before).map(({ name, basePath, modelPlatform }) => ({ name, basePath, modelPlatform })),
  );
  const policies = Object.fromEntries(read(text).map(({ name, modelVersionPolicy }) => [name, modelVersionPolicy?.policyChoice.value]));
  expect(policies).toMatchObject({ [served]: { versions: [1n] }, churn: undefined });
  for (const { server } of stage.servers) await server.stop();
  const next = await stage.startServer();
  expect(await next.client.metadataVersion(served)).toBe('1');
  expect(await next.client.predictVersion(served)).toBe('1');
  expect(await next.client.restVersion(served)).toBe('1');
}

describe('the main job: a real Prometheus, two TensorFlow Serving processes, rollbackd by its files alone', () => {
  it.each(rows)('rolls version 2 back to 1 because of $name', async (row) => {
    const prometheus = createPrometheusSource(row.metricsPath);
    await using stage = await setStageFromFiles({
      servers: 2,
      load: 80,
      otherModels: ['churn'],
      versions: { 1: { latency_ms: 3 }, 2: { latency_ms: 3 } },
      rules: [row.rule],
      source: prometheus.source,
      ...row.stage,
    });
    await expectPromtoolIsContent(['check', 'config', join(prometheus.prometheus().folder, 'prometheus.yml')]);
    const list = await readFile(stage.modelsConfig, 'utf8');
    const watch = watchServing(
      stage.servers.map(({ client }) => client),
      served,
    );
    stage.defer(watch.stop);
    const daemon = await stage.startDaemon();
    await deployAndSpoil(stage, daemon, row.fault);

    const episode = await untilFinished(daemon, 90_000);
    await until('Slack to be told', () => stage.slack.deliveries.some(({ text }) => text.includes('rollback success')));

    expect(episode).toMatchObject({ from: '2', to: '1', trigger: 'rule', rule: row.rule.alert, mode: 'enforce', state: 'succeeded', outcome: 'success' });
    expect(episode.evidence).toMatchObject({ signal: row.signal });
    expect(episode.evidence.requests).toBeGreaterThanOrEqual(row.leastRequests ?? 99.5);
    await expectClientsGetVersion1(stage, watch);
    expectSlackWasToldOnce(stage, row, episode);
    await expectAllAgree(stage, daemon, row, episode);
    await expectItLasts(stage, list);
  });
});
