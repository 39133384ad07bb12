import { expect } from 'vitest';
import type { EpisodeView } from '../../src/domain/episode-view.ts';
import type { StoredEvent } from '../../src/domain/event.ts';
import type { DaemonProcess } from './daemon-process.ts';
import { type ServingWatch, watchServing } from './serving-watch.ts';
import { type Stage, type StageOptions, served, setStageFromFiles, untilFinished } from './stage-files.ts';
import { until } from './until.ts';

/**
 * Sees to the end: one episode, one end, one change of what serves per server, each message under one id.
 * @param run.starts of the daemon; with `kills` some of them may have ended before they had opened the journal
 */
export async function expectEndedOnce(
  stage: Stage,
  run: { daemon: DaemonProcess; starts: number; killed: EpisodeView; watch: ServingWatch; kills?: number },
): Promise<void> {
  const { daemon, starts, killed, watch, kills } = run;
  const episode = await untilFinished(daemon);

  expect(episode).toMatchObject({ id: killed.id, state: 'succeeded', outcome: 'success', from: '2', to: '1' });
  expect(await daemon.rollbacks()).toHaveLength(1);
  const isDone = ({ state }: { state: string }): boolean => state === 'done';
  expect(episode.steps.filter((step) => !isDone(step))).toEqual([]);
  await until('Slack to be told', () => stage.slack.deliveries.some(({ text }) => text.includes('rollback success')));
  expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  await watch.stop();
  for (const history of watch.history()) expect(history).toEqual(['2', '1']);
  for (const { client, orders } of stage.servers) {
    expect(await orders()).toEqual(['1+2', '1']);
    expect(await client.restVersion(served)).toBe('1');
  }
  await stage.readJournal(async (journal) => {
    expect(await journal.verify()).toMatchObject({ ok: true });
    if (kills === undefined) expect(journal.epoch).toBe(starts);
    else expect(journal.epoch).toBeLessThanOrEqual(starts);
    const stored = await journal.events(0, 10_000);
    const events = stored.map(({ event }: StoredEvent) => event);
    expect(events.filter(({ type }) => type === 'episode_opened')).toHaveLength(1);
    expect(events.filter((event) => event.type === 'episode_state' && event.outcome !== undefined)).toHaveLength(1);
    expect(events.filter((event) => event.type === 'episode_state' && event.changes?.switchedAtMs != null)).toHaveLength(1);
    const messages = events.flatMap((event) => (event.type === 'message_enqueued' ? [event.message.id] : []));
    expect(new Set(messages).size).toBe(messages.length);
    // That it has started is told after 30 s, to be dropped by then.
    expect((await journal.outbox()).filter(({ kind }) => kind !== 'episode_started')).toEqual([]);
  });
  // Told once more for each kill at most (sent, and killed before that was written down), and then in the same words.
  const finished = stage.slack.deliveries.filter(({ text }) => text.includes('rollback success'));
  expect(new Set(finished.map(({ body }) => body)).size).toBe(1);
  expect(finished.length).toBeLessThanOrEqual(1 + (kills ?? 1));
  expect(stage.slack.deliveries.every(({ text }) => text.includes(killed.id))).toBe(true);
}

/** A stage whose servers are watched from the start. */
export async function setWatchedStage(options: StageOptions): Promise<{ stage: Stage; watch: ServingWatch }> {
  const stage = await setStageFromFiles(options);
  const watch = watchServing(
    stage.servers.map(({ client }) => client),
    served,
  );
  stage.defer(watch.stop);
  return { stage, watch };
}
