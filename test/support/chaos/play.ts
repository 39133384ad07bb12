import type { DatabaseSync } from 'node:sqlite';
import { openJournal } from '../../../src/adapters/journal/sqlite/open.ts';
import type { Episode } from '../../../src/domain/episode.ts';
import type { JournalEvent, StoredEvent } from '../../../src/domain/event.ts';
import { type ControlPlane, type Journal, JournalError, type Sender, type SmokeRunner } from '../../../src/domain/ports.ts';
import type { OutboxMessage } from '../../../src/domain/records.ts';
import type { ApplyOutcome, Step } from '../../../src/domain/step.ts';
import { aPolicy, aRule } from '../builders.ts';
import { FakeClock } from '../fake-clock.ts';
import { FakePlane } from '../fake-plane.ts';
import { FakeSource } from '../fake-source.ts';
import { setStage } from '../stage.ts';
import { Mortal, type Operation } from './mortal.ts';
import { mortalClock, mortalJournal, tellingBy } from './mortal-parts.ts';
import type { Outage, Scenario } from './scenario.ts';

/** What came of a play. */
export type Played = {
  readonly episodes: readonly Episode[];
  readonly events: readonly StoredEvent[];
  readonly verified: Awaited<ReturnType<Journal['verify']>>;
  /** Changes of what serves that came from us, `a: 2 -> 1`. */
  readonly switches: readonly string[];
  /** By each server. */
  readonly serving: readonly string[];
  readonly deliveries: readonly OutboxMessage[];
  /** What was seen to be wrong while it played. */
  readonly wrongs: readonly string[];
  /** Operations of the first process. */
  readonly counts: ReadonlyMap<Operation, number>;
  readonly crashes: number;
  /** Faults that struck, crashes apart. */
  readonly faults: number;
  readonly wasRefused: boolean;
  /** The foreign deploy happened, and while no switch had been sent. */
  readonly foreign: 'none' | 'before_switch' | 'later';
  /** Time from the start after the last crash to the end of the episode. */
  readonly recoveredMs: number | null;
};

/** Stands in for a part of the process, to plant a fault in it. */
export type Plant = {
  readonly journal?: (journal: Journal) => Journal;
  readonly plane?: (plane: ControlPlane) => ControlPlane;
  readonly sender?: (sender: Sender) => Sender;
};

const policy = aPolicy({ convergeTimeoutMs: 40_000, recoveryWithinMs: 60_000, stickMs: 3_000 });
/** A play that takes longer never ends. */
const longestS = 600;

/** One rollback in virtual time, from the breach to the end, with all that befalls it. */
export async function play(scenario: Scenario, plant: Plant = {}): Promise<Played> {
  return await new World(scenario, plant).play();
}

class World {
  readonly #scenario: Scenario;
  readonly #plant: Plant;
  readonly #clock = new FakeClock();
  readonly #source = new FakeSource();
  readonly #plane: FakePlane;
  readonly #deliveries: OutboxMessage[] = [];
  readonly #wrongs: string[] = [];
  /** Intents that are durable, `step` or `undo step`. */
  readonly #intended = new Set<string>();
  readonly #late: (() => Promise<unknown>)[] = [];
  #database: DatabaseSync | null = null;
  #journal: Journal | null = null;
  #appends = 0;
  #applies = 0;
  #sends = 0;
  #faults = 0;
  #wasRefused = false;
  #foreign: Played['foreign'] = 'none';
  #second = 0;

