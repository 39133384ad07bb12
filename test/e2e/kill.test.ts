import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { EpisodeView } from '../../src/domain/episode-view.ts';
import type { DaemonProcess } from '../support/daemon-process.ts';
import { expectEndedOnce, setWatchedStage } from '../support/ended-once.ts';
import { describeDaemon, type Stage, served } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** Kills the daemon when its newest episode is in the state, and makes sure by the journal that it died there. */
async function killIn(state: string, stage: Stage, daemon: DaemonProcess): Promise<EpisodeView> {
  const found = await until(`the episode to be ${state}`, async () => (await daemon.rollbacks()).find((episode) => episode.state === state), {
    everyMs: 25,
    seen: async () => await describeDaemon(daemon),
  });
  await daemon.kill();
  expect(await stage.readJournal(async (journal) => (await journal.episode(found.id))?.state)).toBe(state);
  return found;
}

async function approve(daemon: DaemonProcess, id: string): Promise<void> {
  await daemon.api(`rollbacks/${id}/approve`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ reason: 'looked at it', by: 'test' }),
  });
}

/** Runs of the command, as lines of a file: passes at once on the staged target; from the second run on it waits to be let go, for 20 s at most. */
const waitingSmokeTest = 'echo x >> runs\n[ "$(wc -l < runs)" -lt 2 ] && exit 0\nfor i in $(seq 200); do [ -e go ] && exit 0; sleep 0.1; done\nexit 1\n';

describe.concurrent('kill -9, then a start on the same files', { timeout: 150_000 }, () => {
  it('while it waits for approval, and when it is planned: it still waits, the question is asked once more in the same words, then it goes on', async () => {
    const { stage, watch } = await setWatchedStage({ rollback: { require_approval: 'always' } });
    await using _ = stage;
    // No answer: so the message is under way when the process dies.
    stage.slack.answer('hang');
    const first = await stage.startDaemon();
    await until('the question to reach Slack', () => stage.slack.deliveries.length > 0, { seen: async () => await describeDaemon(first) });
    const killed = await killIn('pending_approval', stage, first);
    stage.slack.answer({ status: 200, body: 'ok' });

    const second = await stage.startDaemon();
    await until('the question to be asked again', () => stage.slack.deliveries.length > 1);
    expect(await second.rollbacks()).toMatchObject([{ id: killed.id, state: 'pending_approval' }]);
    expect(stage.slack.deliveries[1]?.body).toBe(stage.slack.deliveries[0]?.body);
    // A server that does not answer keeps the plan from being made.
    await stage.servers[0]!.server.kill('SIGSTOP');
    await approve(second, killed.id);
    await killIn('planned', stage, second);
    await stage.servers[0]!.server.kill('SIGCONT');

    await expectEndedOnce(stage, { daemon: await stage.startDaemon(), starts: 3, killed, watch });
  });

  it('while it switches, one server of two behind it, and while it waits for the switch to be confirmed', async () => {
    const { stage, watch } = await setWatchedStage({ versions: { 1: {}, 2: { fail_ratio: 0.2, unload_ms: 2_500 } }, servers: 2 });
    await using _ = stage;
    const first = await stage.startDaemon();
    await until(
      'one server to be told',
      async () => (await Promise.all(stage.servers.map(async ({ orders }) => await orders()))).some((orders) => orders.at(-1) === '1'),
      {
        everyMs: 25,
        seen: async () => await describeDaemon(first),
      },
    );
    const killed = await killIn('switching', stage, first);

    const second = await stage.startDaemon();
    // The one that is switched already stops answering while the other is switched: then the whole cannot be confirmed.
    const switched = await until(
      'one server to be switched and the other to be told',
      async () => {
        const steps = (await second.rollbacks())[0]?.steps.filter(({ name }) => name.startsWith('unload')) ?? [];
        if (steps[0]?.state !== 'done' || steps[1]?.state !== 'started') return null;
        return stage.servers.find(({ server }) => steps[0]?.name.endsWith(server.grpc));
      },
      { everyMs: 25, seen: async () => await describeDaemon(second) },
    );
    await switched.server.kill('SIGSTOP');
    await killIn('confirming', stage, second);
    await switched.server.kill('SIGCONT');

    await expectEndedOnce(stage, { daemon: await stage.startDaemon(), starts: 3, killed, watch });
  });

  it('while the target is staged, in the middle of the smoke test of what serves now, and while the numbers are watched', async () => {
    const { stage, watch } = await setWatchedStage({
      versions: { 1: { load_ms: 2_500 }, 2: { fail_ratio: 0.2 } },
      smokeTest: () => ({ timeout: '20s', requests: [{ name: "the team's own tests", command: { argv: ['/bin/sh', 'smoke.sh', '{{ $to }}'] } }] }),
    });
    await using _ = stage;
    await writeFile(join(stage.folder, 'config', 'smoke.sh'), waitingSmokeTest);
    const first = await stage.startDaemon();
    await until('the target to load', async () => (await stage.servers[0]!.client.states(served)).includes('1 LOADING'), {
      everyMs: 25,
      seen: async () => await describeDaemon(first),
    });
    const killed = await killIn('staging', stage, first);

    const second = await stage.startDaemon();
    await killIn('smoke_testing', stage, second);
    await writeFile(join(stage.folder, 'config', 'go'), '');

    const third = await stage.startDaemon();
    await killIn('watching', stage, third);

    await expectEndedOnce(stage, { daemon: await stage.startDaemon(), starts: 4, killed, watch });
  });
});

describe.concurrent('SIGTERM', { timeout: 120_000 }, () => {
  it('while it switches: the switch is brought to its end, the watch is handed over to the next process', async () => {
    const { stage, watch } = await setWatchedStage({ versions: { 1: {}, 2: { fail_ratio: 0.2, unload_ms: 2_500 } } });
    await using _ = stage;
    const first = await stage.startDaemon();
    const open = await until('the switch', async () => (await first.rollbacks()).find(({ state }) => state === 'switching'), {
      everyMs: 25,
      seen: async () => await describeDaemon(first),
    });

    expect(await first.stop()).toEqual({ code: 0, signal: null });

    expect(await stage.readJournal(async (journal) => (await journal.episode(open.id))?.state)).toBe('watching');
    expect(await stage.servers[0]!.client.metadataVersion(served)).toBe('1');
    await expectEndedOnce(stage, { daemon: await stage.startDaemon(), starts: 2, killed: open, watch });
  });
});
