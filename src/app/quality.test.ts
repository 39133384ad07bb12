import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aPolicy, aRule } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { setStage } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { Answer, QualityQuestion, QualityValue } from '../domain/measurement.ts';
import type { Journal, Source } from '../domain/ports.ts';
import type { Condition } from '../domain/rule.ts';

const minuteMs = 60_000;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] } });
const condition: Condition = { kind: 'quality', of: { kind: 'metric', metric: 'accuracy' }, limit: { op: 'below', value: 0.9 }, maxAgeMs: null };

/** A registry in memory: accuracy per version, by its own names of them. */
class FakeRegistrySource implements Source {
  readonly accuracy = new Map<string, Omit<QualityValue, 'measuredMs'>>();
  readonly asked: QualityQuestion[] = [];
  failure: string | null = null;
  readonly askExpr = null;
  readonly history = null;

  readonly askQuality = async (questions: readonly QualityQuestion[], atMs: number): Promise<ReadonlyMap<string, Answer>> => {
    await Promise.resolve();
    this.asked.push(...questions);
    return new Map(
      questions.map(({ id, versions }): [string, Answer] => {
        if (this.failure !== null) return [id, { kind: 'error', reason: this.failure }];
        const values = versions.flatMap((version): [string, QualityValue][] => {
          const found = this.accuracy.get(version);
          // Measured long before anything here began.
          return found === undefined ? [] : [[version, { ...found, measuredMs: atMs - 30 * 86_400_000 }]];
        });
        return [id, { kind: 'quality', values: new Map(values) }];
      }),
    );
  };

  async ask(): Promise<ReadonlyMap<string, Answer>> {
    throw new Error('a registry counts no requests');
  }
  describe = () => new Map();
  up = () => true;
  whyDown = () => null;
  async close(): Promise<void> {}
}

describe('a rule on the quality of a version', () => {
  let clock: FakeClock;
  let journal: Journal;
  let source: FakeSource;
  let registry: FakeRegistrySource;
  let plane: FakePlane;
  let close: () => Promise<void> = async () => undefined;

  beforeEach(async () => {
    clock = new FakeClock();
    journal = await openMemoryJournal({ clock });
    source = new FakeSource();
    registry = new FakeRegistrySource();
    registry.accuracy.set('1', { value: 0.95, note: 'run r1' });
    registry.accuracy.set('2', { value: 0.8, note: 'run r2' });
    plane = new FakePlane({ clock, serving: '2', loadMs: 1_000 });
  });

  afterEach(async () => {
    await close();
    await journal.close();
  });

  async function watch(durationMs: number, pattern: string | null = null, more: readonly Condition[] = []) {
    const quality = { source: 'registry', model: 'fraud', versionPattern: pattern };
    const rules = [condition, ...more].map((each, index) => aRule({ id: `fraud/Rule${index}`, alert: `Rule${index}`, condition: each, forMs: 10_000 }));
    const { app } = await setStage({ clock, journal, plane, source, sources: { registry }, model: { quality, rollback: policy }, rules });
    close = async () => await app.stop(0);
    app.start();
    await clock.advance(durationMs);
    return { verdicts: app.board.of('fraud'), episodes: await journal.episodes({}) };
  }

  it('rolls back the worse version without asking for requests, and is content with the better one', async () => {
    const { episodes } = await watch(6 * minuteMs);

    expect(plane.serving()).toEqual(['1', '1']);
    expect(episodes).toMatchObject([
      {
        from: '2',
        to: '1',
        state: 'succeeded',
        outcome: 'success',
        reason: expect.stringMatching(/^accuracy 0\.8 \(run r2\) < 0\.9 for 10s, for: 10s$/) as string,
        evidence: { signal: 'quality', value: 0.8, threshold: 0.9, requests: null, window: null },
      },
    ]);
  });

  it('asks for the versions that serve, by the registry’s names', async () => {
    registry.accuracy.set('02', { value: 0.8, note: 'run r2' });

    const { verdicts } = await watch(minuteMs / 2, '(\\d)');

    expect(new Set(registry.asked.flatMap(({ versions }) => versions))).toEqual(new Set(['2', '1']));
    expect(verdicts.length).toBeGreaterThan(0);
  });

  it.each([
    ['it was never measured', () => void registry.accuracy.delete('2'), 'no_data', 'no value of accuracy for this version'],
    ['it is no number', () => void registry.accuracy.set('2', { value: Number.NaN, note: 'run r2' }), 'no_data', 'accuracy is NaN'],
    ['the registry fails', () => void (registry.failure = 'MLflow answered 503'), 'error', 'MLflow answered 503'],
  ])('does nothing when %s', async (_name, arrange, kind, words) => {
    arrange();

    const { verdicts, episodes } = await watch(3 * minuteMs);

    expect(episodes).toEqual([]);
    expect(verdicts).toMatchObject([{ version: '2', kind, reason: expect.stringContaining(words) as string }]);
  });

  it('does nothing when the version has no name in the registry', async () => {
    const { verdicts } = await watch(minuteMs, 'fraud-(\\d+)');

    expect(verdicts).toMatchObject([{ kind: 'no_data', reason: 'no value of accuracy for this version: registry_version does not fit 2' }]);
  });

  it('ends as a failure when the target is no better, and moves nothing further', async () => {
    registry.accuracy.set('1', { value: 0.7, note: 'run r1' });

    const { episodes } = await watch(12 * minuteMs);

    expect(episodes).toMatchObject([{ state: 'failed', outcome: 'failure', detail: expect.stringContaining('accuracy 0.7 (run r1) < 0.9') as string }]);
    expect(plane.serving()).toEqual(['1', '1']);
  });

  it('judges beside rules on requests, each by its own source', async () => {
    registry.accuracy.set('2', { value: 0.99, note: 'run r2' });
    source.traffic.set('2', { requests: 100, errorRatio: 0 });

    const { verdicts } = await watch(minuteMs, null, [{ kind: 'error_ratio', windowMs: 60_000, limit: { op: 'above', value: 0.05 }, minRequests: 100 }]);

    expect(verdicts.map(({ kind, reason }) => `${kind}: ${reason}`)).toEqual(['ok: accuracy 0.99 (run r2) ≥ 0.9', 'ok: error ratio 0% (0 of 6000) ≤ 5%']);
    // What is shown beside it makes its service count.
    expect(verdicts[0]?.requests).toBe(6000);
  });
});