  constructor(scenario: Scenario, plant: Plant) {
    this.#scenario = scenario;
    this.#plant = plant;
    this.#plane = new FakePlane({
      clock: this.#clock,
      serving: '2',
      loadMs: scenario.target === 'stuck' ? 3_600_000 : 1_000,
      ...(scenario.target === 'broken' && { broken: { '1': 'no such file' } }),
    });
    this.#follow();
  }

  async play(): Promise<Played> {
    const journal = await openJournal({ path: ':memory:', clock: this.#clock, onDatabase: (raw) => (this.#database = raw) });
    this.#journal = journal;
    const crashes = [...this.#scenario.crashes];
    const first = new Mortal(crashes[0] ?? null);
    let [mortal, app] = [first, await this.#start(first, crashes.shift() ?? null)];
    let crashed = 0;
    let startedMs = this.#clock.nowMs();
    for (let quietS = 0; quietS < 5; ) {
      await this.#pass();
      if (mortal.isDead) {
        crashed += 1;
        quietS = 0;
        for (const arrive of this.#late.splice(0)) await arrive();
        for (let second = 0; second < (this.#scenario.crashes[crashed - 1]?.downS ?? 1); second += 1) await this.#pass();
        await journal.takeEpoch();
        const next = crashes.shift() ?? null;
        mortal = new Mortal(next);
        app = await this.#start(mortal, next);
        startedMs = this.#clock.nowMs();
      }
      quietS = (await this.#isSettled()) ? quietS + 1 : 0;
      if (this.#second > longestS) {
        this.#wrongs.push(`no end within ${longestS} s`);
        break;
      }
    }
    const episodes = await journal.episodes({});
    const { finishedAtMs = null } = episodes[0] ?? {};
    const played: Played = {
      episodes,
      events: await journal.events(0, 100_000),
      verified: await journal.verify(),
      switches: this.#plane.switches,
      serving: this.#plane.serving(),
      deliveries: this.#deliveries,
      wrongs: this.#wrongs,
      counts: first.counts,
      crashes: crashed,
      faults: this.#faults,
      wasRefused: this.#wasRefused,
      foreign: this.#foreign,
      recoveredMs: crashed === 0 || finishedAtMs === null ? null : Math.max(0, finishedAtMs - startedMs),
    };
    mortal.kill();
    app.hurry();
    await journal.close();
    return played;
  }

  async #start(mortal: Mortal, crash: Scenario['crashes'][number] | null) {
    const own = mortalJournal(mortal, this.#journal as Journal, async (events) => await this.#append(events));
    const clock = mortalClock(mortal, this.#clock);
    const journal = this.#plant.journal?.(own) ?? own;
    const plane = this.#planeOf(mortal, crash?.isSent ?? false);
    const sender = this.#senderOf(mortal);
    const { app } = await setStage({
      clock: clock as FakeClock,
      journal,
      plane: this.#plant.plane?.(plane) ?? plane,
      source: this.#source,
      model: {
        observeIntervalMs: 600_000,
        rollback: { ...policy, knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: this.#scenario.triesNext ? ['1', '0'] : ['1'] } },
        smokeTest: { timeoutMs: 1, retries: 0, onFailure: this.#scenario.triesNext ? 'next_target' : 'stop', requests: [] },
      },
      rules: [aRule({ condition: { kind: 'error_ratio', windowMs: 10_000, limit: { op: 'above', value: 0.05 }, minRequests: 100 } })],
      smoke: this.#smokeOf(mortal),
      ...tellingBy(this.#plant.sender?.(sender) ?? sender, { journal, clock }),
    });
    app.start();
    return app;
  }

  /** A second of the world: traffic goes where the servers lead it. */
  async #pass(): Promise<void> {
    this.#second += 1;
    const { sourceOutage, planeOutage, serverOutage, foreignDeployS } = this.#scenario;
    if (this.#second === foreignDeployS) {
      this.#foreign = this.#plane.switches.length === 0 ? 'before_switch' : 'later';
      this.#plane.switchBehindTheBack('3');
    }
    this.#source.failure = this.#isOut(sourceOutage) ? 'prometheus answered 503' : null;
    this.#plane.unreachable = this.#isOut(planeOutage) ? 'connection refused' : null;
    if (this.#isOut(serverOutage)) this.#plane.unreadable.add('b');
    else this.#plane.unreadable.delete('b');
    await this.#clock.advance(1_000);
    this.#follow();
  }

  #isOut(outage: Outage | null): boolean {
    return outage !== null && this.#second >= outage.fromS && this.#second < outage.fromS + outage.forS;
  }

  #follow(): void {
    const serving = this.#plane.serving();
    for (const version of ['0', '1', '2', '3'])
      this.#source.traffic.set(version, { requests: 100 * serving.filter((each) => each === version).length, errorRatio: version === '2' ? 0.1 : 0 });
  }

  async #isSettled(): Promise<boolean> {
    const { foreignDeployS } = this.#scenario;
    const [episode] = (await this.#journal?.episodes({})) ?? [];
    // Version 3 was deployed before anything was decided: then nothing is to be done.
    const isDone = episode === undefined ? foreignDeployS !== null && this.#second > foreignDeployS + 20 : episode.finishedAtMs !== null;
    if (!isDone) return false;
    const waiting = (await this.#journal?.outbox()) ?? [];
    // That it was sent may be what could not be written down.
    return waiting.every(({ id, kind }) => kind === 'episode_started' || this.#deliveries.some((delivery) => delivery.id === id));
  }

  async #append(events: readonly JournalEvent[]): Promise<readonly StoredEvent[]> {
    this.#appends += 1;
    const nth = this.#appends;
    const fault = this.#scenario.journalFaults.find((each) => nth >= each.nth && nth < each.nth + each.count)?.kind ?? null;
    if (fault === 'refused') {
      this.#faults += 1;
      throw new JournalError('the journal cannot be written');
    }
    const stored = await this.#write(events, fault === 'full');
    for (const event of events) if (event.type === 'step_intent') this.#intended.add(`${event.inverse ? 'undo ' : ''}${event.step}`);
    if (fault === 'unsure') {
      this.#faults += 1;
      throw new JournalError('the connection was lost after the write');
    }
    return stored;
  }

  async #write(events: readonly JournalEvent[], isFull: boolean): Promise<readonly StoredEvent[]> {
    // SQLite's own limit of pages is what a full disk looks like; a write that fits into the pages there are gets through.
    if (isFull) this.#database?.exec('pragma max_page_count = 1');
    try {
      return await (this.#journal as Journal).append(events);
    } catch (error) {
      if (isFull) this.#faults += 1;
      throw error;
    } finally {
      if (isFull) this.#database?.exec('pragma max_page_count = 1000000');
    }
  }

  #planeOf(mortal: Mortal, isSent: boolean): ControlPlane {
    let observations = 0;
    const observedAtSend = new Map<string, number>();
    const plane = this.#plane;
    return new Proxy<ControlPlane>(plane, {
      get: (_, key) => {
        if (key === 'observe') {
          return async (target: unknown, options: { thorough: boolean }) => {
            const observation = await mortal.cross('observe', async () => await plane.observe(target, options));
            observations += 1;
            return observation;
          };
        }
        if (key === 'apply') {
          return async (target: unknown, step: Step, options: { inverse: boolean }, signal: AbortSignal) => {
            const name = `${options.inverse ? 'undo ' : ''}${step.name}`;
            if (!this.#intended.has(name)) this.#wrongs.push(`${name} was sent before its intent was in the journal`);
            if (observations <= (observedAtSend.get(name) ?? 0)) this.#wrongs.push(`${name} was sent again without a look at the plane`);
            observedAtSend.set(name, observations);
            return await mortal.cross(
              'apply',
              async () => await this.#apply(step, options, signal),
              () => {
                if (isSent) this.#late.push(async () => await plane.apply(target, step, options, new AbortController().signal));
              },
            );
          };
        }
        const value: unknown = Reflect.get(plane, key, plane);
        return typeof value === 'function' ? (value.bind(plane) as unknown) : value;
      },
    });
  }

  async #apply(step: Step, options: { inverse: boolean }, signal: AbortSignal): Promise<ApplyOutcome> {
    this.#applies += 1;
    const nth = this.#applies;
    const fault = this.#scenario.applyFaults.find((each) => each.nth === nth)?.kind ?? null;
    const carryOut = async (): Promise<ApplyOutcome> => await this.#plane.apply({}, step, options, signal);
    if (fault !== null) this.#faults += 1;
    switch (fault) {
      case null:
        return await carryOut();
      case 'lost_answer':
        await carryOut();
        return { kind: 'indeterminate', class: 'indeterminate', detail: 'connection lost after send' };
      case 'lost_request':
        return { kind: 'indeterminate', class: 'indeterminate', detail: 'connection lost after send' };
      case 'conflict':
        return { kind: 'conflict', class: 'conflict', detail: 'changed meanwhile' };
      case 'busy':
        return { kind: 'rejected', class: 'transient', detail: 'too many requests' };
      case 'refused':
        this.#wasRefused = true;
        return { kind: 'rejected', class: 'permanent', detail: 'not allowed' };
    }
  }

  #smokeOf(mortal: Mortal): SmokeRunner {
    return {
      run: async (_test, context) =>
        await mortal.cross('smoke', async () => {
          const serves = this.#plane.serving().every((version) => version === context.to);
          const isFailing = serves ? this.#scenario.smoke === 'fails_serving' : this.#scenario.smoke === 'fails_staged' && context.to === '1';
          return [{ name: 'one transaction', outcome: isFailing ? 'failed' : 'passed', durationMs: 5, detail: isFailing ? 'status 500' : '' }];
        }),
    };
  }

  #senderOf(mortal: Mortal): Sender {
    return {
      lane: 'fake/oncall',
      send: async (message) =>
        await mortal.cross('send', async () => {
          this.#sends += 1;
          if (this.#scenario.failingSends.includes(this.#sends)) {
            this.#faults += 1;
            return { kind: 'retry', retryAfterMs: null, reason: 'serverError', detail: 'status 503' };
          }
          this.#deliveries.push(message);
          return { kind: 'sent', detail: 'ok' };
        }),
    };
  }
}
