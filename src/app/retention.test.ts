import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { anEpisode } from '../../test/support/an-episode.ts';
import { aPolicy } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { setStage, silentLog } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { type Journal, PlaneError, type PlaneTarget, type VersionStore } from '../domain/ports.ts';
import type { RetentionPolicy, StoredVersion } from '../domain/retention.ts';
import type { ApplyOutcome } from '../domain/step.ts';
import type { RetentionView } from '../web/api.ts';
import { Retention } from './retention.ts';

const dayMs = 86_400_000;
const policy: RetentionPolicy = { mode: 'dry_run', keep: 2, minAgeMs: 7 * dayMs, schedule: '0 3 * * *', maxDeletions: 10 };
const asked = { by: 'ann', reason: 'disk full' };

/** Versions in memory; ids are `m<version>` where `prefix` says so. */
class FakeStore implements VersionStore {
  readonly name: string;
  readonly isAuthority: boolean;
  readonly prefix: string;
  versions: StoredVersion[];
  failure: string | null = null;
  readonly deleted: string[] = [];
  onDelete: ((id: string) => Promise<ApplyOutcome | null>) | null = null;

  constructor(name: string, nowMs: number, options: { isAuthority: boolean; prefix?: string }) {
    this.name = name;
    this.isAuthority = options.isAuthority;
    this.prefix = options.prefix ?? '';
    this.versions = Array.from({ length: 12 }, (_, index) => ({ id: `${this.prefix}${12 - index}`, createdMs: nowMs - (30 + index) * dayMs, keep: null }));
  }
  idOf(_target: PlaneTarget, serving: string): string {
    return `${this.prefix}${serving}`;
  }
  async list(): Promise<readonly StoredVersion[]> {
    if (this.failure !== null) throw new PlaneError('transient', this.failure);
    return this.versions;
  }
  async delete(_target: PlaneTarget, id: string): Promise<ApplyOutcome> {
    const instead = (await this.onDelete?.(id)) ?? null;
    if (instead !== null) return instead;
    this.deleted.push(id);
    this.versions = this.versions.filter((version) => version.id !== id);
    return { kind: 'applied', detail: `deleted ${id}` };
  }
}

