import { describe, expect, it } from 'vitest';
import { aLedgerEntry, anEpisode, anObservation, noonMs } from '../../test/support/builders.ts';
import { consequence, type Judgement } from './decide.ts';
import type { HeldGuard } from './decision.ts';
import type { Episode, EpisodeGroup } from './episode.ts';
import { gateOf, judgeGroup, releaseOf, spellOthers, standingOfPeer } from './group-rollback.ts';

const hourMs = 3_600_000;

describe('the release that a model leaves', () => {
  it.each<[string, Parameters<typeof releaseOf>[0]['ledger'], number | null]>([
    ['began when its target last served', [aLedgerEntry('1', { lastServedMs: noonMs }), aLedgerEntry('2', { servingSinceMs: noonMs + 5_000 })], noonMs],
    [
      'began with the bad version while the target still serves beside it',
      [aLedgerEntry('1', { servingSinceMs: noonMs - hourMs, lastServedMs: noonMs + hourMs }), aLedgerEntry('2', { servingSinceMs: noonMs })],
      noonMs,
    ],
    ['began with the bad version when nobody saw the target serve', [aLedgerEntry('2', { servingSinceMs: noonMs })], noonMs],
    ['is not known without a record', [], null],
  ])('%s', (_name, ledger, expected) => {
    expect(releaseOf({ from: '2', to: '1', ledger })).toBe(expected);
  });
});

describe('a model of the group', () => {
  const standing = (changes: Partial<Parameters<typeof standingOfPeer>[0]>, releasedMs: number | null = noonMs) =>
    standingOfPeer({ observation: anObservation('7'), ledger: [aLedgerEntry('7', { firstSeenMs: noonMs })], episodes: [], ...changes }, releasedMs);

  it('follows when its version came with the release', () => {
    expect(standing({})).toEqual({ kind: 'follows', from: '7' });
  });

  it('follows when nobody knows since when its version or the release is there', () => {
    expect(standing({ ledger: [] })).toEqual({ kind: 'follows', from: '7' });
    expect(standing({ ledger: [aLedgerEntry('7')] }, null)).toEqual({ kind: 'follows', from: '7' });
  });

  it('stays when its version was there before', () => {
    expect(standing({ ledger: [aLedgerEntry('7', { firstSeenMs: noonMs - 1 })] })).toEqual({
      kind: 'stays',
      reason: 'version 7 served before the release, since 2026-11-22T11:59:59.999Z',
    });
  });

  it('stays when its version is what it went back to after the release, though it had never served before', () => {
    const back = anEpisode({ id: 'rb_9', model: 'ranker', from: '8', to: '7', state: 'succeeded', switchedAtMs: noonMs + hourMs });
    expect(standing({ episodes: [back] })).toEqual({ kind: 'stays', reason: 'version 7 is what it went back to (rb_9)' });
    expect(standing({ episodes: [{ ...back, switchedAtMs: noonMs - hourMs }] })).toEqual({ kind: 'follows', from: '7' });
    expect(standing({ episodes: [{ ...back, switchedAtMs: null }] })).toEqual({ kind: 'follows', from: '7' });
  });

  it('follows with the canary that came with the release, not with what serves beside it', () => {
    const serving = [
      { version: '6', share: 0.9 },
      { version: '7', share: 0.1 },
    ];
    expect(standing({ observation: anObservation('7', { serving }), ledger: [aLedgerEntry('6'), aLedgerEntry('7', { firstSeenMs: noonMs })] })).toEqual({
      kind: 'follows',
      from: '7',
    });
  });

  it('stays when nothing of it serves', () => {
    expect(standing({ observation: anObservation(null) })).toEqual({ kind: 'stays', reason: 'nothing of it serves' });
  });
});

describe('the judgement on a group', () => {
  const choice = { target: '1', reason: 'known good', refused: [] };
  const judgement = (...held: HeldGuard[]): Judgement => ({ ...(held[0] ?? { reason: 'go', detail: 'roll back 2 to 1' }), held, choice });
  const paused = { reason: 'paused', detail: 'the model is paused' } as const;
  const dryRun = { reason: 'dry_run', detail: 'mode is dry_run' } as const;
  const approval = { reason: 'approval_needed', detail: 'require_approval: always' } as const;

  it.each<[string, HeldGuard[], HeldGuard[], string, string]>([
    ['goes when none holds', [], [], 'rollback', 'roll back 2 to 1'],
    ['is held by a guard of a peer', [], [paused], 'hold', 'ranker (group checkout): the model is paused'],
    ['is held by a guard of a peer that comes before one of its own', [dryRun], [paused], 'hold', 'ranker (group checkout): the model is paused'],
    ['is a dry run while one of them is in dry run', [], [dryRun], 'dry_run', 'ranker (group checkout): mode is dry_run'],
    ['waits for a person when one of them must', [], [approval], 'approval', 'ranker (group checkout): require_approval: always'],
    ['is a dry run rather than a question', [approval], [dryRun], 'dry_run', 'require_approval: always'],
  ])('%s', (_name, own, peers, expected, detail) => {
    const found = judgeGroup('checkout', judgement(...own), [{ model: 'ranker', held: peers }]);

    expect([consequence(found), found.detail]).toEqual([expected, detail]);
    expect(found.choice).toBe(choice);
  });
});

