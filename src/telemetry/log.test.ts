import { AxiosError, AxiosHeaders } from 'axios';
import { describe, expect, it } from 'vitest';
import { PlaneError } from '../domain/ports.ts';
import { createLog, type LogOptions } from './log.ts';

const slackUrl = 'https://hooks.slack.com/services/T0/B0/planted-secret';

function aLog(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const log = createLog({ level: 'debug', format: 'ecs', version: '0.1.0', destination: { write: (line) => lines.push(line) }, ...options });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '') as Record<string, unknown> };
}

describe('createLog', () => {
  it('writes one ECS document a line', () => {
    const { log, last } = aLog();

    log.warn({ component: 'loop', model: 'fraud', rule: 'High', durationMs: 12, turn: 3 }, 'the turn was late');

    const { '@timestamp': at, 'process.pid': pid, 'host.hostname': host, ...document } = last();
    expect([typeof at, typeof pid, typeof host]).toEqual(['string', 'number', 'string']);
    expect(document).toEqual({
      'log.level': 'warn',
      'ecs.version': '8.10.0',
      'service.name': 'rollbackd',
      'service.version': '0.1.0',
      'event.dataset': 'rollbackd',
      'log.logger': 'loop',
      'labels.model': 'fraud',
      'rule.name': 'High',
      'event.duration': 12_000_000,
      'rollbackd.turn': 3,
      message: 'the turn was late',
    });
  });

  it('keeps lines below its level to itself, and gives children their fields', () => {
    const { log, lines, last } = aLog({ level: 'info' });
    const child = log.child({ component: 'outbox' });

    child.debug({}, 'quiet');
    child.child({ receiver: 'ml-oncall' }).info({}, 'sent');

    expect(lines).toHaveLength(1);
    expect(last()).toMatchObject({ 'log.logger': 'outbox', 'labels.receiver': 'ml-oncall', message: 'sent' });
  });

  it('writes no key twice, whatever children and lines say', () => {
    const { log, lines, last } = aLog();

    log.child({ component: 'loop', model: 'a' }).child({ component: 'judge' }).info({ model: 'b' }, 'judged');

    expect(lines[0]?.match(/"log\.logger"|"labels\.model"/g)).toEqual(['"log.logger"', '"labels.model"']);
    expect(last()).toMatchObject({ 'log.logger': 'judge', 'labels.model': 'b' });
  });

  it('keeps of an error its name, words, stack and class, and tells its causes', () => {
    const { log, last } = aLog();

    log.error({ err: new PlaneError('conflict', 'tfs-0: ReloadConfig answered ABORTED', { cause: new Error('stream closed') }) }, 'the step failed');

    expect(last()).toMatchObject({ 'error.type': 'PlaneError', 'error.message': 'tfs-0: ReloadConfig answered ABORTED', 'rollbackd.error_class': 'conflict' });
    expect(last()['error.stack_trace']).toContain('caused by Error: stream closed');
  });

  it.each(['ecs', 'pretty'] as const)('never writes what an HTTP error carries along (%s)', (format) => {
    const { log, lines } = aLog({ format });
    const headers = new AxiosHeaders({ Authorization: 'Bearer planted-secret' });
    const err = new AxiosError('Request failed', 'ERR_BAD_RESPONSE', { headers, url: slackUrl, auth: { username: 'u', password: 'planted-secret' } });

    log.error({ err, nested: { err: new Error('outer', { cause: err }) } }, 'slack failed');
    log.child({ token: 'planted-secret' }).info({ request: { headers: { authorization: 'planted-secret' }, api_url: slackUrl } }, 'with fields');
    log.info({ err: new Error(`POST ${slackUrl}: 403`), at: 'https://u:planted-secret@prom:9090/x', said: 'Bearer planted-secret' }, 'in texts');
    log.info({ err: 'just a text' }, 'odd');

    expect(lines.join('')).not.toContain('planted-secret');
    expect(lines.join('')).toContain('<secret>');
  });

  it('rewords a line that would be found by «rollback AND success» without closing a successful rollback', () => {
    const { log, last } = aLog();

    log.info({ outcome: 'success' }, 'rollback step done');
    expect(last()).toMatchObject({ 'rollbackd.outcome': 'succeeded', message: 'rollback step done' });

    log.info({ outcome: 'success' }, 'smoke test done');
    expect(last()).toMatchObject({ 'rollbackd.outcome': 'success' });
  });

  it('is readable on a terminal', () => {
    const { log, lines } = aLog({ format: 'pretty' });

    log.info({ model: 'fraud' }, 'watching');

    expect(lines.join('')).toContain('watching {"model":"fraud"}');
  });
});
