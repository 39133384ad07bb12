import { openMemoryJournal } from '../../../src/adapters/journal/memory/open.ts';
import type { ModelGroup } from '../../../src/domain/model-group.ts';
import type { Journal, Sender } from '../../../src/domain/ports.ts';
import type { Step } from '../../../src/domain/step.ts';
import { aPolicy, aRule } from '../builders.ts';
import { FakeClock } from '../fake-clock.ts';
import { FakePlane } from '../fake-plane.ts';
import { FakeSource } from '../fake-source.ts';
import { setStage } from '../stage.ts';
import { type Crash, Mortal, type Operation } from './mortal.ts';
import { mortalClock, mortalJournal, tellingBy } from './mortal-parts.ts';

/** In the order in which an ordered group moves; `fraud` breaks the rule. */
const names = ['ranker', 'fraud'] as const;
const modelGroup: Omit<ModelGroup, 'kind'> = { name: 'checkout', models: names, releasedWithinMs: 3_600_000 };
const rollback = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] }, recoveryWithinMs: 60_000, stickMs: 2_000 });
/** A play that takes longer never ends. */
const longestS = 300;

export type GroupPlayed = {
  /** All that is wrong, in words; empty: nothing. */
  readonly wrongs: readonly string[];
  readonly counts: ReadonlyMap<Operation, number>;
  readonly hasCrashed: boolean;
  /** Time from the start after the crash to the end of the last episode. */
  readonly recoveredMs: number;
};

/** The rollback of a group of two in virtual time, whose process dies once, and what must hold of it whenever that is. */
export async function playGroup(kind: 'together' | 'ordered', crash: Crash | null): Promise<GroupPlayed> {
  return await new GroupWorld(kind).play(crash);
}

class GroupWorld {
  readonly #kind: 'together' | 'ordered';
  readonly #clock = new FakeClock();
  readonly #source = { ranker: new FakeSource(), fraud: new FakeSource() };
  readonly #plane = { ranker: this.#aPlane(3_000), fraud: this.#aPlane(1_000) };
  readonly #deliveries: string[] = [];
  readonly #wrongs = new Set<string>();

  constructor(kind: 'together' | 'ordered') {
    this.#kind = kind;
    this.#follow();
  }