describe('a member of a group', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((model) => ({ model, episode: `rb_${model}` }));
  const ofGroup =
    (kind: EpisodeGroup['kind']) =>
    (model: string, changes: Partial<Episode> = {}) =>
      anEpisode({
        id: `rb_${model}`,
        model,
        ...changes,
        group: { name: 'checkout', kind, leader: 'rb_b', members: [a, b, c].filter((member) => member !== undefined), stays: [], releasedMs: null },
      });
  const together = ofGroup('together');
  const ordered = ofGroup('ordered');
  const staged = { state: 'staging', stagedAtMs: noonMs } as const;
  const failed = { state: 'failed', finishedAtMs: noonMs, detail: 'no such file' } as const;
  const switched = { state: 'failed', finishedAtMs: noonMs, switchedAtMs: noonMs, detail: 'no recovery' } as const;
  const step = { name: 'switch', phase: 'switch', endpoint: 'a', barrier: 0, mutation: {}, inverse: null, expect: {} } as const;
  const halfSwitched = { ...failed, steps: [{ name: 'switch', state: 'done', startedAtMs: 0, finishedAtMs: 0, detail: '', attempts: 1, step }] } as const;

  it.each<[string, readonly Episode[], 'begin' | 'switch', string]>([
    ['begins at once', [together('a'), together('b'), together('c')], 'begin', 'go'],
    ['waits while a person is asked', [together('a'), together('b', { state: 'pending_approval' }), together('c')], 'begin', 'wait'],
    ['is rejected with the leader', [together('a'), together('b', { state: 'rejected' }), together('c')], 'begin', 'stop rejected'],
    ['does not begin when one gave up', [together('a'), together('b', failed), together('c')], 'begin', 'stop aborted'],
    ['does not switch before all are ready', [together('a', staged), together('b', staged), together('c', { state: 'staging' })], 'switch', 'wait'],
    ['switches when all are ready', [together('a', staged), together('b', staged), together('c', staged)], 'switch', 'go'],
    ['does not switch when one gave up', [together('a', staged), together('b', staged), together('c', failed)], 'switch', 'stop aborted'],
    ['switches after another has', [together('a', staged), together('b', { state: 'switching' }), together('c', { state: 'staging' })], 'switch', 'go'],
    [
      'switches after another has, though a third gave up',
      [together('a', staged), together('b', failed), together('c', { state: 'watching' })],
      'switch',
      'go',
    ],
    ['switches after another has that failed later', [together('a', staged), together('b', switched), together('c', staged)], 'switch', 'go'],
    ['switches after another has on one replica', [together('a', staged), together('b', halfSwitched), together('c', staged)], 'switch', 'go'],
  ])('that goes together %s', (_name, members, gate, expected) => {
    const found = gateOf(members[0] ?? anEpisode(), members, gate);

    expect(found.kind === 'stop' ? `stop ${found.state}` : found.kind).toBe(expected);
  });

  it.each<[string, readonly Episode[], string]>([
    ['waits for the one before', [ordered('a', { state: 'watching' }), ordered('b')], 'wait'],
    ['begins when the one before has succeeded', [ordered('a', { state: 'succeeded' }), ordered('b')], 'go'],
    ['stays when the one before failed, also after its switch', [ordered('a', switched), ordered('b')], 'stop'],
    ['begins when it is the first', [ordered('b'), ordered('c')], 'go'],
  ])('of an ordered group %s', (_name, members, expected) => {
    const own = members.find(({ id }) => id === 'rb_b') ?? anEpisode();

    expect(gateOf(own, members, 'begin').kind).toBe(expected);
  });

  it('of an ordered group that goes first waits while the leader waits for a person', () => {
    expect(gateOf(ordered('a'), [ordered('a'), ordered('b', { state: 'pending_approval' })], 'begin').kind).toBe('wait');
  });

  it('tells at its end how the others stand, and loudly when they are apart', () => {
    const succeeded = { state: 'succeeded', finishedAtMs: noonMs, switchedAtMs: noonMs } as const;

    expect(spellOthers(together('a', succeeded), [together('a', succeeded), together('b', { state: 'watching' })])).toBe('group checkout: b (rb_b) went to 1');
    expect(spellOthers(together('a', failed), [together('a', failed), together('b', failed)])).toBe('group checkout: b (rb_b) stays at 2 (failed)');
    const apart =
      'Not in step any more, group checkout: b (rb_b) went to 1 and ended succeeded. Nothing is put back: bring the rest to the versions that go with these, by hand';
    expect(spellOthers(together('a', failed), [together('a', failed), together('b', succeeded)])).toBe(apart);
    expect(spellOthers(anEpisode(), [])).toBe('');
  });
});
