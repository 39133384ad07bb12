import { describe, expect, it } from 'vitest';
import { aLedgerEntry, anObservation, aPolicy, noonMs } from '../../test/support/builders.ts';
import { chooseTarget, compareVersions, type TargetInput } from './target.ts';

function input(changes: Partial<TargetInput> = {}): TargetInput {
  return { from: '9', policy: aPolicy(), observation: anObservation('9'), ledger: [], quarantine: [], verdicts: [], tried: [], nowMs: noonMs, ...changes };
}

describe('chooseTarget', () => {
  it('prefers the version that served last among those with a healthy record', () => {
    const ledger = [
      aLedgerEntry('7', { lastServedMs: noonMs - 9_000 }),
      aLedgerEntry('8', { lastServedMs: noonMs - 1_000, healthyMs: 5 }),
      aLedgerEntry('6', { lastServedMs: noonMs - 5_000 }),
    ];

    const choice = chooseTarget(input({ ledger }));

    expect(choice.target).toBe('6');
    expect(choice.reason).toBe('healthy for 10h on 100000 requests');
    expect(choice.refused).toEqual([{ version: '8', reason: 'healthy for 5ms on 100000 requests, needed: 1h and 1000 requests' }]);
  });

  it('refuses what is more than max_depth versions back', () => {
    const ledger = ['8', '7', '6']
      .map((version, index) => aLedgerEntry(version, { healthyMs: 0, lastServedMs: noonMs - index }))
      .concat(aLedgerEntry('5', { lastServedMs: noonMs - 100 }));

    const choice = chooseTarget(input({ ledger }));

    expect(choice.target).toBeNull();
    expect(choice.reason).toContain('5: more than 3 versions back (max_depth)');
  });

  it('passes over what came with the release that the group leaves, unless it is named or vouched for', () => {
    const ledger = [aLedgerEntry('8', { firstSeenMs: noonMs, lastServedMs: noonMs }), aLedgerEntry('7', { firstSeenMs: noonMs - 1, lastServedMs: noonMs - 1 })];
    const vouched = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['8'] } });

    expect(chooseTarget(input({ ledger, servedBeforeMs: noonMs }))).toMatchObject({
      target: '7',
      refused: [{ version: '8', reason: 'it came with the release that the group leaves: it first served at 2026-11-22T12:00:00.000Z' }],
    });
    expect(chooseTarget(input({ ledger })).target).toBe('8');
    expect(chooseTarget(input({ ledger, servedBeforeMs: noonMs, policy: vouched })).target).toBe('8');
    expect(chooseTarget(input({ ledger, servedBeforeMs: noonMs, policy: aPolicy({ to: { kind: 'version', version: '8' } }) })).target).toBe('8');
  });

  it('takes a version vouched for by hand without a record, but not when it is quarantined', () => {
    const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['4'] } });
    const quarantine = [{ model: 'fraud', version: '4', sinceMs: 0, untilMs: noonMs + 1, reason: 'bad', by: 'ada' }];

    expect(chooseTarget(input({ policy })).target).toBe('4');
    expect(chooseTarget(input({ policy, quarantine })).target).toBeNull();
  });

  it('does not let versions that are merely loaded use up max_depth', () => {
    const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['4'] } });

    expect(chooseTarget(input({ policy, observation: anObservation('9', { others: ['8', '7', '6', '5'] }) })).target).toBe('4');
  });

  it('follows no label on which the endpoints disagree', () => {
    const labelled = anObservation('9');
    const observation = { ...labelled, endpoints: labelled.endpoints.map((endpoint, index) => ({ ...endpoint, routes: { stable: String(index + 3) } })) };

    expect(chooseTarget(input({ observation, policy: aPolicy({ to: { kind: 'label', label: 'stable' } }) }))).toMatchObject({
      target: null,
      reason: 'the label "stable" does not point to one version',
    });
  });

  it('does not take a version merely because it is loaded', () => {
    expect(chooseTarget(input({ observation: anObservation('9', { others: ['8'] }) })).reason).toBe('8: no record of healthy service');
  });

  it('follows a named version and a label of the plane', () => {
    const labelled = anObservation('9');
    const observation = { ...labelled, endpoints: labelled.endpoints.map((endpoint) => ({ ...endpoint, routes: { stable: '3' } })) };

    expect(chooseTarget(input({ policy: aPolicy({ to: { kind: 'version', version: '2' } }) })).target).toBe('2');
    expect(chooseTarget(input({ observation, policy: aPolicy({ to: { kind: 'label', label: 'stable' } }) })).target).toBe('3');
    expect(chooseTarget(input({ policy: aPolicy({ to: { kind: 'label', label: 'stable' } }) })).target).toBeNull();
    expect(chooseTarget(input({ policy: aPolicy({ to: { kind: 'version', version: '9' } }) })).reason).toContain('it is the version in breach');
  });

  it('does not try a target twice in one episode', () => {
    expect(chooseTarget(input({ ledger: [aLedgerEntry('8'), aLedgerEntry('7', { lastServedMs: 1 })], tried: ['8'] })).target).toBe('7');
  });
});

describe('compareVersions', () => {
  it('compares runs of digits as numbers', () => {
    expect(['v10', 'v9', '2024-11', '2024-2', '9007199254740993', '9007199254740992'].toSorted(compareVersions)).toEqual([
      '2024-2',
      '2024-11',
      '9007199254740992',
      '9007199254740993',
      'v9',
      'v10',
    ]);
  });
});
