import { describe, expect, it } from 'vitest';
import { aModel, anEpisode, aRule, noonMs } from '../../../test/support/builders.ts';
import type { Answer, Question } from '../../domain/measurement.ts';
import type { Source } from '../../domain/ports.ts';
import type { Rule } from '../../domain/rule.ts';
import { judgeRecovery } from './recover.ts';

/** Answers `errors` of 1000 requests for version 1 in every window. */
function sourceOf(errors: number): Source {
  const answer = ({ kind, matchers }: Question): Answer =>
    kind === 'newest' ? { kind, byVersion: new Map([['1', noonMs]]) } : { kind: 'increase', byVersion: new Map([['1', matchers.length > 0 ? errors : 1000]]) };
  return {
    ask: async (questions) => new Map(questions.map((question) => [question.id, answer(question)])),
    askExpr: null,
    history: null,
    describe: () => new Map(),
    up: () => true,
    whyDown: () => null,
    close: async () => undefined,
  };
}

const limit = { op: 'above_baseline' as const, times: 2, byAtLeast: 0, andAbove: 0 };
const comparing = aRule({ condition: { kind: 'error_ratio', windowMs: 60_000, limit, minRequests: 100 } });
const evidence = { ...anEpisode().evidence, value: 0.1, baseline: { version: '1', value: 0.01 } };

async function recover(
  errors: number,
  rules: readonly Rule[] = [comparing],
  changes: Partial<Parameters<typeof anEpisode>[0]> = {},
  names?: Readonly<Record<string, string>>,
) {
  return await judgeRecovery({
    episode: anEpisode({ evidence, ...changes }),
    model: aModel(),
    source: sourceOf(errors),
    sources: new Map(),
    rules,
    switchedAtMs: noonMs - 60_000,
    nowMs: noonMs,
    names,
    signal: new AbortController().signal,
  });
}

describe('recovery from a breach against the baseline', () => {
  it('is reached when the target is nearer to what it was beside the bad version than to that', async () => {
    expect(await recover(55)).toEqual({ kind: 'recovered', reason: 'ErrorsHigh: error ratio 5.5% (55 of 1000) ≤ 5.5%' });
    expect(await recover(56)).toMatchObject({ kind: 'breaching' });
  });

  it('is left to the other rules where nothing is known of the target from before', async () => {
    const other = { evidence: { ...evidence, baseline: { version: '0', value: 0.01 } } };

    expect(await recover(0, [comparing], other)).toMatchObject({ kind: 'unknown' });
    expect(await recover(0, [comparing, aRule({ id: 'fraud/Fixed', alert: 'Fixed' })], other)).toMatchObject({ kind: 'recovered' });
  });
});

describe('recovery where metrics know versions by other names', () => {
  it('is that of the target by its name there', async () => {
    expect(await recover(1, [aRule()], { to: 'v1' }, { '1': 'v1' })).toMatchObject({ kind: 'recovered' });
    expect(await recover(1, [aRule()], { to: 'v1' }, {})).toMatchObject({ kind: 'unknown' });
  });
});
