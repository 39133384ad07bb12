import { describe, expect, it } from 'vitest';
import { aLedgerEntry, anEpisode, anObservation, aPolicy, aVerdict, noonMs } from '../../test/support/builders.ts';
import { consequence, type DecideInput, decide } from './decide.ts';
import type { Episode } from './episode.ts';
import { defaultLimits } from './limits.ts';
import type { Observation } from './observation.ts';

function input(changes: Partial<DecideInput> = {}): DecideInput {
  return {
    notLeader: null,
    nowMs: noonMs,
    model: 'fraud',
    policy: aPolicy(),
    from: '2',
    verdict: aVerdict(),
    verdicts: [aVerdict()],
    observation: anObservation('2'),
    pauses: [],
    episodes: [],
    ledger: [aLedgerEntry('1'), aLedgerEntry('2', { servingSinceMs: noonMs - 60_000, healthyMs: 0 })],
    quarantine: [],
    byHand: false,
    incompatible: new Map(),
    triesNext: false,
    limits: defaultLimits,
    freezes: [],
    isOutside: false,
    fleet: { models: 10, open: [], breakers: [] },
    group: null,
    servedBeforeMs: null,
    episode: null,
    ...changes,
  };
}

function aFlip(id: string, hoursAgo: number): Episode {
  const atMs = noonMs - hoursAgo * 3_600_000;
  return anEpisode({ id, state: 'succeeded', outcome: 'success', startedAtMs: atMs, switchedAtMs: atMs, finishedAtMs: atMs });
}

