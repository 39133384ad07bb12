import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Episode, EpisodeState, EpisodeStep } from '../../src/domain/episode.ts';
import type { JournalEvent, StoredEvent } from '../../src/domain/event.ts';
import { type Journal, JournalError } from '../../src/domain/ports.ts';
import { applyToEpisode, type EpisodeEvent, openEpisode } from '../../src/domain/projection.ts';
import type { OutboxMessage } from '../../src/domain/records.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { aDecision, aMessage, anEpisode, aStep, startMs } from './journal-builders.ts';

/** A journal that can show and refold its projections. */
export type RebuildableJournal = Journal & { rebuild(): Promise<number>; projections(): Promise<Readonly<Record<string, readonly unknown[]>>> };

const opened = (changes: Partial<Episode> = {}): JournalEvent => ({ type: 'episode_opened', episode: anEpisode(changes) });
const state = (to: EpisodeState, more: Partial<Extract<EpisodeEvent, { type: 'episode_state' }>> = {}): EpisodeEvent => ({
  type: 'episode_state',
  episodeId: 'rb_1',
  atMs: startMs + 5,
  state: to,
  detail: '',
  ...more,
});
const planned = (...steps: EpisodeStep[]): EpisodeEvent => ({ type: 'steps_planned', episodeId: 'rb_1', atMs: startMs, steps });
const intent = (step: string, inverse = false, atMs = startMs + 1): EpisodeEvent => ({ type: 'step_intent', episodeId: 'rb_1', atMs, step, inverse });
const outcome = (step: string, to: EpisodeStep['state'], more: Partial<Extract<EpisodeEvent, { type: 'step_outcome' }>> = {}): EpisodeEvent => ({
  type: 'step_outcome',
  episodeId: 'rb_1',
  atMs: startMs + 2,
  step,
  state: to,
  detail: 'ok',
  ...more,
});

