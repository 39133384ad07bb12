import type { App } from '../../src/app/app.ts';
import type { Model } from '../../src/domain/model.ts';
import type { Journal } from '../../src/domain/ports.ts';
import { aPolicy } from './builders.ts';
import type { FakeClock } from './fake-clock.ts';
import { FakePlane } from './fake-plane.ts';
import { FakeSource } from './fake-source.ts';
import { type FakeTeller, type StageOptions, setStage } from './stage.ts';

export type StormModel = { readonly plane: FakePlane; readonly source: FakeSource };

/** Several models, each on a plane and (unless `sharesSource`, which has them judged in one turn) a source of its own; version 2 serves everywhere, 1 is known to be good. */
export class StormStage {
  readonly models: ReadonlyMap<string, StormModel>;
  readonly #clock: FakeClock;
  readonly #journal: Journal;
  readonly #sourceOf: (model: string) => string;

  constructor(options: { readonly clock: FakeClock; readonly journal: Journal; readonly names: readonly string[]; readonly sharesSource?: boolean }) {
    this.#clock = options.clock;
    this.#journal = options.journal;
    const shared = options.sharesSource === true ? new FakeSource() : null;
    this.#sourceOf = (name) => (shared === null ? name : 'shared');
    this.models = new Map(
      options.names.map((name) => [name, { plane: new FakePlane({ clock: options.clock, serving: '2', loadMs: 5_000 }), source: shared ?? new FakeSource() }]),
    );
    for (const { source } of this.models.values()) source.traffic.set('2', { requests: 100, errorRatio: 0 });
  }

  of(name: string): StormModel {
    const found = this.models.get(name);
    if (found === undefined) throw new Error(`no model ${name} on this stage`);
    return found;
  }

  /** A process on this stage; the world stays as it is, so that another can follow it. */
  async start(options: Partial<StageOptions> & { readonly rollback?: Partial<Model['rollback']> } = {}): Promise<{ app: App; teller: FakeTeller }> {
    const rollback = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] }, cooldownMs: 0, ...options.rollback });
    const [first, ...others] = [...this.models];
    if (first === undefined) throw new Error('a stage needs a model');
    const { app, teller } = await setStage({
      clock: this.#clock,
      journal: this.#journal,
      plane: first[1].plane,
      source: new FakeSource(),
      sources: Object.fromEntries([...this.models].map(([name, { source }]) => [this.#sourceOf(name), source])),
      model: { name: first[0], source: this.#sourceOf(first[0]), rollback },
      others: others.map(([name, { plane }]) => ({ model: { name, source: this.#sourceOf(name), rollback }, plane })),
      ...options,
    });
    app.start();
    return { app, teller };
  }

  /** Lets the version 2 of these models fail. */
  spoil(...names: readonly string[]): void {
    for (const name of names) this.of(name).source.traffic.set('2', { requests: 100, errorRatio: 0.1 });
  }

  /** Time passes; traffic goes where the planes send it, version 1 is well. */
  async pass(durationMs: number): Promise<void> {
    for (let passedMs = 0; passedMs < durationMs; passedMs += 1_000) {
      await this.#clock.advance(1_000);
      for (const { plane, source } of this.models.values()) {
        const serving = new Set(plane.serving());
        source.traffic.set('1', { requests: serving.has('1') ? 100 : 0, errorRatio: 0 });
        const { errorRatio } = source.traffic.get('2') ?? { errorRatio: 0 };
        source.traffic.set('2', { requests: serving.has('2') ? 100 : 0, errorRatio });
      }
    }
  }

  /** Models of which some endpoint serves the version. */
  serving(version: string): readonly string[] {
    return [...this.models].flatMap(([name, { plane }]) => (plane.serving().includes(version) ? [name] : []));
  }
}
