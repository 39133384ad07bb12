/**
 * The command line, in the words of TensorFlow Serving (model_servers/main.cc) where it has one: `--name=value`, `--name` for a
 * boolean. Flags of the original that the double has no use for are unknown here, and an unknown flag is refused (the original
 * prints it and goes on).
 */
const FLAGS = {
  port: number(8500, 'gRPC port; 0 picks a free one (the original: no gRPC)'),
  rest_api_port: number(undefined, 'REST port; 0 picks a free one (the original: no REST); left out: no REST'),
  rest_api_timeout_in_ms: number(30_000, 'time after which a REST prediction is given up'),
  model_config_file: text(undefined, 'ModelServerConfig in text format'),
  model_config_file_poll_wait_seconds: number(0, 'how often that file is applied again, changed or not; 0: never'),
  model_name: text('default', 'the one model, without a file'),
  model_base_path: text(undefined, 'its folder'),
  file_system_poll_wait_seconds: number(1, 'how often the disk is looked at for versions; 0: once; the original takes whole seconds only'),
  num_load_threads: number(0, 'versions that load at a time; 0: loading holds up everything else, on all models'),
  num_unload_threads: number(0, 'versions that unload at a time; 0: as above'),
  max_num_load_retries: number(5, 'attempts after the first that failed'),
  load_retry_interval_micros: number(60_000_000, 'time between them'),
  allow_version_labels_for_unavailable_models: boolean('let new labels point to versions that are not loaded'),
  ssl_config_file: text(undefined, 'SSLConfig in text format, for gRPC'),
  monitoring_config_file: text(undefined, 'MonitoringConfig in text format; metrics are on the REST port'),

  bind: text('127.0.0.1', 'not of the original: address to listen on'),
  manage_state_interval_micros: number(100_000, 'not a flag of the original, where it is fixed: time between steps of the manager'),
  accept_logging_config: boolean('not of the original: take logging_config, as a build with a request logger would'),
  extra_versioned_metrics: boolean('not of the original: /metrics on the REST port, as a gateway in front would have, with versions'),
  reload_journal_file: text(undefined, 'not of the original: write every reload there, a line of JSON for its begin and end'),
} as const;

interface Flag<T> {
  kind: 'number' | 'text' | 'boolean';
  fallback: T;
  help: string;
}

/** The value of every flag. */
export type Flags = { [Name in keyof typeof FLAGS]: (typeof FLAGS)[Name] extends Flag<infer T> ? T : never };

/** A command line that cannot be used; the message has a line per fault. */
export class FlagError extends Error {
  override readonly name = 'FlagError';
}

/** @throws {FlagError} */
export function parseFlags(argv: string[]): Flags {
  const values: Record<string, unknown> = Object.fromEntries(Object.entries(FLAGS).map(([name, { fallback }]) => [name, fallback]));
  const faults: string[] = [];
  for (const argument of argv) {
    const [, name = '', value] = /^--([a-z_]+)(?:=(.*))?$/s.exec(argument) ?? [];
    const flag = Object.hasOwn(FLAGS, name) ? FLAGS[name as keyof typeof FLAGS] : undefined;
    const parsed = flag && parseValue(flag.kind, value);
    if (flag === undefined) faults.push(`${argument}: unknown flag; write --name=value with one of ${Object.keys(FLAGS).join(', ')}`);
    else if (parsed === undefined) faults.push(`${argument}: expected a ${flag.kind}: ${flag.help}`);
    else values[name] = parsed;
  }
  if (faults.length > 0) throw new FlagError(faults.join('\n'));
  return values as Flags;
}

function parseValue(kind: Flag<unknown>['kind'], value: string | undefined): unknown {
  if (kind === 'boolean') return value === undefined || value === 'true' ? true : value === 'false' ? false : undefined;
  if (kind === 'text') return value;
  return value === undefined || value.trim() === '' || Number.isNaN(Number(value)) ? undefined : Number(value);
}

function number<T extends number | undefined>(fallback: T, help: string): Flag<T extends undefined ? number | undefined : number> {
  return { kind: 'number', fallback: fallback as never, help };
}

function text<T extends string | undefined>(fallback: T, help: string): Flag<T extends undefined ? string | undefined : string> {
  return { kind: 'text', fallback: fallback as never, help };
}

function boolean(help: string): Flag<boolean> {
  return { kind: 'boolean', fallback: false, help };
}
