import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { openJournalReadOnly, type SqlJournal } from '../../src/adapters/journal/index.ts';
import type { EpisodeView } from '../../src/domain/episode-view.ts';
import type { KillAt } from './chaos/kill-point.ts';
import { type CliResult, type DaemonProcess, runCli, startDaemonProcess } from './daemon-process.ts';
import { ownProcess } from './owned-process.ts';
import { createServingClient, type ServingClient } from './serving-client.ts';
import { type SlackEndpoint, startSlackEndpoint } from './slack-endpoint.ts';
import type { Behaviour } from './tensorflow-serving/core/behaviour.ts';
import type { Flags } from './tensorflow-serving/flags.ts';
import { generateLoad, type Load } from './tensorflow-serving/load.ts';
import type { ModelEntry } from './tensorflow-serving/model-repository.ts';
import type { ReloadRecord } from './tensorflow-serving/reload-journal.ts';
import { type ModelRepository, makeModelRepository, startTensorFlowServing, type TensorFlowServing } from './tensorflow-serving/start.ts';
import { until } from './until.ts';

/** The model as people call it, and as the servers do. */
export const modelName = 'fraud-detector';
export const served = 'fraud';

/** Where the servers show their own metrics. */
export const metricsPath = '/monitoring/prometheus/metrics';
type Settings = Readonly<Record<string, unknown>>;

/** What must be known to write settings: `host:port` of the servers' REST, and a way to close with the stage what is opened for them. */
export type Places = { readonly rest: readonly string[]; readonly defer: (close: () => Promise<void> | void) => void };

/** What a stage has that another has not; everything else is short windows and version 1 vouched for. */
export type StageOptions = {
  /** Versions of model `fraud` on disk and how each behaves. Default: 1 works, 2 fails one request of five. */
  readonly versions?: Readonly<Record<string, Behaviour>>;
  /** Its entry in models.config. Default: no policy, so that the newest version serves. */
  readonly entry?: Partial<ModelEntry>;
  /** More models of the same servers. */
  readonly otherModels?: readonly string[];
  /** Servers with the same folder and the same list. Default 1. */
  readonly servers?: number;
  readonly flags?: Partial<Flags>;
  /** Unversioned requests per second over all servers. Default 25; 0: none. */
  readonly load?: number;
  /** Kind and settings of the source. Default: `scrape`, twice a second. */
  readonly source?: (places: Places) => Settings | Promise<Settings>;
  /** Keys of the model, of its `rollback` and of the control plane, instead of the default ones. */
  readonly model?: Settings;
  readonly rollback?: Settings;
  readonly plane?: Settings;
  /** Keys of slack_configs beside `api_url_file`. */
  readonly slack?: Settings;
  readonly slackPath?: string;
  /** Default: one prediction of the target. `null`: none. */
  readonly smokeTest?: ((places: Places) => Settings) | null;
  /** Rules of the model's group. Default: {@link errorRatioRule}. */
  readonly rules?: readonly Settings[];
  /** Keys of the file itself, such as `journal`, instead of the default ones. */
  readonly top?: Settings;
  /** Sources, control planes, models and groups of rules beside these. */
  readonly more?: {
    readonly sources?: readonly Settings[];
    readonly controlPlanes?: readonly Settings[];
    readonly models?: readonly Settings[];
    readonly groups?: readonly Settings[];
  };
};

/** One server with its client, and what it was told. */
export type StageServer = {
  readonly server: TensorFlowServing;
  readonly client: ServingClient;
  /** Every try to change its configuration. */
  readonly reloads: () => Promise<readonly ReloadRecord[]>;
  /** Versions of `fraud` that clients asked it to load, in turn, a repeated list once; `latest` for a list without versions. */
  readonly orders: () => Promise<readonly string[]>;
};

/** Files, servers, clients and receivers around a daemon; the daemon itself is started by the test. */
export type Stage = AsyncDisposable & {
  readonly folder: string;
  readonly configFile: string;
  readonly rulesFile: string;
  readonly modelsConfig: string;
  readonly journalFile: string;
  readonly repository: ModelRepository;
  readonly servers: readonly StageServer[];
  readonly slack: SlackEndpoint;
  readonly load: Load | null;
  /** A fresh daemon on the stage's files; ended with the stage at the latest. */
  readonly startDaemon: (args?: readonly string[], killAt?: KillAt) => Promise<DaemonProcess>;
  readonly cli: (...args: string[]) => Promise<CliResult>;
  /** Reads the journal beside whoever writes it. */
  readonly readJournal: <Result>(read: (journal: SqlJournal) => Promise<Result>) => Promise<Result>;
  /** Ends with the stage. */
  readonly defer: (close: () => Promise<void> | void) => void;
  /** Starts one more server on the folder and the list as they are now. */
  readonly startServer: () => Promise<StageServer>;
};

/** More than 5 % of the requests of ten seconds fail. */
export const errorRatioRule = {
  alert: 'ModelErrorRatioHigh',
  condition: { error_ratio: { window: '10s', above: '5%', min_requests: 20 } },
  for: '1s',
  labels: { severity: 'page' },
  annotations: { summary: '{{ $labels.model }} v{{ $labels.version }}: {{ $value | humanizePercentage }} of requests fail' },
  rollback: {},
} as const satisfies Settings;

