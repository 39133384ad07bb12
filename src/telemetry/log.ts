import { createRequire } from 'node:module';
import { styleText } from 'node:util';
import { ecsFormat } from '@elastic/ecs-pino-format';
import { type DestinationStream, type Logger, pino } from 'pino';
import type * as PinoPretty from 'pino-pretty';
import { lookUp } from '../domain/lookup.ts';
import type { Log } from '../domain/ports.ts';
import { describeError, withoutSecrets } from './redaction.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFormat = 'ecs' | 'pretty';

export type LogOptions = {
  readonly level: LogLevel;
  /** `ecs`: one JSON document a line in Elastic Common Schema. `pretty`: for a person at a terminal. */
  readonly format: LogFormat;
  /** Program's version, shown as `service.version`. */
  readonly version?: string;
  /** Where lines go, each written before the call returns; standard error unless given. */
  readonly destination?: DestinationStream;
};

type Fields = Readonly<Record<string, unknown>>;

/**
 * Our short field names → ECS. Everything else without a dot goes under `rollbackd.`, so that no field of ours collides
 * with an object of the schema (`rule` as text would make Elasticsearch refuse the documents that hold `rule.name`).
 */
const ecsNames: Readonly<Record<string, string>> = {
  component: 'log.logger',
  model: 'labels.model',
  version: 'labels.version',
  from: 'labels.from_version',
  to: 'labels.to_version',
  source: 'labels.source',
  plane: 'labels.control_plane',
  endpoint: 'labels.endpoint',
  receiver: 'labels.receiver',
  rule: 'rule.name',
  episode: 'event.id',
};

/** The daemon's log: fields first, constant text; errors reduced to what a person needs; keys that smell of secrets blanked at any depth. */
export function createLog(options: LogOptions): Log {
  const ecs = ecsFormat({
    serviceName: 'rollbackd',
    convertErr: false,
    apmIntegration: false,
    ...(options.version === undefined ? {} : { serviceVersion: options.version }),
  });
  const destination = withoutHidden(options.destination ?? pino.destination({ fd: 2, sync: true }));
  if (options.format === 'ecs') return new PinoLog(pino({ ...ecs, level: options.level }, destination), toEcs);
  return new PinoLog(pino({ level: options.level, base: null }, prettyStream(destination)), toPretty);
}

class PinoLog implements Log {
  readonly #pino: Logger;
  readonly #shape: (fields: Fields) => Fields;
  /** Kept here and merged: pino's own children write a key again that a line has too, and Elasticsearch refuses such a document. */
  readonly #bindings: Fields;

  constructor(logger: Logger, shape: (fields: Fields) => Fields, bindings: Fields = {}) {
    this.#pino = logger;
    this.#shape = shape;
    this.#bindings = bindings;
  }

  debug(fields: Fields, message: string): void {
    this.#write('debug', fields, message);
  }
  info(fields: Fields, message: string): void {
    this.#write('info', fields, message);
  }
  warn(fields: Fields, message: string): void {
    this.#write('warn', fields, message);
  }
  error(fields: Fields, message: string): void {
    this.#write('error', fields, message);
  }
  child(bindings: Fields): Log {
    return new PinoLog(this.#pino, this.#shape, { ...this.#bindings, ...this.#shape(bindings) });
  }

  #write(level: LogLevel, fields: Fields, message: string): void {
    if (!this.#pino.isLevelEnabled(level)) return;
    const line = keepSearchTrue({ fields: { ...this.#bindings, ...this.#shape(fields) }, message });
    this.#pino[level](line.fields, line.message);
  }
}

function toEcs(fields: Fields): Fields {
  const shaped: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    if (key === 'err') Object.assign(shaped, ecsError(value));
    else if (key === 'durationMs' && typeof value === 'number') shaped['event.duration'] = Math.round(value * 1e6);
    else shaped[lookUp(ecsNames, key) ?? (key.includes('.') ? key : `rollbackd.${key}`)] = withoutSecrets(value, key);
  }
  return shaped;
}

function ecsError(value: unknown): Fields {
  const { type, message, stack, errorClass } = describeError(value);
  return { 'error.type': type, 'error.message': message, 'error.stack_trace': stack, ...(errorClass === null ? {} : { 'rollbackd.error_class': errorClass }) };
}

function toPretty(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, key === 'err' ? describeError(value) : withoutSecrets(value, key)]));
}

/**
 * JSON escapes line breaks and ESC itself; what else steers a terminal (C1 controls) or turns its text around is escaped here, for who reads the log there.
 */
function withoutHidden(destination: DestinationStream): DestinationStream {
  const hidden = /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
  return { write: (line) => destination.write(line.replaceAll(hidden, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)) };
}

/** Loaded only where it is wanted: a daemon in a cluster never pays for it. */
function prettyStream(destination: DestinationStream): DestinationStream {
  const load = createRequire(import.meta.url);
  const { prettyFactory } = load('pino-pretty') as typeof PinoPretty;
  const colorize = styleText('red', 'x', { stream: process.stderr }) !== 'x';
  const pretty = prettyFactory({ colorize, translateTime: 'SYS:HH:MM:ss.l', singleLine: true });
  return { write: (line) => destination.write(pretty(line)) };
}

/**
 * `rollback AND success` in Kibana, without a field, must find the closing line of each successful rollback and nothing else (reference ecosystem 4.3).
 * Any other line that holds both as words, in whatever field, says «succeeded» instead.
 */
function keepSearchTrue(line: { fields: Fields; message: string }): { fields: Fields; message: string } {
  if (line.fields['event.action'] === 'rollback' && line.fields['event.outcome'] === 'success') return line;
  const text = `${line.message} ${JSON.stringify(line.fields)}`;
  if (!/\brollback\b/i.test(text) || !/\bsuccess\b/i.test(text)) return line;
  const reword = (_key: string, value: unknown): unknown => (typeof value === 'string' ? value.replaceAll(/\bsuccess\b/gi, 'succeeded') : value);
  return { fields: JSON.parse(JSON.stringify(line.fields, reword)) as Fields, message: String(reword('', line.message)) };
}
