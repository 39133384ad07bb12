import { describe, expect, it } from 'vitest';
import { aPolicy } from '../../test/support/builders.ts';
import type { Observation } from './observation.ts';
import type { LedgerEntry } from './records.ts';
import { neededVersions, planRetention, type RetentionPolicy, type StoredVersion } from './retention.ts';

const dayMs = 86_400_000;
const nowMs = 100 * dayMs;
const policy: RetentionPolicy = { mode: 'enforce', keep: 2, minAgeMs: 7 * dayMs, schedule: '0 3 * * *', maxDeletions: 10 };
const nothing = () => null;

/** Newest first, a day apart. */
function versions(count: number): StoredVersion[] {
  return Array.from({ length: count }, (_, index) => ({ id: String(count - index), createdMs: nowMs - (20 + index) * dayMs, keep: null }));
}

const doomed = (...args: Parameters<typeof planRetention>): string[] =>
  planRetention(...args)
    .filter(({ keep }) => keep === null)
    .map(({ version }) => version);

describe('planRetention', () => {
  it('keeps the newest, and what is younger than min_age', () => {
    const stored = versions(6).map((version) => (version.id === '4' ? { ...version, createdMs: nowMs - 3 * dayMs } : version));

    expect(planRetention(stored, nothing, policy, nowMs).map(({ version, keep }) => `${version}: ${keep}`)).toEqual([
      '6: it is one of the 2 newest',
      '5: it is one of the 2 newest',
      '4: it is 3d old, younger than 1w',
      '3: null',
      '2: null',
      '1: null',
    ]);
  });

  it('keeps what the store or the model needs, and tells why', () => {
    const stored = versions(5).map((version) => (version.id === '1' ? { ...version, keep: 'it is tagged keep' } : version));

    const items = planRetention(stored, (id) => (id === '2' ? 'it is known good' : null), policy, nowMs);

    expect(items.slice(2).map(({ version, keep }) => `${version}: ${keep}`)).toEqual(['3: null', '2: it is known good', '1: it is tagged keep']);
  });

  it('keeps what it does not know the age of, or what was made ahead of the clock', () => {
    const [a, b, c, d] = versions(4);
    const stored = [a, b, { ...c, createdMs: null }, { ...d, createdMs: nowMs + 1 }] as StoredVersion[];

    expect(doomed(stored, nothing, policy, nowMs)).toEqual([]);
  });

  it('deletes the oldest first, and no more than max_deletions', () => {
    expect(doomed(versions(12), nothing, { ...policy, maxDeletions: 3 }, nowMs)).toEqual(['3', '2', '1']);
  });
});

const observation: Observation = {
  atMs: nowMs,
  endpoints: [{ endpoint: 'a', versions: [{ id: '8', state: 'draining' }], serving: [{ version: '9', share: 1 }], routes: { stable: '5' }, config: null }],
  versions: [
    { id: '9', state: 'available' },
    { id: '3', state: 'unloaded' },
    { id: '2', state: 'failed' },
  ],
  serving: [{ version: '9', share: 1 }],
  token: null,
  pinned: false,
  refusals: [],
};

function served(version: string, lastServedMs: number): LedgerEntry {
  return {
    model: 'fraud',
    version,
    firstSeenMs: 0,
    servingSinceMs: null,
    lastServedMs,
    healthyMs: dayMs,
    healthyRequests: 1e6,
    lastHealthyMs: lastServedMs,
    origin: 'watched',
  };
}

describe('neededVersions', () => {
  it('names what serves, is held, is pointed to, is vouched for or is the target', () => {
    const rules = aPolicy({ to: { kind: 'version', version: '4' }, knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['6'] } });

    expect(Object.fromEntries(neededVersions({ observation, policy: rules, ledger: [] }))).toEqual({
      9: 'it serves',
      8: 'it is draining',
      5: 'stable points to it',
      4: 'it is the target of rollbacks (rollback.to)',
      6: 'it is vouched for (known_good.versions)',
    });
  });

  it('names the known good ones within max_depth, by when they served last; what serves does not use it up', () => {
    const rules = aPolicy({ maxDepth: 2, knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: [] } });
    const ledger = [served('9', 90), served('1', 10), served('7', 70), served('4', 40), { ...served('6', 60), healthyMs: 0 }];

    const needed = neededVersions({ observation, policy: rules, ledger });

    expect([...needed].filter(([, reason]) => reason.includes('known good'))).toEqual([
      ['7', 'it is known good, within max_depth: 2'],
      ['4', 'it is known good, within max_depth: 2'],
    ]);
  });
});