/** What every journal keeps to, whatever stores it. */
export function journalContract(name: string, open: (clock: FakeClock) => Promise<RebuildableJournal>): void {
  describe(`journal contract: ${name}`, () => {
    let clock: FakeClock;
    let journal: RebuildableJournal;

    beforeEach(async () => {
      clock = new FakeClock(startMs);
      journal = await open(clock);
    });
    afterEach(async () => {
      await journal.close();
    });

    const refused = async (...events: JournalEvent[]): Promise<string> => {
      const before = { projections: await journal.projections(), events: (await journal.events(0, 1000)).length };
      const error = await journal.append(events).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(JournalError);
      expect({ projections: await journal.projections(), events: (await journal.events(0, 1000)).length }).toEqual(before);
      return (error as JournalError).message;
    };

    describe('append', () => {
      it('numbers events from 1, stamps clock and epoch, and reads them back in order', async () => {
        await journal.append([opened()]);
        clock.jump(startMs + 1000);
        const stored = await journal.append([state('staging'), { type: 'decision', decision: aDecision() }]);

        expect(stored.map(({ seq, atMs, epoch, event }) => [seq, atMs - startMs, epoch, event.type])).toEqual([
          [2, 1000, 1, 'episode_state'],
          [3, 1000, 1, 'decision'],
        ]);
        expect(await journal.events(1, 10)).toEqual(stored);
        expect((await journal.events(0, 2)).map(({ seq }) => seq)).toEqual([1, 2]);
      });

      it('keeps the order of calls that were not awaited', async () => {
        const stored = await Promise.all(
          Array.from({ length: 20 }, async (_, index) => await journal.append([{ type: 'decision', decision: aDecision({ id: `d${index}` }) }])),
        );

        expect(stored.flat().map(({ seq, event }) => [seq, event.type === 'decision' ? event.decision.id : ''])).toEqual(
          Array.from({ length: 20 }, (_, index) => [index + 1, `d${index}`]),
        );
        expect(await journal.verify()).toEqual({ ok: true, events: 20 });
      });

      it('is all or nothing', async () => {
        const message = await refused(opened(), { type: 'decision', decision: aDecision() }, state('staging', { episodeId: 'rb_9' }));

        expect(message).toContain('episode_state: there is no episode rb_9; nothing of this append was written');
        expect(await journal.episode('rb_1')).toBeNull();
      });

      it('goes on after a refused append', async () => {
        await refused(state('staging'));
        await journal.append([opened()]);

        expect(await journal.verify()).toEqual({ ok: true, events: 1 });
      });

      it('of nothing writes nothing', async () => {
        expect(await journal.append([])).toEqual([]);
      });

      it('keeps any text, also what is no valid Unicode', async () => {
        const detail = 'a\u0000b\ud800 "quoted" \\ 🙂 \u2028';
        await journal.append([opened({ detail })]);

        expect((await journal.episode('rb_1'))?.detail).toBe(detail);
        expect(await journal.verify()).toEqual({ ok: true, events: 1 });
      });

      it('rejects after close, and so does reading', async () => {
        await journal.close();

        await expect(journal.append([opened()])).rejects.toThrow(JournalError);
        await expect(journal.episodes({})).rejects.toThrow('is closed');
        await expect(journal.close()).resolves.toBeUndefined();
      });

      it('finishes what was appended before close', async () => {
        const stored = journal.append([opened()]);
        const closed = journal.close();

        await expect(stored).resolves.toHaveLength(1);
        await closed;
      });
    });

    describe('episodes', () => {
      it('are the fold of their events', async () => {
        await journal.append([opened(), state('staging', { changes: { startedAtMs: startMs + 5 } }), planned(aStep('stage 6'), aStep('switch to 6'))]);
        await journal.append([intent('stage 6'), intent('stage 6'), outcome('stage 6', 'done')]);
        await journal.append([
          { type: 'smoke_test', episodeId: 'rb_1', atMs: startMs, results: [{ name: 'one', outcome: 'passed', durationMs: 181, detail: '', when: 'staged' }] },
        ]);

        const episode = await journal.episode('rb_1');
        expect(episode?.state).toBe('staging');
        expect(episode?.startedAtMs).toBe(startMs + 5);
        expect(
          episode?.steps.map(({ name, state: stepState, attempts, startedAtMs, finishedAtMs }) => [name, stepState, attempts, startedAtMs, finishedAtMs]),
        ).toEqual([
          ['stage 6', 'done', 2, startMs + 1, startMs + 2],
          ['switch to 6', 'pending', 0, null, null],
        ]);
        expect(episode?.smokeTests).toHaveLength(1);
      });

      it.each([
        ['succeeded', undefined, 'success'],
        ['failed', undefined, 'failure'],
        ['failed', 'unknown', 'unknown'],
        ['aborted', undefined, 'failure'],
        ['rejected', undefined, 'failure'],
        ['recorded', undefined, null],
      ] as const)('ended as %s (given outcome %s) have outcome %s and a time', async (end, given, expected) => {
        await journal.append([opened(), state(end, given === undefined ? {} : { outcome: given })]);

        const episode = await journal.episode('rb_1');
        expect([episode?.outcome, episode?.finishedAtMs]).toEqual([expected, startMs + 5]);
        expect(await journal.episodes({ open: true })).toEqual([]);
        expect(await journal.episodes({ open: false })).toHaveLength(1);
      });

      it('opened as recorded are finished and block no other', async () => {
        await journal.append([opened({ state: 'recorded', mode: 'dry_run' }), opened({ id: 'rb_2', state: 'recorded' }), opened({ id: 'rb_3' })]);

        expect((await journal.episode('rb_1'))?.finishedAtMs).toBe(startMs);
        expect((await journal.episodes({ open: true })).map(({ id }) => id)).toEqual(['rb_3']);
      });

      it('come newest first, filtered, at most 100', async () => {
        await journal.append(
          Array.from({ length: 120 }, (_, index) =>
            opened({ id: `rb_${index}`, model: `m${index % 3}`, state: 'recorded', detectedAtMs: startMs + Math.floor(index / 2) }),
          ),
        );

        expect((await journal.episodes({ limit: 3 })).map(({ id }) => id)).toEqual(['rb_119', 'rb_118', 'rb_117']);
        expect(await journal.episodes({})).toHaveLength(100);
        expect((await journal.episodes({ model: 'm0', sinceMs: startMs + 58 })).map(({ id }) => id)).toEqual(['rb_117']);
      });

      it.each<[string, JournalEvent[], JournalEvent, string]>([
        ['a second one of the same id', [opened()], opened(), 'is there already'],
        ['a second open one of the same model', [opened()], opened({ id: 'rb_2' }), 'has the open episode rb_1; one at a time'],
        ['a state after the end', [opened(), state('failed')], state('planned'), 'ended as failed; it cannot become planned'],
        ['a second end', [opened(), state('succeeded')], state('succeeded'), 'ended as succeeded'],
        ['a plan after the end', [opened(), state('failed')], planned(), 'a plan came after its end'],
        ['an intent after the end', [opened(), planned(aStep('a')), state('failed')], intent('a'), 'the intent of step "a" came after its end'],
        ['an outcome while open', [opened()], state('staging', { outcome: 'success' }), 'an open episode has none'],
        ['a failure that succeeded', [opened()], state('succeeded', { outcome: 'failure' }), 'outcome failure does not go with state succeeded'],
        ['an unknown step', [opened(), planned(aStep('a'))], intent('b'), 'has no step "b"; it has "a"'],
        ['an unknown episode', [], intent('a'), 'there is no episode rb_1'],
        ['a plan with a name twice', [opened()], planned(aStep('a'), aStep('a')), 'names step "a" twice'],
        ['an unknown event', [], { type: 'nonsense' } as unknown as JournalEvent, 'unknown event type "nonsense"'],
      ])('refuse %s', async (_, before, event, words) => {
        await journal.append(before);

        expect(await refused(event)).toContain(words);
      });

      it('keep finished steps as history when a new plan comes', async () => {
        await journal.append([opened(), planned(aStep('a'), aStep('b'), aStep('c'), aStep('d'))]);
        await journal.append([intent('a'), outcome('a', 'done'), intent('b'), outcome('b', 'failed'), intent('c'), planned(aStep('b'), aStep('e'))]);

        expect((await journal.episode('rb_1'))?.steps.map((step) => `${step.name} ${step.state}`)).toEqual(['a done', 'b pending', 'e pending']);
      });

      it('count an inverse apart from the mutation, and take a late outcome after the end', async () => {
        await journal.append([opened(), planned(aStep('a')), intent('a'), outcome('a', 'done'), intent('a', true)]);
        expect((await journal.episode('rb_1'))?.steps[0]).toMatchObject({ state: 'inverting', attempts: 1, finishedAtMs: null });

        await journal.append([state('failed'), outcome('a', 'inverted')]);
        expect((await journal.episode('rb_1'))?.steps[0]).toMatchObject({ state: 'inverted', attempts: 1 });
      });

      it('let only the pin change after the end', async () => {
        await journal.append([
          opened({ pinned: true }),
          state('succeeded', { detail: 'done' }),
          state('succeeded', { atMs: startMs + 99, changes: { pinned: false } }),
        ]);

        expect(await journal.episode('rb_1')).toMatchObject({ pinned: false, detail: 'done', finishedAtMs: startMs + 5 });
      });
    });

    it('decisions come newest first, filtered; the same id twice is refused', async () => {
      await journal.append(
        [1, 2, 3].map((index) => ({
          type: 'decision',
          decision: aDecision({ id: `d${index}`, atMs: startMs + index, model: index === 2 ? 'other' : 'fraud' }),
        })),
      );

      expect((await journal.decisions({})).map(({ id }) => id)).toEqual(['d3', 'd2', 'd1']);
      expect((await journal.decisions({ model: 'fraud', limit: 1 })).map(({ id }) => id)).toEqual(['d3']);
      expect((await journal.decisions({ sinceMs: startMs + 2 })).map(({ id }) => id)).toEqual(['d3', 'd2']);
      expect((await journal.decisions({ sinceMs: startMs + 2, untilMs: startMs + 2 })).map(({ id }) => id)).toEqual(['d2']);
      expect(await refused({ type: 'decision', decision: aDecision({ id: 'd1' }) })).toContain('decision d1 is there already');
    });

    it('the ledger keeps the newest line of each version', async () => {
      const line = (version: string, healthyMs: number) => ({
        model: 'fraud',
        version,
        firstSeenMs: 0,
        servingSinceMs: null,
        lastServedMs: null,
        healthyMs,
        healthyRequests: 0,
        lastHealthyMs: null,
        origin: 'watched' as const,
      });
      await journal.append([{ type: 'ledger', entries: [line('6', 1), line('7', 1), line('6', 2)] }]);
      await journal.append([{ type: 'ledger', entries: [line('7', 3)] }]);

      expect((await journal.ledger()).map(({ version, healthyMs }) => [version, healthyMs])).toEqual([
        ['6', 2],
        ['7', 3],
      ]);
    });

    it('quarantine and pauses come and go', async () => {
      const entry = { model: 'fraud', version: '7', sinceMs: startMs, untilMs: startMs + 1, reason: 'rb_1', by: 'rollbackd' };
      const pause = { model: null, sinceMs: startMs, untilMs: null, reason: 'release', by: 'ann' };
      await journal.append([
        { type: 'quarantined', entry },
        { type: 'paused', pause },
        { type: 'paused', pause: { ...pause, model: 'fraud' } },
        { type: 'paused', pause: { ...pause, reason: 'again' } },
      ]);
      expect([await journal.quarantine(), (await journal.pauses()).map(({ model, reason }) => [model, reason])]).toEqual([
        [entry],
        [
          [null, 'again'],
          ['fraud', 'release'],
        ],
      ]);

      await journal.append([
        { type: 'quarantine_lifted', model: 'fraud', version: '7', by: 'ann', atMs: startMs },
        { type: 'resumed', model: null, by: 'ann', atMs: startMs },
      ]);
      expect([await journal.quarantine(), (await journal.pauses()).map(({ model }) => model)]).toEqual([[], ['fraud']]);
    });

    it('rule states and plane memory are kept by key; null forgets', async () => {
      const ruleState = { rule: 'r', version: '7', breachingSinceMs: null, lastSeenMs: 1, lastEvaluatedMs: 1, firingSinceMs: null, keepFiringUntilMs: null };
      await journal.append([
        opened(),
        planned(aStep('a')),
        intent('a'),
        outcome('a', 'done', { remember: { plane: 'tfs', values: { original: { latest: 1 }, gone: 1 } } }),
      ]);
      await journal.append([
        { type: 'plane_memory', plane: 'tfs', values: { gone: null, more: 2 }, atMs: startMs },
        { type: 'rule_states', states: { 'r 7': ruleState, 'r 6': ruleState } },
      ]);
      await journal.append([{ type: 'rule_states', states: { 'r 6': null } }]);

      expect(await journal.planeMemory()).toEqual(new Map([['tfs', { original: { latest: 1 }, more: 2 }]]));
      expect(await journal.ruleStates()).toEqual(new Map([['r 7', ruleState]]));
    });

    it('takes thousands of rule states in one append', async () => {
      const ruleState = { rule: 'r', version: '7', breachingSinceMs: null, lastSeenMs: 1, lastEvaluatedMs: 1, firingSinceMs: null, keepFiringUntilMs: null };
      const states = Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`r${index} 7`, ruleState]));
      await journal.append([{ type: 'rule_states', states }]);
      await journal.append([{ type: 'rule_states', states: Object.fromEntries(Object.keys(states).map((key) => [key, null])) }]);

      expect((await journal.ruleStates()).size).toBe(0);
    });

    it('the outbox holds what waits, oldest first, and an id once', async () => {
      await journal.append([
        { type: 'message_enqueued', message: aMessage({ id: 'a' }) },
        { type: 'message_enqueued', message: aMessage({ id: 'b' }) },
        { type: 'message_enqueued', message: aMessage({ id: 'a', receiver: 'other' }) },
      ]);
      const attempt = (id: string, to: OutboxMessage['state']): JournalEvent => ({
        type: 'message_attempt',
        id,
        atMs: startMs,
        state: to,
        notBeforeMs: startMs + 9,
        detail: 'x',
      });
      await journal.append([attempt('b', 'waiting')]);
      expect((await journal.outbox()).map(({ id, receiver, attempts, notBeforeMs }) => [id, receiver, attempts, notBeforeMs])).toEqual([
        ['a', 'ml-oncall', 0, 0],
        ['b', 'ml-oncall', 1, startMs + 9],
      ]);

      await journal.append([attempt('a', 'sent'), { type: 'message_enqueued', message: aMessage({ id: 'a' }) }]);
      expect((await journal.outbox()).map(({ id }) => id)).toEqual(['b']);
      expect(await refused(attempt('a', 'sent'))).toContain('message a is sent');
      expect(await refused(attempt('zz', 'sent'))).toContain('there is no message zz');
    });

    it('prunes closed detail from the projections; events, episodes and what still waits stay', async () => {
      await journal.append([
        opened(),
        { type: 'decision', decision: aDecision() },
        { type: 'decision', decision: aDecision({ id: 'd2', atMs: startMs + 10 }) },
      ]);
      await journal.append([
        { type: 'message_enqueued', message: aMessage({ id: 'a' }) },
        { type: 'message_enqueued', message: aMessage({ id: 'b' }) },
        { type: 'message_attempt', id: 'a', atMs: startMs, state: 'sent', notBeforeMs: 0, detail: '' },
      ]);

      expect(await journal.prune(startMs + 10)).toEqual({ removed: 2 });
      expect(await journal.prune(startMs + 10)).toEqual({ removed: 0 });
      expect((await journal.decisions({})).map(({ id }) => id)).toEqual(['d2']);
      expect((await journal.outbox()).map(({ id }) => id)).toEqual(['b']);
      expect(await journal.verify()).toEqual({ ok: true, events: 6 });
      await journal.append([{ type: 'message_enqueued', message: aMessage({ id: 'a' }) }]);
      expect((await journal.outbox()).map(({ id }) => id)).toEqual(['b']);
      const before = await journal.projections();
      await journal.rebuild();
      expect(await journal.projections()).toEqual(before);
    });

    describe('removal of old events', () => {
      const pause = (): JournalEvent => ({ type: 'resumed', model: null, by: 'ann', atMs: startMs });

      it('leaves a chain that can be verified and goes on, and says in it what is gone', async () => {
        for (let index = 0; index < 6; index += 1) {
          clock.jump(startMs + index);
          await journal.append([pause()]);
        }
        const kept = (await journal.events(0, 10))[3];

        expect(await journal.removeEvents(startMs + 3)).toEqual({ removed: 3 });

        const left = await journal.events(0, 10);
        expect(left.map(({ seq }) => seq)).toEqual([4, 5, 6, 7]);
        expect(left[0]).toEqual(kept);
        expect(left.at(-1)?.event).toMatchObject({ type: 'events_removed', upToSeq: 3, beforeMs: startMs + 3 });
        expect(await journal.verify()).toEqual({ ok: true, events: 4 });
        expect(await journal.removeEvents(startMs + 3)).toEqual({ removed: 0 });
        expect(await journal.removeEvents(startMs + 5)).toEqual({ removed: 2 });
        await journal.append([pause()]);
        expect(await journal.verify()).toEqual({ ok: true, events: 4 });
        await expect(journal.rebuild()).rejects.toThrow('events up to 5 were removed');
      });

      it('stops before an event that is young, and before an open episode', async () => {
        await journal.append([pause(), pause()]);
        await journal.append([opened(), pause()]);
        clock.jump(startMs + 100);
        await journal.append([pause()]);
        clock.jump(startMs + 50);
        await journal.append([pause()]);

        expect(await journal.removeEvents(startMs + 60)).toEqual({ removed: 2 });
        await journal.append([state('failed')]);
        expect(await journal.removeEvents(startMs + 60)).toEqual({ removed: 2 });
        expect((await journal.events(0, 10))[0]).toMatchObject({ seq: 5, atMs: startMs + 100 });
        expect(await journal.verify()).toMatchObject({ ok: true });
        expect(await journal.episode('rb_1')).toMatchObject({ state: 'failed' });
      });
    });

    it('confirms its epoch, and goes on with a new one it takes', async () => {
      const before = journal.epoch;
      await journal.confirmEpoch();

      expect(await journal.takeEpoch()).toBe(before + 1);

      await journal.confirmEpoch();
      expect((await journal.append([opened()]))[0]?.epoch).toBe(before + 1);
      expect(await journal.verify()).toEqual({ ok: true, events: 1 });
    });

    it('knows its size', async () => {
      expect(await journal.sizeBytes()).toBeGreaterThan(1000);
    });

    it('projections are the fold of the events, whatever the events', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(anyEvent, { minLength: 1, maxLength: 4 }), { maxLength: 25 }), async (appends) => {
          const mine = await open(new FakeClock(startMs));
          try {
            let accepted = 0;
            for (const events of appends) {
              accepted += await mine.append(events).then(
                (stored) => stored.length,
                (error: unknown) => {
                  if (error instanceof JournalError) return 0;
                  throw error;
                },
              );
            }
            expect(await mine.verify()).toEqual({ ok: true, events: accepted });
            const stored = await mine.events(0, 10_000);
            for (const episode of await mine.episodes({})) expect(episode).toEqual(foldOf(episode.id, stored));
            const before = await mine.projections();
            await mine.rebuild();
            expect(await mine.projections()).toEqual(before);
          } finally {
            await mine.close();
          }
        }),
        { numRuns: 40 },
      );
    });
  });
}

