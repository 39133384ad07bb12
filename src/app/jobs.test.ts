import cron from 'node-cron';
import { afterEach, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { setStage, silentLog } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { RetentionPolicy } from '../domain/retention.ts';
import { pruneJournal, startJobs, VersionJobs } from './jobs.ts';
import { Retention } from './retention.ts';

const policy: RetentionPolicy = { mode: 'dry_run', keep: 5, minAgeMs: 0, schedule: '0 3 * * *', maxDeletions: 10 };
let close: () => Promise<void> = async () => undefined;
afterEach(async () => await close());

/** Retention jobs there are, with their schedule. */
const jobs = (): string[] => [...cron.getTasks().values()].flatMap((task) => (task.name?.startsWith('version-retention ') === true ? [task.name] : []));

it('backs the journal up by its schedule, where that is wanted, and says so; a failure stops nothing', async () => {
  const clock = new FakeClock();
  const journal = await openMemoryJournal({ clock });
  const { app } = await setStage({ clock, journal, plane: new FakePlane({ clock, serving: '1' }), source: new FakeSource() });
  const logged: unknown[] = [];
  const log = { ...silentLog, info: (...line: unknown[]) => void logged.push(line), error: (...line: unknown[]) => void logged.push(line) };
  const sink = { enqueue: async () => true, events: () => [] };
  let isFull = false;
  const run = async (): Promise<{ file: string }> => {
    if (isFull) throw new Error('the disk is full');
    return { file: '/backups/one.db' };
  };
  const retention = new Retention(app, { clock, log: silentLog });
  const jobs = startJobs({ app, retention, clock, log, sink, retentionMs: () => 1, backup: { schedule: '15 2 * * *', run } });
  close = async () => {
    await jobs.stop();
    await app.stop(0);
    await journal.close();
  };
  const task = [...cron.getTasks().values()].find(({ name }) => name === 'journal-backup');

  await task?.execute();
  isFull = true;
  await task?.execute();

  expect(logged).toEqual([
    [{ file: '/backups/one.db' }, 'journal backed up'],
    [{ err: new Error('the disk is full'), job: 'backup' }, 'job failed'],
  ]);
  await jobs.stop();
  expect([...cron.getTasks().values()].filter(({ name }) => name === 'journal-backup')).toEqual([]);
});

it('has a job per model with retention, and follows a reload', async () => {
  const clock = new FakeClock();
  const journal = await openMemoryJournal({ clock });
  const { app, runtime, model } = await setStage({
    clock,
    journal,
    plane: new FakePlane({ clock, serving: '1' }),
    source: new FakeSource(),
    model: { retention: policy },
  });
  const asked: string[] = [];
  const retention = new Retention(app, { clock, log: silentLog });
  retention.scheduled = async (name) => void asked.push(name);
  const versions = new VersionJobs({ app, retention });
  close = async () => {
    await versions.stop();
    await app.stop(0);
    await journal.close();
  };

  versions.follow();
  versions.follow();
  const before = jobs();
  await [...cron.getTasks().values()].find((task) => task.name === 'version-retention fraud')?.execute();
  await app.replaceRuntime({ ...runtime, models: new Map([['fraud', { ...model, retention: { ...policy, mode: 'off' as const } }]]) });
  versions.follow();

  expect(before).toEqual(['version-retention fraud']);
  expect(asked).toEqual(['fraud']);
  expect(jobs()).toEqual([]);
});

it('prunes what is older than retention every night, in a chain that still verifies and goes on', async () => {
  const clock = new FakeClock();
  const journal = await openMemoryJournal({ clock });
  const { app } = await setStage({ clock, journal, plane: new FakePlane({ clock, serving: '1' }), source: new FakeSource() });
  const sink = { enqueue: async () => true, events: () => [] };
  const retention = new Retention(app, { clock, log: silentLog });
  const dayMs = 86_400_000;
  const pause = async (): Promise<void> => await app.memory.append([{ type: 'resumed', model: null, by: 'ann', atMs: clock.nowMs() }]);
  const retentionMs = (): number => 3 * dayMs;
  const deps = { app, clock, log: silentLog, retentionMs };
  const running = startJobs({ ...deps, retention, sink, backup: null });
  close = async () => {
    await running.stop();
    await app.stop(0);
    await journal.close();
  };

  for (let day = 0; day < 10; day += 1) {
    await pause();
    if (day >= 5) await pruneJournal(deps);
    clock.jump(clock.nowMs() + dayMs);
    expect(await journal.verify()).toMatchObject({ ok: true });
  }
  const nightly = [...cron.getTasks().values()].find(({ name }) => name === 'journal-retention');
  await nightly?.execute();
  await pause();

  const stored = await journal.events(0, 1_000);
  expect(stored.every(({ atMs }) => atMs >= clock.nowMs() - 3 * dayMs)).toBe(true);
  expect(stored.length).toBeGreaterThan(2);
  expect(await journal.verify()).toEqual({ ok: true, events: stored.length });
});
