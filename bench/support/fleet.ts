import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { seededRandom } from './machine.ts';

/** A fleet as a large installation has it: all models under the same metric names, told apart by a label. */
export type FleetOptions = {
  readonly models: number;
  /** Per model; the newest serves. */
  readonly versions: number;
  /** Per model: the first so many of {@link rules}. */
  readonly rules: number;
  readonly seed: number;
  /** Now and then the newest version of one model, another each time, fails for a while. Default: never. */
  readonly spells?: BadSpells;
};

/** The n-th spell begins `(n + 1) * everyMs` after the first page and strikes the n-th model: `errorRatio` of its requests fail, on top of the usual ones. */
export type BadSpells = { readonly everyMs: number; readonly lastsMs: number; readonly errorRatio: number };

/** Distance of two scrapes in the data, ms. */
export const scrapeEveryMs = 15_000;
/** Of every rule, so that what several of them need is asked for once. */
export const windowMs = 300_000;
/** Series of one version of a model. */
export const seriesOfVersion = 2 + 12 + 2;

/** prom-client's default buckets, and the share of requests at or below each. */
const buckets: readonly (readonly [bound: string, share: number])[] = [
  ['0.005', 0.02],
  ['0.01', 0.11],
  ['0.025', 0.4],
  ['0.05', 0.71],
  ['0.1', 0.9],
  ['0.25', 0.97],
  ['0.5', 0.99],
  ['1', 0.997],
  ['2.5', 0.999],
  ['5', 0.9998],
  ['10', 1],
  ['+Inf', 1],
];

const rules = [
  { alert: 'ModelErrorRatioHigh', condition: { error_ratio: { window: '5m', above: '5%' } }, for: '30s', labels: { severity: 'page' }, rollback: {} },
  {
    alert: 'ModelLatencyP99High',
    condition: { latency: { quantile: 0.99, window: '5m', above: '2s' } },
    for: '30s',
    labels: { severity: 'page' },
    rollback: {},
  },
  // Only tells; the quietest of the models are below it and fire all the time.
  { alert: 'ModelTrafficLow', condition: { request_rate: { window: '5m', below: 1.02 } } },
  { alert: 'ModelLatencyP50High', condition: { latency: { quantile: 0.5, window: '5m', above: '200ms' } } },
];

/** Models whose groups stand in one rule file. */
const modelsPerFile = 50;

/** Writes the daemon's file and its rule files, as SREs would. @returns the path of the daemon's file */
export async function writeFleetFiles(folder: string, options: FleetOptions, places: FleetPlaces): Promise<string> {
  const names = Array.from({ length: options.models }, (_, index) => modelName(index));
  const planeOf = places.planes.flatMap(({ models }, index) => Array.from({ length: models }, () => `tfs-${index}`));
  const matchers = (model: string): string => `model="${model}"`;
  const settings = {
    global: { evaluation_interval: places.interval ?? '15s' },
    rule_files: ['../rules/*.yaml'],
    journal: { sqlite: { path: '../data/rollbackd.db' } },
    sources: [{ name: 'prom', prometheus: { url: places.prometheusUrl, timeout: '60s' } }],
    control_planes: places.planes.map(({ grpc, modelConfigFile }, index) => ({
      name: `tfs-${index}`,
      tensorflow_serving: { endpoints: [grpc], model_config_file: modelConfigFile },
    })),
    models: names.map((name, index) => ({
      name,
      source: 'prom',
      control_plane: planeOf[index],
      plane: { model: name },
      version_label: 'version',
      signals: {
        requests: { counter: 'model_requests_total', matchers: [matchers(name)] },
        errors: { matchers: ['code=~"5.."'] },
        latency: { histogram: 'model_request_duration_seconds', unit: 'seconds', matchers: [matchers(name)] },
      },
      rollback: places.rollback ?? { mode: 'dry_run', known_good: { backfill: '0s' } },
    })),
    route: { receiver: 'oncall' },
    receivers: [{ name: 'oncall', ...(places.slackUrl === undefined ? {} : { slack_configs: [{ api_url: places.slackUrl }] }) }],
  };
  for (const part of ['config', 'rules', 'data']) await mkdir(join(folder, part), { recursive: true });
  for (let from = 0; from < names.length; from += modelsPerFile) {
    const groups = names.slice(from, from + modelsPerFile).map((model) => ({ name: model, model, rules: rules.slice(0, options.rules) }));
    await writeFile(join(folder, 'rules', `${modelName(from)}.yaml`), stringify({ groups }, { aliasDuplicateObjects: false }));
  }
  const configFile = join(folder, 'config', 'rollbackd.yaml');
  await writeFile(configFile, stringify(settings));
  return configFile;
}

export type FleetPlaces = {
  readonly prometheusUrl: string;
  /** Model servers: `host:port`, the list they started with, and how many models of the fleet each serves. */
  readonly planes: readonly { readonly grpc: string; readonly modelConfigFile: string; readonly models: number }[];
  /** evaluation_interval, default 15s */
  readonly interval?: string;
  /** Of every model, as in the daemon's file. Default: dry runs. */
  readonly rollback?: Readonly<Record<string, unknown>>;
  /** Default: nobody is told. */
  readonly slackUrl?: string;
};

/** The page of `/metrics` at an instant, with timestamps: counters that grow steadily from `firstMs` on, each version at its own pace. */
export function fleetPage(options: FleetOptions, firstMs: number): (atMs: number) => string {
  const random = seededRandom(options.seed);
  const { spells } = options;
  const versions = Array.from({ length: options.models * options.versions }, (_, index) => ({
    labels: `model="${modelName(Math.floor(index / options.versions))}",version="${1 + (index % options.versions)}"`,
    perSecond: 1 + 200 * random() ** 3,
    errorRatio: 0.01 * random(),
    startedAt: Math.floor(1e6 * random()),
    spellMs:
      spells === undefined || index % options.versions < options.versions - 1 ? null : firstMs + (1 + Math.floor(index / options.versions)) * spells.everyMs,
  }));
  const badMs = (spellMs: number | null, atMs: number): number =>
    spells === undefined || spellMs === null ? 0 : Math.min(spells.lastsMs, Math.max(0, atMs - spellMs));
  return (atMs) => {
    const lines: string[] = [];
    for (const { labels, perSecond, errorRatio, startedAt, spellMs } of versions) {
      const requests = startedAt + Math.floor((perSecond * (atMs - firstMs)) / 1000);
      const errors = Math.floor(requests * errorRatio) + Math.floor(perSecond * (spells?.errorRatio ?? 0) * (badMs(spellMs, atMs) / 1000));
      const add = (series: string, value: number | string): void => void lines.push(`${series} ${value} ${atMs}`);
      add(`model_requests_total{${labels},code="200"}`, requests - errors);
      add(`model_requests_total{${labels},code="500"}`, errors);
      for (const [bound, share] of buckets) add(`model_request_duration_seconds_bucket{${labels},le="${bound}"}`, Math.floor(requests * share));
      add(`model_request_duration_seconds_sum{${labels}}`, (requests * 0.06).toFixed(3));
      add(`model_request_duration_seconds_count{${labels}}`, requests);
    }
    return `${lines.join('\n')}\n`;
  };
}

export function modelName(index: number): string {
  return `model-${String(index).padStart(4, '0')}`;
}
