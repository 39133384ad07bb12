import { describe, expect, it } from 'vitest';
import { anEpisode } from '../../test/support/an-episode.ts';
import { createLog } from './log.ts';
import { logRollbackClosed } from './rollback-line.ts';

function aLog() {
  const lines: string[] = [];
  return { lines, log: createLog({ level: 'debug', format: 'ecs', destination: { write: (line) => lines.push(line) } }) };
}

/** As Elasticsearch's standard tokenizer sees a document: every word of every value, split at Unicode word breaks. */
function wordsOf(line: string): Set<string> {
  const segmenter = new Intl.Segmenter('en', { granularity: 'word' });
  const words = new Set<string>();
  JSON.parse(line, (_key, value: unknown) => {
    if (typeof value === 'string') for (const part of segmenter.segment(value)) words.add(part.segment.toLowerCase());
    return value;
  });
  return words;
}

const isFound = (line: string): boolean => wordsOf(line).has('rollback') && wordsOf(line).has('success');

describe('logRollbackClosed', () => {
  it('writes the golden line of a successful rollback', () => {
    const { log, lines } = aLog();

    logRollbackClosed(log, anEpisode());

    const { '@timestamp': _at, 'process.pid': _pid, 'host.hostname': _host, ...document } = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
    expect(document).toMatchInlineSnapshot(`
      {
        "ecs.version": "8.10.0",
        "event.action": "rollback",
        "event.category": [
          "configuration",
        ],
        "event.dataset": "rollbackd",
        "event.duration": 12400000000,
        "event.end": "2026-11-22T12:00:12.500Z",
        "event.id": "rb_01JDEXAMPLE",
        "event.kind": "event",
        "event.outcome": "success",
        "event.reason": "error ratio 10.2% (588 of 5771) > 5% for 1m12s, for: 1m",
        "event.start": "2026-11-22T12:00:00.100Z",
        "event.type": [
          "change",
        ],
        "labels.from_version": "7",
        "labels.model": "fraud-detector",
        "labels.to_version": "6",
        "labels.trigger": "rule",
        "log.level": "info",
        "message": "rollback success: fraud-detector 7 -> 6 in 12.4s",
        "rollbackd.requests": 5771,
        "rollbackd.threshold": 0.05,
        "rollbackd.value": 0.102,
        "rule.name": "ModelErrorRatioHigh",
        "service.name": "rollbackd",
      }
    `);
    expect(lines).toHaveLength(1);
    expect(isFound(lines[0] ?? '')).toBe(true);
  });

  it.each([
    ['failed', 'failure', 'error', 'rollback failure: fraud-detector 7 -> 6 after 12.4s: the plane answered «succeeded» and did not move'],
    ['failed', 'unknown', 'error', 'rollback unknown: fraud-detector 7 -> 6 after 12.4s: the plane answered «succeeded» and did not move'],
    ['rejected', null, 'info', 'rollback rejected: fraud-detector 7 -> 6: the plane answered «succeeded» and did not move'],
  ] as const)('never says the word for one that ended %s with outcome %s', (state, outcome, level, message) => {
    const { log, lines } = aLog();

    logRollbackClosed(log, anEpisode({ state, outcome, detail: 'the plane answered «success» and did not move', reason: 'success ratio 3% < 90%' }));

    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      message,
      'log.level': level,
      'event.action': 'rollback',
      ...(outcome === null ? {} : { 'event.outcome': outcome }),
    });
    expect(isFound(lines[0] ?? '')).toBe(false);
  });

  it.each(['watching', 'recorded'] as const)('says nothing of an episode that is %s', (state) => {
    const { log, lines } = aLog();

    logRollbackClosed(log, anEpisode({ state, outcome: null }));

    expect(lines).toEqual([]);
  });

  it('leaves exactly one line of a run that «rollback AND success» finds', () => {
    const { log, lines } = aLog();

    log.info({ model: 'fraud-detector', rule: 'ModelErrorRatioHigh' }, 'rollback started');
    log.info({ step: 'stage 6', outcome: 'success' }, 'rollback step ended');
    log.info({ outcome: 'success', episode: 'rb_1' }, 'smoke test ended');
    log.warn({ detail: 'success: false' }, 'slack refused the rollback message');
    logRollbackClosed(log, anEpisode({ state: 'failed', outcome: 'failure', detail: 'no success' }));
    logRollbackClosed(log, anEpisode());
    log.info({ reply: 'success' }, 'the rollback message was sent');

    expect(lines.filter(isFound)).toHaveLength(1);
    expect(lines.filter(isFound)[0]).toContain('"message":"rollback success: fraud-detector 7 -> 6 in 12.4s"');
  });
});
