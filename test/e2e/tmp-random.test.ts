import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { EpisodeView } from '../../src/domain/episode-view.ts';
import type { StoredEvent } from '../../src/domain/event.ts';
import type { DaemonProcess } from '../support/daemon-process.ts';
import { type ServingWatch, watchServing } from '../support/serving-watch.ts';
import { describeDaemon, type Stage, type StageOptions, served, setStageFromFiles, untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** Kills the daemon when its newest episode is in the state, and makes sure by the journal that it died there. */
export async function killIn(state: string, stage: Stage, daemon: DaemonProcess): Promise<EpisodeView> {
  const found = await until(`the episode to be ${state}`, async () => (await daemon.rollbacks()).find((episode) => episode.state === state), {
    everyMs: 25,
    seen: async () => await describeDaemon(daemon),
  });
  await daemon.kill();
  expect(await stage.readJournal(async (journal) => (await journal.episode(found.id))?.state)).toBe(state);
  return found;
}

/** Sees to the end: one episode, one end, one change of what serves per server, each message under one id. */
async function expectEndedOnce(stage: Stage, run: { daemon: DaemonProcess; starts: number; killed: EpisodeView; watch: ServingWatch }): Promise<void> {
  const { daemon, starts, killed, watch } = run;
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
    expect(journal.epoch).toBe(starts);
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
  // Told at most twice (sent, and killed before that was written down), and then in the same words.
  const finished = stage.slack.deliveries.filter(({ text }) => text.includes('rollback success'));
  expect(new Set(finished.map(({ body }) => body)).size).toBe(1);
  expect(finished.length).toBeLessThanOrEqual(2);
  expect(stage.slack.deliveries.every(({ text }) => text.includes(killed.id))).toBe(true);
}

async function setStage(options: StageOptions): Promise<{ stage: Stage; watch: ServingWatch }> {
  const stage = await setStageFromFiles(options);
  const watch = watchServing(
    stage.servers.map(({ client }) => client),
    served,
  );
  stage.defer(watch.stop);
  return { stage, watch };
}

export async function approve(daemon: DaemonProcess, id: string): Promise<void> {
  await daemon.api(`rollbacks/${id}/approve`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ reason: 'looked at it', by: 'test' }),
  });
}


describe.concurrent('random', { timeout: 150_000 }, () => {
  it.each(Array.from({ length: 24 }, (_, i) => i))('kill %i', async (i) => {
    const { stage, watch } = await setStage({ versions: { 1: { load_ms: 300 }, 2: { fail_ratio: 0.2, unload_ms: 300 } }, servers: 2 });
    await using _ = stage;
    let daemon = await stage.startDaemon();
    let killed = await until('an episode', async () => (await daemon.rollbacks())[0], { everyMs: 10, seen: async () => await describeDaemon(daemon) });
    const rounds = 1 + (i % 3);
    const states: string[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * (round === 0 ? 3000 : 2500)));
      await daemon.kill();
      const e = await stage.readJournal(async (journal) => await journal.episode(killed.id));
      states.push(`${e?.state}/${e?.steps.filter((s) => s.state === 'started').length}`);
      daemon = await stage.startDaemon();
    }
    console.log(i, states.join(' '));
    await expectEndedOnce(stage, { daemon, starts: rounds + 1, killed, watch });
  });
});
