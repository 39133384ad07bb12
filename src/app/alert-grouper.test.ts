import { describe, expect, it } from 'vitest';
import type { Route } from '../domain/routing.ts';
import { type FiringAlert, type GrouperConfig, type GrouperState, type GroupMessage, noGroups, step } from './alert-grouper.ts';

const s = 1000;
const m = 60 * s;
const route: Route = {
  receiver: 'oncall',
  groupBy: ['model'],
  groupWaitMs: 30 * s,
  groupIntervalMs: 5 * m,
  repeatIntervalMs: 4 * 60 * m,
  matchers: [],
  continue: false,
  routes: [],
};
const anAlert = (fingerprint: string, startsAtMs: number, labels: Record<string, string> = { model: 'fraud' }): FiringAlert<string> => ({
  fingerprint,
  labels,
  startsAtMs,
  data: fingerprint,
});

/** Walks through time, noting what is sent: `30s firing: a b, c resolved`. */
class Walk {
  state: GrouperState<string> = noGroups;
  nextMs: number | null = null;
  readonly config: GrouperConfig;
  readonly ids: string[] = [];
  constructor(changes: Partial<Route> = {}, sendResolved = true) {
    this.config = { route: { ...route, ...changes }, sendResolved: () => sendResolved };
  }
  at(nowMs: number, ...alerts: FiringAlert<string>[]): string[] {
    // Through JSON, as a journal would keep it.
    const result = step(this.config, JSON.parse(JSON.stringify(this.state)) as GrouperState<string>, alerts, nowMs);
    this.state = result.state;
    this.nextMs = result.nextMs;
    this.ids.push(...result.send.map(({ id }) => id));
    return result.send.map(show);
  }
}
const show = (message: GroupMessage<string>): string =>
  `${message.status}: ${message.alerts.map(({ data, endsAtMs }) => (endsAtMs === null ? data : `${data} resolved`)).join(', ')}`;

describe('alert grouping', () => {
  it('gathers a new group for group_wait', () => {
    const walk = new Walk();

    expect(walk.at(0, anAlert('a', 0))).toEqual([]);
    expect(walk.nextMs).toBe(30 * s);
    expect(walk.at(15 * s, anAlert('a', 0), anAlert('b', 15 * s))).toEqual([]);
    expect(walk.at(30 * s, anAlert('a', 0), anAlert('b', 15 * s))).toEqual(['firing: a, b']);
    expect(walk.nextMs).toBe(5 * m + 30 * s);
  });

  it('tells at once what has fired for longer than group_wait already', () => {
    expect(new Walk().at(10 * m, anAlert('a', 0))).toEqual(['firing: a']);
  });

  it('tells a change at the next group_interval, and nothing when nothing changed', () => {
    const walk = new Walk({ groupWaitMs: 0 });
    expect(walk.at(0, anAlert('a', 0))).toEqual(['firing: a']);
    expect(walk.at(1 * m, anAlert('a', 0), anAlert('b', 1 * m))).toEqual([]);
    expect(walk.at(5 * m, anAlert('a', 0), anAlert('b', 1 * m))).toEqual(['firing: a, b']);
    expect(walk.at(10 * m, anAlert('a', 0), anAlert('b', 1 * m))).toEqual([]);
    expect(walk.at(15 * m, anAlert('b', 1 * m))).toEqual(['firing: b, a resolved']);
    expect(walk.at(20 * m, anAlert('b', 1 * m))).toEqual([]);
    expect(walk.at(21 * m)).toEqual([]);
    expect(walk.at(25 * m)).toEqual(['resolved: b resolved']);
    expect(walk.nextMs).toBeNull();
    expect(walk.state.groups).toEqual({});
  });

  it('repeats what still fires at repeat_interval', () => {
    const walk = new Walk({ groupWaitMs: 0, repeatIntervalMs: 12 * m });
    const told: number[] = [];
    for (let now = 0; now <= 40 * m; now += m) if (walk.at(now, anAlert('a', 0)).length > 0) told.push(now / m);

    expect(told).toEqual([0, 15, 30]);
    expect(new Set(walk.ids).size).toBe(3);
  });

  it('says nothing of an alert that came and went within group_wait', () => {
    const walk = new Walk();
    walk.at(0, anAlert('a', 0));

    expect([walk.at(10 * s), walk.at(30 * s), walk.nextMs]).toEqual([[], [], null]);
  });

  it('says nothing of one that went and came back between flushes', () => {
    const walk = new Walk({ groupWaitMs: 0 });
    walk.at(0, anAlert('a', 0));

    expect([walk.at(1 * m), walk.at(2 * m, anAlert('a', 2 * m)), walk.at(5 * m, anAlert('a', 2 * m))]).toEqual([[], [], []]);
  });

  it('leaves resolved alerts out where send_resolved is false', () => {
    const walk = new Walk({ groupWaitMs: 0 }, false);
    walk.at(0, anAlert('a', 0), anAlert('b', 0));

    expect(walk.at(5 * m, anAlert('a', 0))).toEqual([]);
    expect(walk.at(10 * m)).toEqual([]);
    expect(walk.at(11 * m, anAlert('a', 11 * m))).toEqual(['firing: a']);
  });

  it('groups by labels, all of them with "..."', () => {
    const alerts = [anAlert('a', 0, { model: 'fraud', v: '1' }), anAlert('b', 0, { model: 'fraud', v: '2' }), anAlert('c', 0, { model: 'ranker' })];

    expect(new Walk({ groupWaitMs: 0 }).at(0, ...alerts)).toEqual(['firing: a, b', 'firing: c']);
    expect(new Walk({ groupWaitMs: 0, groupBy: [] }).at(0, ...alerts)).toEqual(['firing: a, b, c']);
    expect(new Walk({ groupWaitMs: 0, groupBy: ['...'] }).at(0, ...alerts)).toHaveLength(3);
  });

  it('gives a message the same id after a restart without state', () => {
    const first = new Walk({ groupWaitMs: 0 });
    first.at(0, anAlert('a', 0));
    const second = new Walk({ groupWaitMs: 0 });
    second.at(7 * m, anAlert('a', 0));

    expect(second.ids).toEqual(first.ids);
  });

  it('tells nothing false when a reload routes an alert elsewhere', () => {
    const walk = new Walk({ groupWaitMs: 0 });
    walk.at(0, anAlert('a', 0));
    const moved = new Walk({ groupWaitMs: 0, routes: [{ ...route, groupWaitMs: 0, receiver: 'other' }] });
    moved.state = walk.state;

    expect(moved.at(5 * m, anAlert('a', 0))).toEqual(['firing: a']);
    expect(Object.values(moved.state.groups).map(({ taken }) => taken.receiver)).toEqual(['other']);
  });
});