describe('decide', () => {
  it('goes when no guard holds, to the last version with a healthy record', () => {
    const judgement = decide(input());

    expect(judgement.reason).toBe('go');
    expect(judgement.choice.target).toBe('1');
    expect(consequence(judgement)).toBe('rollback');
  });

  const finished = anEpisode({ id: 'rb_00', state: 'succeeded', outcome: 'success', startedAtMs: noonMs - 700_000, finishedAtMs: noonMs - 600_000 });
  const rows: readonly [string, Partial<DecideInput>, string, RegExp][] = [
    [
      'paused for this model',
      { pauses: [{ model: 'fraud', sinceMs: noonMs - 1, untilMs: null, reason: 'load test', by: 'ada' }] },
      'paused',
      /the model is paused until resumed by ada: load test/,
    ],
    [
      'paused for all models',
      { pauses: [{ model: null, sinceMs: noonMs - 1, untilMs: noonMs + 1, reason: 'x', by: 'ada' }] },
      'paused',
      /all models are paused/,
    ],
    [
      'a freeze window is on',
      { freezes: [{ name: 'load-test', detail: 'load-test is on until 2026-11-28T00:00:00.000Z', allowsManual: true }] },
      'frozen',
      /freeze window load-test is on until 2026-11-28/,
    ],
    [
      'approval is asked for outside of times, and it is outside',
      { policy: aPolicy({ requireApproval: 'outside', activeTimeIntervals: ['office'] }), isOutside: true },
      'approval_needed',
      /require_approval: outside, and it is not the time of office/,
    ],
    [
      'a breaker is open',
      { fleet: { models: 10, open: [], breakers: [{ name: 'breach', sinceMs: noonMs, detail: '4 of 10 models began to breach together' }] } },
      'breaker_open',
      /breach breaker open since 2026-11-22T12:00:00.000Z: 4 of 10 models began to breach together/,
    ],
    ['an episode is open', { episodes: [anEpisode({ state: 'watching' })] }, 'already_rolling_back', /episode rb_01 \(2 to 1\) is watching/],
    ['in the cooldown', { episodes: [finished] }, 'cooldown', /ended 10m ago, cooldown: 30m/],
    [
      'the budget is spent',
      { policy: aPolicy({ cooldownMs: 0, maxPer: { count: 1, windowMs: 3_600_000 } }), episodes: [finished] },
      'budget_spent',
      /1 rollbacks in the last 1h, max_per: 1/,
    ],
    [
      'it went to the same version twice and left it in between',
      {
        policy: aPolicy({ cooldownMs: 0, maxPer: { count: 9, windowMs: 3_600_000 } }),
        episodes: [aFlip('rb_a', 20), aFlip('rb_b', 2)],
      },
      'flap_lock',
      /rolled back to 1 twice within 1d \(rb_a and rb_b\), left in between: something brings bad versions back; locked until 2026-11-23T10:00:00.000Z, or until somebody resumes fraud/,
    ],
    [
      'as many rollbacks are under way as may be',
      { fleet: { models: 10, open: [anEpisode({ id: 'rb_x', model: 'ranker', state: 'staging' }), anEpisode({ id: 'rb_y', model: 'shop' })], breakers: [] } },
      'too_many_at_once',
      /2 rollbacks are under way: ranker \(rb_x\), shop \(rb_y\); max_models_share: 20% of 10 models, so 2 at once/,
    ],
    ['every version breaches', { verdicts: [aVerdict(), aVerdict({ version: '1' })] }, 'breach_everywhere', /so it is not the version/],
    ['every other version is at least pending', { verdicts: [aVerdict(), aVerdict({ version: '1', kind: 'pending' })] }, 'breach_everywhere', /1: error ratio/],
    ['no version has a record', { ledger: [] }, 'no_target', /no other version is known/],
    [
      'the only target is quarantined',
      { quarantine: [{ model: 'fraud', version: '1', sinceMs: 0, untilMs: noonMs + 1, reason: 'rolled back', by: 'rollbackd' }] },
      'no_target',
      /1: quarantined until/,
    ],
    [
      'the only target would not load',
      {
        observation: anObservation('2', {
          versions: [
            { id: '2', state: 'available' },
            { id: '1', state: 'failed', detail: 'no such file' },
          ],
        }),
      },
      'no_target',
      /could not load it: no such file/,
    ],
    [
      'the plane says its list is not the truth',
      { observation: anObservation('2', { refusals: ['ranker is listed but NOT_FOUND'] }) },
      'no_target',
      /not safe to change: ranker is listed but NOT_FOUND/,
    ],
    ['the plane could not be observed', { observation: null }, 'no_target', /could not be observed/],
    ['someone else switched meanwhile', { observation: anObservation('3') }, 'version_changed', /version 3 serves now, not 2/],
    ['approval is always asked for', { policy: aPolicy({ requireApproval: 'always' }) }, 'approval_needed', /require_approval: always/],
    [
      'a version served for long',
      { ledger: [aLedgerEntry('1'), aLedgerEntry('2', { servingSinceMs: noonMs - 8 * 86_400_000 })] },
      'approval_needed',
      /longer than approval_after: 1w/,
    ],
    ['in a dry run', { policy: aPolicy({ mode: 'dry_run' }) }, 'dry_run', /mode is dry_run/],
  ];
  it.each(rows)('holds when %s', (_name, changes, reason, detail) => {
    const judgement = decide(input(changes));

    expect(judgement.reason).toBe(reason);
    expect(judgement.detail).toMatch(detail);
  });

  it('lets a person roll back in a freeze where the window says so, and a switch be carried through', () => {
    const freeze = { name: 'load-test', detail: 'load-test is on', allowsManual: true };
    const strict = { ...freeze, name: 'audit', allowsManual: false };
    const reasonOf = (changes: Partial<DecideInput>) => decide(input(changes)).reason;

    expect(reasonOf({ freezes: [freeze], byHand: true })).toBe('go');
    expect(reasonOf({ freezes: [freeze, strict], byHand: true })).toBe('frozen');
    expect(reasonOf({ freezes: [strict], episode: anEpisode({ state: 'staging' }) })).toBe('frozen');
    expect(reasonOf({ freezes: [strict], episode: anEpisode({ state: 'switching' }) })).toBe('go');
  });

  it('asks nobody within the times of require_approval: outside', () => {
    expect(decide(input({ policy: aPolicy({ requireApproval: 'outside', activeTimeIntervals: ['office'] }), isOutside: false })).reason).toBe('go');
  });

  it('does not call it everywhere when another version with traffic is well', () => {
    const judgement = decide(input({ verdicts: [aVerdict(), aVerdict({ version: '1', kind: 'ok' }), aVerdict({ version: '0', kind: 'breach' })] }));

    expect(judgement.reason).toBe('go');
  });

  it('takes no version that serves nobody for one that fails alike, nor refuses it as target for that', () => {
    const idle = { rule: 'fraud/Quiet', reason: 'request rate 0/s < 1/s', requests: 0 };

    const judgement = decide(input({ verdict: aVerdict(idle), verdicts: [aVerdict({ ...idle, requests: 500 }), aVerdict({ ...idle, version: '1' })] }));

    expect(judgement).toMatchObject({ reason: 'go', choice: { target: '1' } });
  });

  it('does not take a version without data for one with traffic', () => {
    expect(decide(input({ verdicts: [aVerdict(), aVerdict({ version: '1', kind: 'no_data' })] })).reason).toBe('go');
  });

  it('never picks a target that breaches now by any rule', () => {
    const other = aVerdict({ version: '1', rule: 'fraud/LatencyHigh', kind: 'breach', reason: 'p99 latency 900ms > 250ms' });

    expect(decide(input({ verdicts: [aVerdict(), other] }))).toMatchObject({
      reason: 'no_target',
      detail: expect.stringContaining('breaching now: p99 latency 900ms') as string,
    });
  });

  it('refuses a target that cannot take the requests of today', () => {
    const judgement = decide(input({ incompatible: new Map([['1', 'input rows differs']]), observation: anObservation('3') }));

    expect(judgement).toMatchObject({
      reason: 'incompatible_target',
      detail: 'version 1 cannot take the requests that 2 takes: input rows differs',
      choice: { target: '1' },
    });
    expect(judgement.held.map((guard) => guard.reason)).toEqual(['incompatible_target', 'version_changed']);
    expect(consequence(judgement)).toBe('hold');
  });

  it('passes it over where the next target is tried, while there is one', () => {
    const ledger = [aLedgerEntry('1'), aLedgerEntry('0', { lastServedMs: 1 })];
    const both = new Map([
      ['1', 'a'],
      ['0', 'b'],
    ]);

    expect(decide(input({ ledger, incompatible: new Map([['1', 'a']]), triesNext: true }))).toMatchObject({ reason: 'go', choice: { target: '0' } });
    expect(decide(input({ ledger, incompatible: both, triesNext: true }))).toMatchObject({ reason: 'incompatible_target', choice: { target: '1' } });
  });

  it('records all guards that hold, in order', () => {
    const judgement = decide(input({ policy: aPolicy({ mode: 'dry_run' }), ledger: [], observation: anObservation('3') }));

    expect(judgement.held.map((guard) => guard.reason)).toEqual(['no_target', 'version_changed', 'dry_run']);
    expect(consequence(judgement)).toBe('hold');
  });

  it('records a dry run rather than asking for approval', () => {
    expect(consequence(decide(input({ policy: aPolicy({ mode: 'dry_run', requireApproval: 'always' }) })))).toBe('dry_run');
  });

  it('lets a rollback by hand skip cooldown, budget and approval, and nothing else', () => {
    const policy = aPolicy({ maxPer: { count: 1, windowMs: 3_600_000 }, requireApproval: 'always' });

    expect(decide(input({ byHand: true, policy, episodes: [finished], verdict: null })).reason).toBe('go');
    expect(decide(input({ byHand: true, policy, pauses: [{ model: null, sinceMs: 0, untilMs: null, reason: 'x', by: 'y' }] })).reason).toBe('paused');
    expect(decide(input({ byHand: true, policy, verdict: null, verdicts: [aVerdict(), aVerdict({ version: '1' })] })).reason).toBe('breach_everywhere');
  });

  it('takes its own switch under way for no change by somebody else', () => {
    const episode = anEpisode({ state: 'switching' });

    expect(decide(input({ episode, episodes: [episode], observation: anObservation('1') })).reason).toBe('go');
    expect(decide(input({ episode, episodes: [episode], observation: anObservation('9') })).reason).toBe('version_changed');
  });

  it('sees a third version on one endpoint while its own switch is under way', () => {
    const episode = anEpisode({ state: 'switching' });
    const observation = anObservation('2');
    const [first, second] = observation.endpoints;
    const endpoints = [first, { ...second, serving: [{ version: '3', share: 1 }] }] as typeof observation.endpoints;

    expect(decide(input({ episode, episodes: [episode], observation: { ...observation, endpoints } }))).toMatchObject({
      reason: 'version_changed',
      detail: 'version 3 serves now, not 2: someone else changed it meanwhile',
    });
  });

  describe('while traffic is split', () => {
    const split = (shares: Readonly<Record<string, number>>): Observation => {
      const serving = Object.entries(shares).map(([version, share]) => ({ version, share }));
      return { ...anObservation(null), endpoints: [{ ...(anObservation(null).endpoints[0] as Observation['endpoints'][0]), serving }], serving };
    };

    it('rolls a canary back whose share is small', () => {
      expect(decide(input({ observation: split({ '1': 0.9, '2': 0.1 }) }))).toMatchObject({ reason: 'go', choice: { target: '1' } });
    });

    it('goes on while its own switch takes share from the canary', () => {
      const episode = anEpisode({ state: 'switching' });

      expect(decide(input({ episode, episodes: [episode], observation: split({ '1': 0.95, '2': 0.05 }) })).reason).toBe('go');
    });

    it('holds when a third version would lose its traffic as well', () => {
      expect(decide(input({ observation: split({ '1': 0.1, '2': 0.1, '3': 0.8 }) }))).toMatchObject({
        reason: 'version_changed',
        detail:
          'version 3 serves too, and is neither 2 nor the target 1: all of its traffic would be moved as well; vouch for it (known_good.versions), or wait until its rollout has ended',
      });
    });

    it('holds when the canary has no share any more', () => {
      expect(decide(input({ observation: split({ '1': 1, '2': 0 }) })).reason).toBe('version_changed');
    });
  });

  it('waits for the cooldown after a rollback that could not begin, but not for what a person tried', () => {
    const failed = anEpisode({ id: 'rb_c', state: 'failed', outcome: 'failure', finishedAtMs: noonMs - 1, startedAtMs: null });

    expect(decide(input({ episodes: [failed] })).reason).toBe('cooldown');
    expect(decide(input({ episodes: [{ ...failed, trigger: 'manual' }] })).reason).toBe('go');
  });

  it('counts neither dry runs nor rejected episodes for cooldown and budget', () => {
    const dry = anEpisode({ id: 'rb_a', mode: 'dry_run', state: 'recorded', finishedAtMs: noonMs - 1, startedAtMs: null });
    const rejected = anEpisode({ id: 'rb_b', state: 'rejected', outcome: 'failure', finishedAtMs: noonMs - 1, startedAtMs: null });

    expect(decide(input({ episodes: [dry, rejected] })).reason).toBe('go');
  });
});