  #aPlane(loadMs: number): FakePlane {
    return new FakePlane({ clock: this.#clock, serving: '2', loadMs, endpoints: ['a'] });
  }

  async play(crash: Crash | null): Promise<GroupPlayed> {
    const journal = await openMemoryJournal({ clock: this.#clock });
    const first = new Mortal(crash);
    let [mortal, app] = [first, await this.#start(first, journal)];
    let startedMs = this.#clock.nowMs();
    for (let second = 0; !(await this.#isOver(journal)); second += 1) {
      if (second > longestS) this.#wrongs.add(`no end within ${longestS} s`);
      if (second > longestS) break;
      await this.#pass();
      if (!mortal.isDead) continue;
      await journal.takeEpoch();
      startedMs = this.#clock.nowMs();
      mortal = new Mortal(null);
      app = await this.#start(mortal, journal);
    }
    await this.#judge(journal);
    mortal.kill();
    app.hurry();
    await journal.close();
    return { wrongs: [...this.#wrongs], counts: first.counts, hasCrashed: mortal !== first, recoveredMs: this.#clock.nowMs() - startedMs };
  }

  async #isOver(journal: Journal): Promise<boolean> {
    const episodes = await journal.episodes({});
    if (episodes.length !== 0 && episodes.length !== 2) this.#wrongs.add(`${episodes.length} episodes of a group of two`);
    if (episodes.length === 0 || episodes.some(({ finishedAtMs }) => finishedAtMs === null)) return false;
    return (await journal.outbox()).every(({ kind }) => kind === 'episode_started');
  }

  async #judge(journal: Journal): Promise<void> {
    const episodes = await journal.episodes({});
    const say = (isRight: boolean, words: string): void => void (isRight || this.#wrongs.add(words));
    for (const name of names) {
      const ended = episodes.filter(({ model }) => model === name).map(({ state, detail }) => `${state}: ${detail}`);
      say(ended.length === 1 && ended[0]?.startsWith('succeeded') === true, `${name} ended ${ended.join(' and ') || 'never'}`);
      const { switches } = this.#plane[name];
      say(switches.length === 1 && switches[0] === 'a: 2 -> 1', `what ${name} serves changed: ${switches.join(', ') || 'never'}`);
    }
    for (const { id, model } of episodes)
      say(
        this.#deliveries.some((told) => told.startsWith(`${id}/finished`)),
        `the end of ${model} was told to nobody`,
      );
    const verified = await journal.verify();
    say(verified.ok, 'the journal does not verify');
  }

  async #start(mortal: Mortal, journal: Journal) {
    const clock = mortalClock(mortal, this.#clock);
    const own = mortalJournal(mortal, journal);
    const sender: Sender = {
      lane: 'fake/oncall',
      send: async ({ id }) =>
        await mortal.cross('send', async () => {
          this.#deliveries.push(id);
          return { kind: 'sent', detail: '' };
        }),
    };
    const model = { observeIntervalMs: 600_000, rollback };
    const { app } = await setStage({
      clock: clock as FakeClock,
      journal: own,
      plane: this.#planeOf('fraud', mortal, journal),
      source: this.#source.fraud,
      sources: { ranker: this.#source.ranker },
      model: { ...model, name: 'fraud' },
      others: [{ model: { ...model, name: 'ranker', source: 'ranker' }, plane: this.#planeOf('ranker', mortal, journal) }],
      rules: [aRule({ condition: { kind: 'error_ratio', windowMs: 10_000, limit: { op: 'above', value: 0.05 }, minRequests: 100 } })],
      modelGroups: [{ ...modelGroup, kind: this.#kind }],
      ...tellingBy(sender, { journal: own, clock }),
    });
    app.start();
    return app;
  }

  #planeOf(name: (typeof names)[number], mortal: Mortal, journal: Journal): FakePlane {
    const plane = this.#plane[name];
    return new Proxy(plane, {
      get: (_, key) => {
        if (key === 'observe')
          return async (target: unknown, options: { thorough: boolean }) => await mortal.cross('observe', async () => await plane.observe(target, options));
        if (key === 'apply')
          return async (target: unknown, step: Step, options: { inverse: boolean }, signal: AbortSignal) => {
            await this.#judgeStep(name, step, journal);
            return await mortal.cross('apply', async () => await plane.apply(target, step, options, signal));
          };
        const value: unknown = Reflect.get(plane, key, plane);
        return typeof value === 'function' ? (value.bind(plane) as unknown) : value;
      },
    });
  }

  /** Together nobody switches before all are loaded; in order nothing of the second is touched before the first is done. */
  async #judgeStep(name: (typeof names)[number], step: Step, journal: Journal): Promise<void> {
    if (this.#kind === 'together') {
      const states = await Promise.all(names.map(async (each) => (await this.#plane[each].observe({}, { thorough: false })).versions));
      const missing = names.filter((_, index) => !states[index]?.some(({ id, state }) => id === '1' && state === 'available'));
      if (step.phase === 'switch' && missing.length > 0) this.#wrongs.add(`${name} was switched before ${missing.join()} had loaded its target`);
      return;
    }
    const ranker = (await journal.episodes({})).find(({ model }) => model === 'ranker');
    if (name === 'fraud' && ranker?.state !== 'succeeded') this.#wrongs.add(`${step.name} of fraud was sent while ranker was ${ranker?.state}`);
  }

  async #pass(): Promise<void> {
    await this.#clock.advance(1_000);
    this.#follow();
  }

  #follow(): void {
    for (const name of names) {
      const [serving] = this.#plane[name].serving();
      const { traffic } = this.#source[name];
      traffic.set('1', { requests: serving === '1' ? 100 : 0, errorRatio: 0 });
      traffic.set('2', { requests: serving === '2' ? 100 : 0, errorRatio: name === 'fraud' ? 0.1 : 0 });
    }
  }
}
