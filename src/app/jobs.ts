import cron, { type ScheduledTask } from 'node-cron';
import type { DigestContent } from '../domain/message.ts';
import type { Clock, Log } from '../domain/ports.ts';
import type { App } from './app.ts';
import type { MessageSink } from './message-teller.ts';
import type { Retention } from './retention.ts';

const dayMs = 86_400_000;

type JobDeps = {
  readonly app: App;
  readonly retention: Retention;
  readonly clock: Clock;
  readonly log: Log;
  readonly sink: MessageSink;
  readonly retentionMs: () => number;
  /** Copies the journal; `null`: nobody wants copies. */
  readonly backup: { readonly schedule: string; readonly run: () => Promise<Readonly<Record<string, unknown>>> } | null;
};

/** The jobs of our own, on the machine's clock in UTC: retention of the journal and of versions, and the daily digest of what was and would have been done. */
export function startJobs(deps: JobDeps): { stop(): Promise<void> } {
  const guard = (name: string, job: () => Promise<void>) => async (): Promise<void> => {
    // Of several replicas the leader alone writes and tells.
    if (!deps.app.leadership.leads()) return;
    await job().catch((error: unknown) => deps.log.error({ err: error, job: name }, 'job failed'));
  };
  const options = { timezone: 'Etc/UTC', noOverlap: true } as const;
  const tasks: ScheduledTask[] = [
    cron.schedule(
      '30 3 * * *',
      guard('retention', async () => await pruneJournal(deps)),
      { ...options, name: 'journal-retention' },
    ),
    cron.schedule(
      '0 8 * * *',
      guard('digest', async () => await sendDigest(deps)),
      { ...options, name: 'digest' },
    ),
    cron.schedule(
      '* * * * *',
      guard('size', async () => deps.app.health.journalSizeIs(await deps.app.memory.journal.sizeBytes())),
      { ...options, name: 'journal-size' },
    ),
  ];
  const { backup, log } = deps;
  if (backup !== null)
    tasks.push(
      cron.schedule(
        backup.schedule,
        guard('backup', async () => log.info(await backup.run(), 'journal backed up')),
        { ...options, name: 'journal-backup' },
      ),
    );
  const versions = new VersionJobs(deps);
  versions.follow();
  const following = cron.schedule('* * * * *', () => versions.follow(), { ...options, name: 'version-retention' });
  return {
    stop: async () => {
      await following.destroy();
      await versions.stop();
      for (const task of tasks) await task.destroy();
    },
  };
}

/** A job per model with retention; after a reload those whose schedule is another are made anew. */
export class VersionJobs {
  readonly #deps: Pick<JobDeps, 'app' | 'retention'>;
  readonly #tasks = new Map<string, { readonly schedule: string; readonly task: ScheduledTask }>();

  constructor(deps: Pick<JobDeps, 'app' | 'retention'>) {
    this.#deps = deps;
  }

  follow(): void {
    const { app, retention } = this.#deps;
    const wanted = new Map(
      [...app.runtime.models.values()].flatMap(({ name, retention: policy }) => (policy === null || policy.mode === 'off' ? [] : [[name, policy.schedule]])),
    );
    for (const [name, { schedule, task }] of this.#tasks) {
      if (wanted.get(name) === schedule) continue;
      void task.destroy();
      this.#tasks.delete(name);
    }
    for (const [name, schedule] of wanted) {
      if (this.#tasks.has(name)) continue;
      const task = cron.schedule(schedule, async () => await retention.scheduled(name), {
        timezone: 'Etc/UTC',
        noOverlap: true,
        name: `version-retention ${name}`,
      });
      this.#tasks.set(name, { schedule, task });
    }
  }

  async stop(): Promise<void> {
    for (const { task } of this.#tasks.values()) await task.destroy();
    this.#tasks.clear();
  }
}

/** Drops closed detail that is too old, then the oldest events; each batch is a transaction of its own, so that appends come between. */
export async function pruneJournal({ app, clock, log, retentionMs }: Omit<JobDeps, 'sink' | 'retention' | 'backup'>): Promise<void> {
  const { journal } = app.memory;
  const beforeMs = clock.nowMs() - retentionMs();
  const { removed } = await journal.prune(beforeMs);
  let events = 0;
  for (;;) {
    const batch = await journal.removeEvents(beforeMs);
    events += batch.removed;
    if (batch.removed === 0) break;
  }
  log.info({ removed, events }, 'journal pruned');
}

/** Yesterday in short, to the root receiver; nothing when nothing happened. */
export async function sendDigest({ app, clock, sink }: Omit<JobDeps, 'retentionMs' | 'backup'>): Promise<void> {
  const { route, externalLabels } = app.runtime;
  const nowMs = clock.nowMs();
  const episodes = await app.memory.journal.episodes({ sinceMs: nowMs - dayMs, limit: 1000 });
  if (route === null || episodes.length === 0) return;
  const content: DigestContent = {
    day: new Date(nowMs - dayMs).toISOString().slice(0, 10),
    wouldHave: episodes.filter((episode) => episode.mode === 'dry_run').map(({ model, from, to, rule, reason }) => ({ model, from, to, rule, reason })),
    did: episodes.filter((episode) => episode.mode === 'enforce').map(({ id, model, from, to, rule, outcome }) => ({ id, model, from, to, rule, outcome })),
    externalLabels,
  };
  await sink.enqueue({
    id: `digest/${content.day}`,
    receiver: route.receiver,
    kind: 'digest',
    content,
  });
}
