import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { HealthBoard } from './health-board.ts';

const [plane, slack, journal] = [
  { kind: 'control_plane', name: 'tfs' },
  { kind: 'receiver', name: 'oncall', integration: 'slack' },
  { kind: 'journal' },
] as const;

let clock: FakeClock;
let metrics: Metrics;
let board: HealthBoard;

beforeEach(() => {
  clock = new FakeClock();
  metrics = new Metrics({ version: 'test' }, { processMetrics: false });
  metrics.know({
    models: ['fraud', 'ranker'],
    groups: [],
    sources: [],
    controlPlanes: ['tfs'],
    observedPlanes: ['tfs'],
    receivers: [{ receiver: 'oncall', integration: 'slack' }],
  });
  board = new HealthBoard({ clock, metrics });
  board.know([{ part: plane, voices: ['fraud', 'ranker'] }, { part: slack }, { part: journal }]);
});

const shown = async (name: string): Promise<string | undefined> => (await metrics.render()).body.split('\n').find((line) => line.startsWith(name));

describe('HealthBoard', () => {
  it('says nothing of a part before the first conversation', async () => {
    expect(board.of(plane)).toEqual({ up: null, sinceMs: null, lastSuccessMs: null, error: null });
    expect(await shown('rollbackd_control_plane_up')).toBe('rollbackd_control_plane_up{control_plane="tfs"} 0');
    // Nothing may have been sent for weeks, and nothing be wrong.
    expect(await shown('rollbackd_receiver_up')).toBe('rollbackd_receiver_up{integration="slack",receiver="oncall"} 1');
  });

  it('says since when a part is down, and when it last worked', async () => {
    const [startMs] = [clock.nowMs()];
    board.told(slack, null, '0');
    await clock.advance(5_000);
    board.told(slack, 'answered 503', '0');
    await clock.advance(5_000);
    board.told(slack, 'no answer', '0');

    expect(board.of(slack)).toEqual({ up: false, sinceMs: startMs + 5_000, lastSuccessMs: startMs, error: 'no answer' });
    expect(await shown('rollbackd_receiver_up')).toBe('rollbackd_receiver_up{integration="slack",receiver="oncall"} 0');
  });

  it('is up again only when every voice has spoken well', async () => {
    board.told(plane, 'connection refused', 'fraud');
    board.told(plane, null, 'ranker');
    expect(board.of(plane)).toMatchObject({ up: false, lastSuccessMs: null, error: 'connection refused' });

    board.told(plane, null, 'fraud');
    expect(board.of(plane)).toMatchObject({ up: true, lastSuccessMs: clock.nowMs(), error: null });
    expect(await shown('rollbackd_control_plane_up')).toBe('rollbackd_control_plane_up{control_plane="tfs"} 1');
  });

  it('forgets the failure of a model that left the settings, without calling that a success', async () => {
    board.told(plane, 'no such model', 'ranker');
    await clock.advance(5_000);

    board.know([{ part: plane, voices: ['fraud'] }]);

    expect(board.of(plane)).toEqual({ up: true, sinceMs: clock.nowMs(), lastSuccessMs: null, error: null });
    expect(await shown('rollbackd_control_plane_up')).toBe('rollbackd_control_plane_up{control_plane="tfs"} 1');
  });

  it('does not hear of what is not in the settings', () => {
    board.told(plane, 'no such model', 'gone');
    board.told({ kind: 'source', name: 'gone' }, 'connection refused');

    expect(board.of(plane).up).toBeNull();
    expect(board.of({ kind: 'source', name: 'gone' }).up).toBeNull();
  });

  it('drops what a voice said that is silent now', () => {
    board.told(journal, 'disk full', 'write');
    board.told(journal, null, 'read');
    board.silence(journal, 'write');

    expect(board.of(journal)).toMatchObject({ up: true, lastSuccessMs: null });
  });

  it('shows one line, short, and no secret', () => {
    board.told(slack, `POST https://ann:hunter22@slack.example:\n  Bearer abcdef123456 ${'x'.repeat(600)}`, '0');

    const { error } = board.of(slack);
    expect(error).toMatch(/^POST https:\/\/<secret>@slack\.example: Bearer <secret> x+…$/);
    expect(error).toHaveLength(501);
  });
});
