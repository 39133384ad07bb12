import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where TensorFlow Serving shows its metrics. */
export const metricsPath = '/monitoring/prometheus/metrics';

/** What the demo's files name. */
export type DemoPlaces = {
  readonly folder: string;
  readonly grpc: readonly string[];
  /** `host:port` */
  readonly rest: readonly string[];
  readonly slackUrl: string;
  readonly prometheusUrl: string | null;
};

/** Writes the daemon's file, a rule file and the smoke test's body, as an SRE would; short windows, so that nobody has to wait. */
export async function writeDemoFiles(places: DemoPlaces): Promise<{ configFile: string }> {
  const configFolder = join(places.folder, 'config');
  await mkdir(join(configFolder, 'smoke'), { recursive: true });
  await mkdir(join(places.folder, 'rules'), { recursive: true });
  const configFile = join(configFolder, 'rollbackd.yaml');
  await writeFile(configFile, configText(places));
  await writeFile(join(places.folder, 'rules', 'fraud-detector.yaml'), rulesText);
  await writeFile(join(configFolder, 'smoke', 'fraud.json'), '{"instances": [[0.2, 1.7, 0.4]]}\n');
  await writeFile(join(configFolder, 'slack-url'), `${places.slackUrl}\n`, { mode: 0o600 });
  return { configFile };
}

function configText({ grpc, rest, prometheusUrl }: DemoPlaces): string {
  const list = (items: readonly string[]): string => items.map((item) => `'${item}'`).join(', ');
  const source =
    prometheusUrl === null
      ? `  scrape: {scrape_interval: 500ms, metrics_path: ${metricsPath}, static_configs: [{targets: [${list(rest)}]}]}`
      : `  prometheus: {url: '${prometheusUrl}', timeout: 5s}`;
  return `global:
  evaluation_interval: 1s
  external_labels: {cluster: demo}
rule_files: ['../rules/*.yaml']
journal:
  sqlite: {path: ../data/rollbackd.db}
sources:
- name: metrics
${source}
control_planes:
- name: tfs
  tensorflow_serving:
    endpoints: [${list(grpc)}]
    model_config_file: ../models/models.config
models:
- name: fraud-detector
  source: metrics
  control_plane: tfs
  plane: {model: fraud}
  preset: tensorflow-serving
  observe_interval: 1s
  rollback:
    mode: enforce
    known_good: {min_age: 4s, min_requests: 200, backfill: 0s}
    converge_timeout: 30s
    recovery: {within: 30s}
    stick: 3s
  smoke_test:
    timeout: 10s
    requests:
    - name: one known transaction
      http: {method: POST, url: 'http://${rest[0] ?? ''}/v1/models/fraud/versions/{{ $to }}:predict', body_file: smoke/fraud.json}
      expect: {status: 200, json: {'$.predictions[0].length()': 2}, duration: {below: 500ms}}
route: {receiver: ml-oncall}
receivers:
- name: ml-oncall
  slack_configs: [{api_url_file: slack-url}]
`;
}

const rulesText = `groups:
- name: fraud-detector
  model: fraud-detector
  interval: 1s
  rules:
  - alert: ModelErrorRatioHigh
    condition:
      error_ratio: {window: 10s, above: 5%, min_requests: 100}
    for: 2s
    labels: {severity: page}
    annotations: {summary: '{{ $labels.model }} v{{ $labels.version }}: {{ $value | humanizePercentage }} of requests fail'}
    rollback: {}
  - alert: ModelLatencyP99High
    condition:
      latency: {quantile: 0.99, window: 10s, above: 250ms, min_requests: 100}
    for: 2s
    labels: {severity: page}
    rollback: {}
`;
