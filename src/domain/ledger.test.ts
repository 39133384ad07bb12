import { describe, expect, it } from 'vitest';
import { aLedgerEntry, aPolicy, aVerdict, noonMs } from '../../test/support/builders.ts';
import { addService, isKnownGood, type ServiceSeen } from './ledger.ts';

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

  it('takes the record away on a breach', () => {
    expect(addService(aLedgerEntry('1'), seen({ verdicts: [aVerdict({ kind: 'breach' })] }))).toMatchObject({ healthyMs: 0, healthyRequests: 0 });
  });

  it('ends the service when the plane no longer serves it', () => {
    expect(addService(aLedgerEntry('1', { servingSinceMs: 5, lastServedMs: 7 }), seen({ serves: false }))).toMatchObject({
      servingSinceMs: null,
      lastServedMs: 7,
    });
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