/** The same fold, without any table. */
function foldOf(id: string, stored: readonly StoredEvent[]): Episode | null {
  let episode: Episode | null = null;
  for (const { event } of stored) {
    if (event.type === 'episode_opened' && event.episode.id === id) episode = openEpisode(event);
    if (episode !== null && 'episodeId' in event && event.episodeId === id) episode = applyToEpisode(episode, event);
  }
  return episode;
}

const episodeId = fc.constantFrom('rb_1', 'rb_2');
const stepName = fc.constantFrom('a', 'b', 'c');
const atMs = fc.integer({ min: startMs, max: startMs + 1000 });
const version = fc.constantFrom('6', '7');
const episodeState = fc.constantFrom<EpisodeState>('planned', 'staging', 'switching', 'confirming', 'watching', 'succeeded', 'failed', 'aborted');
const stepState = fc.constantFrom<EpisodeStep['state']>('done', 'failed', 'inverted');

/** Events over a few names, so that many fit and many do not. */
const anyEvent: fc.Arbitrary<JournalEvent> = fc.oneof(
  fc.record({ type: fc.constant('episode_opened' as const), episode: fc.record({ id: episodeId, model: fc.constantFrom('m1', 'm2') }).map(anEpisode) }),
  fc.record({
    type: fc.constant('episode_state' as const),
    episodeId,
    atMs,
    state: episodeState,
    detail: fc.string(),
    changes: fc.constantFrom({}, { pinned: true }, { triedTargets: ['6'], to: '5' }),
  }),
  fc.record({ type: fc.constant('steps_planned' as const), episodeId, atMs, steps: fc.uniqueArray(stepName).map((names) => names.map((name) => aStep(name))) }),
  fc.record({ type: fc.constant('step_intent' as const), episodeId, atMs, step: stepName, inverse: fc.boolean() }),
  fc.record({
    type: fc.constant('step_outcome' as const),
    episodeId,
    atMs,
    step: stepName,
    state: stepState,
    detail: fc.string(),
    remember: fc.constantFrom({ plane: 'p', values: { a: 1, b: null } }, { plane: 'p', values: { b: [1] } }),
  }),
  fc.record({ type: fc.constant('decision' as const), decision: fc.record({ id: fc.constantFrom('d1', 'd2', 'd3'), atMs }).map(aDecision) }),
  fc.record({
    type: fc.constant('ledger' as const),
    entries: fc.array(
      fc.record({
        model: fc.constant('m1'),
        version,
        firstSeenMs: atMs,
        servingSinceMs: fc.option(atMs),
        lastServedMs: fc.option(atMs),
        healthyMs: fc.nat(),
        healthyRequests: fc.double(),
        lastHealthyMs: fc.option(atMs),
        origin: fc.constant('watched' as const),
      }),
    ),
  }),
  fc.record({
    type: fc.constant('quarantined' as const),
    entry: fc.record({ model: fc.constant('m1'), version, sinceMs: atMs, untilMs: atMs, reason: fc.string(), by: fc.string() }),
  }),
  fc.record({ type: fc.constant('quarantine_lifted' as const), model: fc.constant('m1'), version, by: fc.string(), atMs }),
  fc.record({
    type: fc.constant('paused' as const),
    pause: fc.record({ model: fc.constantFrom(null, 'm1'), sinceMs: atMs, untilMs: fc.option(atMs), reason: fc.string(), by: fc.string() }),
  }),
  fc.record({ type: fc.constant('resumed' as const), model: fc.constantFrom(null, 'm1'), by: fc.string(), atMs }),
  fc.record({
    type: fc.constant('plane_memory' as const),
    plane: fc.constantFrom('p', 'q'),
    values: fc.dictionary(fc.constantFrom('a', 'b'), fc.oneof(fc.constant(null), fc.jsonValue())),
    atMs,
  }),
  fc.record({ type: fc.constant('message_enqueued' as const), message: fc.record({ id: fc.constantFrom('x', 'y'), enqueuedMs: atMs }).map(aMessage) }),
  fc.record({
    type: fc.constant('message_attempt' as const),
    id: fc.constantFrom('x', 'y'),
    atMs,
    state: fc.constantFrom<OutboxMessage['state']>('waiting', 'sent', 'dropped'),
    notBeforeMs: atMs,
    detail: fc.string(),
  }),
);