describe('retention of versions', () => {
  let clock: FakeClock;
  let journal: Journal;
  let plane: FakePlane & { stores?: () => readonly VersionStore[] };
  let registry: FakeStore;
  let folders: FakeStore;
  let close: () => Promise<void> = async () => undefined;

  beforeEach(async () => {
    clock = new FakeClock();
    journal = await openMemoryJournal({ clock });
    plane = new FakePlane({ clock, serving: '10' });
    registry = new FakeStore('registry', clock.nowMs(), { isAuthority: true, prefix: 'm' });
    folders = new FakeStore('folders', clock.nowMs(), { isAuthority: false });
    plane.stores = () => [registry, folders];
  });
  afterEach(async () => {
    await close();
    await journal.close();
  });

  async function start(changes: Partial<RetentionPolicy> = {}, forceDryRun = false): Promise<Retention> {
    const rollback = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['3'] } });
    const { app } = await setStage({ clock, journal, plane, source: new FakeSource(), forceDryRun, model: { rollback, retention: { ...policy, ...changes } } });
    close = async () => await app.stop(0);
    return new Retention(app, { clock, log: silentLog });
  }

  const doomed = ({ stores }: RetentionView) =>
    stores.map(({ store, versions }) => [store, versions.filter(({ keep }) => keep === null).map(({ version }) => version)]);
  const reasonOf = ({ stores }: RetentionView, store: string, version: string) =>
    stores.find((each) => each.store === store)?.versions.find((each) => each.version === version)?.keep;

  it('plans for every store by its own names, and deletes nothing', async () => {
    const plan = await (await start()).plan('fraud');

    expect(doomed(plan)).toEqual([
      ['registry', ['m9', 'm8', 'm7', 'm6', 'm5', 'm4', 'm2', 'm1']],
      ['folders', ['9', '8', '7', '6', '5', '4', '2', '1']],
    ]);
    expect(reasonOf(plan, 'registry', 'm10')).toBe('it serves');
    expect(reasonOf(plan, 'folders', '3')).toBe('it is vouched for (known_good.versions)');
    expect([...registry.deleted, ...folders.deleted]).toEqual([]);
  });

  it('keeps in the folders what the registry wants kept', async () => {
    registry.versions = registry.versions.map((version) => (version.id === 'm5' ? { ...version, keep: 'it is tagged keep' } : version));

    const plan = await (await start()).plan('fraud');

    expect(reasonOf(plan, 'folders', '5')).toBe('registry: it is tagged keep');
  });

  it('touches no folder while the registry cannot be asked; the other way round it may', async () => {
    registry.failure = 'MLflow answered 503';
    const retention = await start();
    const blind = await retention.run('fraud', asked);
    registry.failure = null;
    folders.failure = 'gs://models is no folder of this machine';

    const seeing = await retention.run('fraud', asked);

    expect(blind.stores.map(({ error }) => error)).toEqual(['MLflow answered 503', 'registry cannot be asked what it wants kept: MLflow answered 503']);
    expect(seeing.stores.map(({ error }) => error)).toEqual([null, 'gs://models is no folder of this machine']);
    expect(registry.deleted).toHaveLength(8);
    expect(folders.deleted).toEqual([]);
  });

  it('journals each deletion before and after, and what became of it', async () => {
    folders.onDelete = async (id) => (id === '9' ? { kind: 'conflict', class: 'permanent', detail: 'it is loading on a' } : null);
    registry.onDelete = async (id) => (id === 'm9' ? { kind: 'indeterminate', class: 'indeterminate', detail: 'no whole answer' } : null);
    const view = await (await start({ maxDeletions: 100 })).run('fraud', asked);

    const events = (await journal.events(0, 1000)).flatMap(({ event }) => (event.type === 'version_retention' ? [event] : []));
    expect(
      events.filter(({ version }) => version === '9' || version === 'm9').map(({ store, version, state, detail }) => [store, version, state, detail]),
    ).toEqual([
      ['registry', 'm9', 'begun', 'disk full'],
      ['registry', 'm9', 'unknown', 'no whole answer'],
      ['folders', '9', 'begun', 'disk full'],
      ['folders', '9', 'kept', 'it is loading on a'],
    ]);
    expect(events.filter(({ state }) => state === 'deleted')).toHaveLength(14);
    expect(new Set(events.map(({ by }) => by))).toEqual(new Set(['ann']));
    expect(view.stores[1]?.versions.find(({ version }) => version === '9')?.outcome).toBe('kept: it is loading on a');
    expect(await journal.verify()).toMatchObject({ ok: true });
  });

  it('looks again before each deletion: what serves by then stays', async () => {
    registry.onDelete = async () => {
      plane.switchBehindTheBack('8');
      return null;
    };

    const view = await (await start()).run('fraud', asked);

    expect(registry.deleted).not.toContain('m8');
    expect(folders.deleted).not.toContain('8');
    expect(view.stores[0]?.versions.find(({ version }) => version === 'm8')?.outcome).toBe('kept: it serves');
  });

  it.each([
    [
      'a rollback is under way',
      async () =>
        void (await journal.append([
          { type: 'episode_opened', episode: { ...anEpisode({ model: 'fraud' }), state: 'watching', outcome: null, finishedAtMs: null } },
        ])),
      'under way',
    ],
    ['the plane cannot be observed', async () => void (plane.unreachable = 'connection refused'), 'could not be confirmed: connection refused'],
    ['one replica cannot be read', async () => void plane.unreadable.add('b'), 'could not be confirmed: connection refused'],
    ['nothing can be deleted there', async () => void (plane.stores = () => []), 'keeps no versions'],
  ])('deletes nothing while %s', async (_name, arrange, words) => {
    await arrange();
    const retention = await start();

    await expect(retention.run('fraud', asked)).rejects.toThrow(words);
    await expect(retention.plan('fraud')).rejects.toThrow(words);
    expect([...registry.deleted, ...folders.deleted]).toEqual([]);
  });

  it.each([
    ['dry_run', false, 0],
    ['enforce', false, 8],
    ['off', false, 0],
    ['enforce', true, 0],
  ] as const)('by schedule in mode %s (--dry-run: %s) deletes %i in each store', async (mode, forceDryRun, count) => {
    const retention = await start({ mode }, forceDryRun);

    await retention.scheduled('fraud');

    expect([registry.deleted.length, folders.deleted.length]).toEqual([count, count]);
  });

  it('runs by hand whatever the mode, but not under --dry-run', async () => {
    await (await start({ mode: 'off' })).run('fraud', asked);
    expect(registry.deleted).toHaveLength(8);

    await close();
    await expect((await start({}, true)).run('fraud', asked)).rejects.toThrow('started with --dry-run');
  });

  it('says so when a model has none', async () => {
    const { app } = await setStage({ clock, journal, plane, source: new FakeSource() });
    close = async () => await app.stop(0);

    await expect(new Retention(app, { clock, log: silentLog }).plan('fraud')).rejects.toThrow('has no retention; add retention: {keep: 5} to it');
  });
});
