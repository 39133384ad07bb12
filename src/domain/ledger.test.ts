import { describe, expect, it } from 'vitest';
import { aLedgerEntry, aPolicy, aVerdict, noonMs } from '../../test/support/builders.ts';
import { addService, isKnownGood, type ServiceSeen, withHistory } from './ledger.ts';

function seen(changes: Partial<ServiceSeen> = {}): ServiceSeen {
  return {
    model: 'fraud',
    version: '1',
    nowMs: noonMs,
    elapsedMs: 15_000,
    serves: true,
    verdicts: [aVerdict({ kind: 'ok' })],
    requestsPerSecond: 10,
    ...changes,
  };
}

describe('addService', () => {
  it('adds time and requests while every acting rule is ok', () => {
    const entry = addService(addService(null, seen()), seen({ nowMs: noonMs + 15_000 }));

    expect(entry).toMatchObject({ healthyMs: 30_000, healthyRequests: 300, servingSinceMs: noonMs, lastHealthyMs: noonMs + 15_000 });
  });

  it.each(['pending', 'no_data', 'error', 'suppressed'] as const)('adds nothing on %s', (kind) => {
    const entry = addService(aLedgerEntry('1'), seen({ verdicts: [aVerdict({ kind: 'ok' }), aVerdict({ kind })] }));

    expect(entry.healthyMs).toBe(aLedgerEntry('1').healthyMs);
  });

  it('adds nothing when no rule may act: unwatched is not healthy', () => {
    expect(addService(null, seen({ verdicts: [] })).healthyMs).toBe(0);
  });

  it('passes over a comparison without anything to compare with', () => {
    const moot = aVerdict({ kind: 'no_data', isMoot: true });

    expect(addService(null, seen({ verdicts: [aVerdict({ kind: 'ok' }), moot] })).healthyMs).toBe(15_000);
    expect(addService(null, seen({ verdicts: [moot] })).healthyMs).toBe(0);
  });

  it.each([
    ['serves nobody', { requestsPerSecond: 0 }],
    ['is not measured', { requestsPerSecond: null }],
    ['does not serve any more', { serves: false }],
  ])('adds nothing when the version %s, whatever the rules say', (_name, changes) => {
    expect(addService(null, seen(changes))).toMatchObject({ healthyMs: 0, lastHealthyMs: null });
  });

  it('takes the record away on a breach', () => {
    expect(addService(aLedgerEntry('1'), seen({ verdicts: [aVerdict({ kind: 'breach' })] }))).toMatchObject({
      healthyMs: 0,
      healthyRequests: 0,
      lastBreachMs: noonMs,
    });
  });

  it('ends the service when the plane no longer serves it', () => {
    expect(addService(aLedgerEntry('1', { servingSinceMs: 5, lastServedMs: 7 }), seen({ serves: false }))).toMatchObject({
      servingSinceMs: null,
      lastServedMs: 7,
    });
  });
});

describe('withHistory', () => {
  const history = aLedgerEntry('1', { firstSeenMs: 5, healthyMs: 100, healthyRequests: 10, lastServedMs: 50, lastHealthyMs: 50, origin: 'backfill' });

  it('adds the time before it was first seen', () => {
    const entry = aLedgerEntry('1', { firstSeenMs: 60, healthyMs: 7, healthyRequests: 3, lastServedMs: 70, lastHealthyMs: null });

    expect(withHistory(entry, history)).toMatchObject({
      firstSeenMs: 5,
      healthyMs: 107,
      healthyRequests: 13,
      lastServedMs: 70,
      lastHealthyMs: 50,
      origin: 'backfill',
    });
  });

  it('adds no health to a record that a breach has emptied', () => {
    expect(withHistory(aLedgerEntry('1', { healthyMs: 7, lastBreachMs: 65 }), history)).toMatchObject({ healthyMs: 7, origin: 'backfill' });
  });
});

describe('isKnownGood', () => {
  it('asks for age and requests', () => {
    const { knownGood } = aPolicy();

    expect(isKnownGood(aLedgerEntry('1'), '1', knownGood)).toEqual({ good: true, reason: 'healthy for 10h on 100000 requests' });
    expect(isKnownGood(aLedgerEntry('1', { healthyRequests: 999 }), '1', knownGood).good).toBe(false);
    expect(isKnownGood(aLedgerEntry('1', { healthyMs: 1 }), '1', knownGood).good).toBe(false);
    expect(isKnownGood(null, '1', knownGood)).toEqual({ good: false, reason: 'no record of healthy service' });
  });
});