/** Brings up everything but the daemon. Whatever was opened is closed when this fails, and by the stage's disposal. */
export async function setStageFromFiles(options: StageOptions = {}): Promise<Stage> {
  await using owned = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-e2e-'));
  owned.defer(async () => await rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const paths = {
    folder,
    configFile: join(folder, 'config', 'rollbackd.yaml'),
    rulesFile: join(folder, 'rules', 'fraud-detector.yaml'),
    modelsConfig: join(folder, 'models', 'models.config'),
    journalFile: join(folder, 'data', 'rollbackd.db'),
  };
  const others = options.otherModels ?? [];
  const repository = await makeModelRepository(join(folder, 'models'), {
    [served]: options.versions ?? { 1: {}, 2: { fail_ratio: 0.2 } },
    ...Object.fromEntries(others.map((name) => [name, { 1: {} }])),
  });
  await writeFile(paths.modelsConfig, repository.configText([{ name: served, ...options.entry }, ...others.map((name) => ({ name }))]));
  const startServer = async (): Promise<StageServer> => await openServer(owned, paths, options.flags ?? {});
  const servers = await Promise.all(Array.from({ length: options.servers ?? 1 }, startServer));
  const slack = await startSlackEndpoint(options.slackPath);
  owned.defer(async () => await slack.close());
  const places: Places = { rest: servers.map(({ server }) => new URL(server.rest).host), defer: (close) => owned.defer(close) };
  await writeFiles(paths, options, { places, grpc: servers.map(({ server }) => server.grpc), slackUrl: slack.url });
  const load = openLoad(
    owned,
    servers.map(({ server }) => server.rest),
    options.load ?? 25,
  );

  const stack = owned.move();
  return {
    ...paths,
    repository,
    servers,
    slack,
    load,
    startServer: async () => await openServer(stack, paths, options.flags ?? {}),
    startDaemon: async (args = [], killAt) => {
      const daemon = await startDaemonProcess({ configFile: paths.configFile, model: modelName, cwd: folder, args, killAt });
      stack.defer(async () => await daemon.kill());
      return daemon;
    },
    cli: async (...args) => await runCli(args, folder),
    readJournal: async (read) => {
      const journal = await openJournalReadOnly({ path: paths.journalFile });
      try {
        return await read(journal);
      } finally {
        await journal.close();
      }
    },
    defer: (close) => stack.defer(close),
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

type Paths = Pick<Stage, 'folder' | 'configFile' | 'rulesFile' | 'modelsConfig'>;

let serversStarted = 0;

async function openServer(owned: AsyncDisposableStack, paths: Paths, flags: Partial<Flags>): Promise<StageServer> {
  const monitoring = join(paths.folder, 'models', 'monitoring.config');
  await writeFile(monitoring, `prometheus_config { enable: true path: "${metricsPath}" }\n`);
  serversStarted += 1;
  const reloadJournal = join(paths.folder, `reloads-${serversStarted}.jsonl`);
  const server = await startTensorFlowServing({
    flags: {
      model_config_file: paths.modelsConfig,
      monitoring_config_file: monitoring,
      reload_journal_file: reloadJournal,
      file_system_poll_wait_seconds: 0.1,
      manage_state_interval_micros: 50_000,
      max_num_load_retries: 0,
      ...flags,
    },
  });
  // The stop of a process that a test has stopped by SIGSTOP would never come.
  owned.defer(async () => await server.kill('SIGKILL'));
  owned.defer(ownProcess(server.pid));
  const client = createServingClient(server);
  owned.defer(() => client.close());
  const reloads = async (): Promise<readonly ReloadRecord[]> =>
    (await readFile(reloadJournal, 'utf8').catch(() => ''))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as ReloadRecord);
  return { server, client, reloads, orders: async () => ordersOf(await reloads()) };
}

type SentModel = { readonly name: string; readonly model_version_policy?: { readonly specific?: { readonly versions: readonly string[] } } };

function ordersOf(records: readonly ReloadRecord[]): readonly string[] {
  const orders: string[] = [];
  for (const record of records) {
    if (record.event !== 'begin' || record.source !== 'rpc') continue;
    const list = (record.config as { model_config_list?: { config?: readonly SentModel[] } }).model_config_list?.config ?? [];
    const versions = list.find((model) => model.name === served)?.model_version_policy?.specific?.versions.join('+') ?? 'latest';
    if (orders.at(-1) !== versions) orders.push(versions);
  }
  return orders;
}

function openLoad(owned: AsyncDisposableStack, endpoints: readonly string[], ratePerSecond: number): Load | null {
  if (ratePerSecond === 0) return null;
  const stop = new AbortController();
  const load = generateLoad({ endpoints: [...endpoints], model: served, ratePerSecond, timeoutMs: 10_000, signal: stop.signal });
  owned.defer(async () => {
    stop.abort();
    await load.done;
  });
  return load;
}

async function writeFiles(
  paths: Paths,
  options: StageOptions,
  found: { readonly places: Places; readonly grpc: readonly string[]; readonly slackUrl: string },
): Promise<void> {
  const { places } = found;
  const configFolder = join(paths.folder, 'config');
  await mkdir(join(paths.folder, 'rules'), { recursive: true });
  await mkdir(configFolder, { recursive: true });
  const source = (await options.source?.(places)) ?? scrapeSource(places);
  const smokeTest = options.smokeTest === null ? null : (options.smokeTest?.(places) ?? onePrediction(places));
  const config = {
    global: { evaluation_interval: '1s', external_labels: { cluster: 'e2e' } },
    rule_files: ['../rules/*.yaml'],
    journal: { sqlite: { path: '../data/rollbackd.db' } },
    ...options.top,
    sources: [{ name: 'metrics', ...source }, ...(options.more?.sources ?? [])],
    control_planes: [
      {
        name: 'tfs',
        tensorflow_serving: {
          endpoints: found.grpc,
          model_config_file: '../models/models.config',
          timeout: '1s',
          file_system_poll_wait: '200ms',
          ...options.plane,
        },
      },
      ...(options.more?.controlPlanes ?? []),
    ],
    models: [
      {
        name: modelName,
        source: 'metrics',
        control_plane: 'tfs',
        plane: { model: served },
        preset: 'tensorflow-serving',
        observe_interval: '1s',
        rollback: {
          mode: 'enforce',
          known_good: { versions: ['1'], backfill: '0s' },
          converge_timeout: '20s',
          recovery: { within: '30s' },
          stick: '2s',
          ...options.rollback,
        },
        ...(smokeTest === null ? {} : { smoke_test: smokeTest }),
        ...options.model,
      },
      ...(options.more?.models ?? []),
    ],
    // Alerts would come late and mix with the messages of episodes; they have tests of their own.
    route: { receiver: 'ml-oncall', group_wait: '1h' },
    receivers: [{ name: 'ml-oncall', slack_configs: [{ api_url_file: 'slack-url', ...options.slack }] }],
  };
  await writeFile(paths.configFile, stringify(config));
  const group = { name: modelName, model: modelName, interval: '1s', rules: options.rules ?? [errorRatioRule] };
  await writeFile(paths.rulesFile, stringify({ groups: [group, ...(options.more?.groups ?? [])] }));
  await writeFile(join(configFolder, 'slack-url'), `${found.slackUrl}\n`, { mode: 0o600 });
}

function scrapeSource({ rest }: Places): Settings {
  return { scrape: { scrape_interval: '500ms', metrics_path: metricsPath, static_configs: [{ targets: rest }] } };
}

/** The smoke test of most stages: the target answers one known transaction, before and after the switch. */
function onePrediction({ rest }: Places): Settings {
  return {
    timeout: '10s',
    requests: [
      {
        name: 'one known transaction',
        http: {
          method: 'POST',
          url: `http://${rest[0]}/v1/models/${served}/versions/{{ $to }}:predict`,
          body: '{"instances": [[0.2, 1.7, 0.4]]}',
        },
        expect: { status: 200, json: { '$.predictions[0].length()': 2 } },
      },
    ],
  };
}

/** The gateway's metrics, which carry the version: source and model for `version_label`. */
export const gatewaySignals = {
  preset: undefined,
  version_label: 'model_version',
  signals: {
    requests: { counter: 'model_requests_total', matchers: [`model="${served}"`] },
    errors: { matchers: ['code=~"5.."'] },
    latency: { histogram: 'model_request_duration_seconds', unit: 'seconds', matchers: [`model="${served}"`] },
  },
} as const satisfies Settings;

/** Waits for the end of the newest episode. */
export async function untilFinished(daemon: DaemonProcess, withinMs = 45_000): Promise<EpisodeView> {
  return await until('the episode to end', async () => (await daemon.rollbacks()).find((episode) => episode.finished_at !== null), {
    withinMs,
    seen: async () => await describeDaemon(daemon),
  });
}

/** What a failed wait should show: verdict, decisions, episodes, the end of the log. */
export async function describeDaemon(daemon: DaemonProcess): Promise<string> {
  const show = async (ask: () => Promise<unknown>): Promise<string> =>
    await ask().then(
      (found) => JSON.stringify(found),
      (error: unknown) => String(error),
    );
  return [
    `model: ${await show(daemon.model)}`,
    `decisions: ${await show(daemon.decisions)}`,
    `rollbacks: ${await show(daemon.rollbacks)}`,
    `log:\n${daemon.logLines().slice(-15).join('\n')}`,
  ].join('\n');
}

/** Waits until the rules have been judged so many times more. */
export async function untilJudged(daemon: DaemonProcess, times: number): Promise<void> {
  const judged = async (): Promise<number> => (await daemon.metrics()).sum('rollbackd_rule_group_iterations_total');
  const before = await judged();
  await until(`${times} more evaluations`, async () => (await judged()) >= before + times, { seen: async () => await describeDaemon(daemon) });
}
