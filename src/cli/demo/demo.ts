import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import type { EpisodeView } from '../../domain/episode-view.ts';
import { createLog } from '../../telemetry/log.ts';
import { type ApiClient, createApiClient } from '../api-client.ts';
import { CommandFailed, exitCodes } from '../exit.ts';
import { describeEpisode } from '../looks.ts';
import { startDaemon } from '../run.ts';
import { paint } from '../table.ts';
import { metricsPath, writeDemoFiles } from './files.ts';
import { startPrometheus } from './prometheus.ts';
import { loadDouble } from './servers.ts';
import { startSlackStandIn } from './slack-stand-in.ts';

export type DemoOptions = {
  /** End once the rollback ended. */
  readonly once: boolean;
  readonly output: 'text' | 'json';
  /** Path of a real Prometheus, or `auto`; `null`: rollbackd reads the servers itself. */
  readonly prometheus: string | null;
  readonly fault: 'errors' | 'latency';
  readonly port: number;
};

const model = 'fraud-detector';
const requestsPerSecond = 120;
const lookEveryMs = 200;
/** Each act of the play must come within this. */
const patienceMs = 60_000;
/** Version 2 works for this long before it begins to fail. */
const honeymoonMs = 3_000;

/** Plays the main job on this machine: real protocol, real journal, real HTTP; only the model servers are doubles. @returns the exit code */
export async function demo(options: DemoOptions): Promise<number> {
  const began = Date.now();
  const stage = options.output === 'json' ? process.stderr : process.stdout;
  const tell = (text: string, mark = ' '): void =>
    void stage.write(`${paint(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)}s`, 'dim', stage)} ${mark} ${text}\n`);
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-demo-'));
  await using owned = new AsyncDisposableStack();
  owned.defer(async () => await rm(folder, { recursive: true, force: true }));
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  owned.defer(() => void process.off('SIGINT', onSignal).off('SIGTERM', onSignal));

  const { startTensorFlowServing, makeModelRepository, generateLoad } = await loadDouble();
  const repository = await makeModelRepository(join(folder, 'models'), { fraud: { 1: { load_ms: 200, latency_ms: 5 } } });
  const configFile = join(folder, 'models', 'models.config');
  await writeFile(configFile, repository.configText([{ name: 'fraud' }]));
  const monitoring = join(folder, 'models', 'monitoring.config');
  await writeFile(monitoring, `prometheus_config { enable: true path: "${metricsPath}" }\n`);
  const flags = { model_config_file: configFile, monitoring_config_file: monitoring, file_system_poll_wait_seconds: 0.2 };
  const servers = await Promise.all([startTensorFlowServing({ flags }), startTensorFlowServing({ flags })]);
  for (const server of servers) owned.defer(async () => await server.stop());
  tell('two TensorFlow Serving processes (protocol doubles) serve model "fraud", version 1');

  const load = generateLoad({ endpoints: servers.map((server) => server.rest), model: 'fraud', ratePerSecond: requestsPerSecond, signal: stop.signal });
  owned.defer(async () => {
    stop.abort();
    await load.done;
  });
  tell(`clients ask them for ${requestsPerSecond} predictions a second, without naming a version`);

  const slack = await startSlackStandIn((text) => tell(`Slack was told: ${text}`, '✉'));
  owned.defer(async () => await slack.stop());
  const rest = servers.map((server) => new URL(server.rest).host);
  const prometheus = options.prometheus === null ? null : await startPrometheus({ program: options.prometheus, folder, targets: rest, metricsPath });
  if (prometheus !== null) {
    owned.defer(async () => await prometheus.stop());
    tell(`Prometheus scrapes them: ${prometheus.url}`);
  }
  const files = await writeDemoFiles({ folder, grpc: servers.map((server) => server.grpc), rest, slackUrl: slack.url, prometheusUrl: prometheus?.url ?? null });
  const logFile = join(folder, 'rollbackd.log');
  const log = createLog({ level: 'info', format: 'ecs', destination: pino.destination({ dest: logFile, sync: true }) });
  const daemon = await startDaemon(
    {
      configFile: files.configFile,
      autoReload: false,
      autoReloadIntervalMs: 30_000,
      listenAddress: `127.0.0.1:${options.port}`,
      externalUrl: null,
      webConfigFile: null,
      enableAdminApi: true,
      enableLifecycle: false,
      dryRun: false,
      logLevel: 'info',
      logFormat: 'ecs',
      shutdownGraceMs: 0,
    },
    log,
  );
  owned.defer(async () => await daemon.stop(0));
  tell(`rollbackd watches ${model}; see it in a browser: ${daemon.url}/`);

  const client = createApiClient({ url: daemon.url });
  owned.defer(() => client.close());
  const isKnownGood = (version: string) => async (): Promise<string | null> => {
    const found = (await client.model(model)).versions.find((candidate) => candidate.version === version);
    return found?.known_good === true ? found.known_good_reason : null;
  };
  tell(`version 1 is known good: ${await until('version 1 to become known good', isKnownGood('1'), stop.signal)}`, '✔');

  await repository.setBehaviour('fraud', 2, { load_ms: 200, latency_ms: 5 });
  await until(
    'version 2 to serve',
    async () => ((await client.model(model)).versions.some((version) => version.version === '2' && version.share === 1) ? true : null),
    stop.signal,
  );
  tell('someone deployed version 2; it serves now, and the servers have unloaded version 1');
  await sleep(honeymoonMs, undefined, { signal: stop.signal }).catch(() => undefined);

  const fault = options.fault === 'errors' ? { fail_ratio: 0.1, latency_ms: 5 } : { latency_ms: 5, latency_ms_p99: 600 };
  await repository.setBehaviour('fraud', 2, fault);
  const faultMs = Date.now();
  tell(options.fault === 'errors' ? 'version 2 begins to fail 10 % of its requests' : 'version 2 begins to take 600 ms for 2 % of its requests', '✖');

  const episode = await follow(client, tell, stop.signal);
  const confirmedS = episode.switched_at === null ? null : (Date.parse(episode.switched_at) - faultMs) / 1000;
  if (options.output === 'json') process.stdout.write(`${JSON.stringify(episode, null, 2)}\n`);
  else stage.write(`\n${describeEpisode(episode)}\n\n`);
  if (confirmedS !== null) tell(`from fault to rollback confirmed: ${confirmedS.toFixed(1)} s`);
  await sleep(1_500, undefined, { signal: stop.signal }).catch(() => undefined);
  const requests = Object.entries(load.report.byVersion).map(
    ([version, statuses]) =>
      `version ${version}: ${Object.entries(statuses)
        .map(([status, count]) => `${count} × ${status}`)
        .join(', ')}`,
  );
  tell(`what clients got: ${requests.join('; ')}`);

  if (!options.once && !stop.signal.aborted) {
    stage.write(
      [
        '',
        'Look closer while it runs (Ctrl-C ends it and removes its files):',
        `  in a browser: ${daemon.url}/rollbacks/${episode.id}`,
        `  npm run -s rollbackd -- get models --url ${daemon.url}`,
        `  npm run -s rollbackd -- describe rollback ${episode.id} --url ${daemon.url}`,
        `  curl ${daemon.url}/metrics`,
        `  grep 'rollback success' ${logFile}`,
        `  cat ${files.configFile} ${join(folder, 'rules', 'fraud-detector.yaml')}`,
        '',
      ].join('\n'),
    );
    await new Promise<void>((resolve) => {
      if (stop.signal.aborted) resolve();
      else stop.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }
  return episode.outcome === 'success' ? exitCodes.ok : exitCodes.pending;
}

/** Tells each change of the episode until its end. */
async function follow(client: ApiClient, tell: (text: string, mark?: string) => void, signal: AbortSignal): Promise<EpisodeView> {
  let told = '';
  const steps = new Set<string>();
  const opened = await until('rollbackd to detect it', async () => (await client.rollbacks())[0] ?? null, signal);
  tell(`${opened.rule ?? opened.trigger}: ${opened.reason}`, '!');
  return await until(
    'the rollback to end',
    async () => {
      const episode = await client.rollback(opened.id);
      for (const step of episode.steps) {
        if (step.state !== 'done' || steps.has(step.name)) continue;
        steps.add(step.name);
        tell(`${step.name}: done (${step.detail})`, '·');
      }
      if (episode.state !== told)
        tell(
          `${episode.state.replaceAll('_', ' ')}${episode.detail === '' ? '' : `: ${episode.detail}`}`,
          episode.outcome === null ? '→' : episode.outcome === 'success' ? '✔' : '✖',
        );
      told = episode.state;
      return episode.finished_at === null ? null : episode;
    },
    signal,
  );
}

async function until<Found>(what: string, look: () => Promise<Found | null>, signal: AbortSignal): Promise<Found> {
  const deadlineMs = Date.now() + patienceMs;
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (signal.aborted) throw new CommandFailed('rollbackd demo: ended before its end');
    if (Date.now() > deadlineMs) throw new CommandFailed(`rollbackd demo: waited ${patienceMs / 1000} s for ${what}`, exitCodes.pending);
    await sleep(lookEveryMs, undefined, { signal }).catch(() => undefined);
  }
}
