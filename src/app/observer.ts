import type { Model } from '../domain/model.ts';
import type { Observation } from '../domain/observation.ts';
import type { Clock, ControlPlane, Log, PlaneTarget } from '../domain/ports.ts';
import type { HealthBoard } from './health-board.ts';

/** An observation older than this many intervals is no longer believed for attribution. */
const believedIntervals = 3;

/** A thorough observation is good for this long, from its beginning. */
const thoroughMs = 1_000;

/** Keeps the newest observation of each model, refreshed every `observe_interval`, and on demand right before acting. */
export class Observer {
  readonly #planes: ReadonlyMap<string, ControlPlane>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #health: HealthBoard | null;
  readonly #latest = new Map<string, Observation>();
  /** Thorough ones that nothing was built on yet. */
  readonly #thorough = new Map<string, Observation>();
  readonly #failures = new Map<string, string>();
  readonly #triedMs = new Map<string, number>();

  constructor(options: { planes: ReadonlyMap<string, ControlPlane>; clock: Clock; log: Log; health?: HealthBoard }) {
    this.#planes = options.planes;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#health = options.health ?? null;
  }

  /** Newest believable observation, `null` when there is none. */
  latest(model: Model): Observation | null {
    const found = this.#latest.get(model.name);
    if (found === undefined) return null;
    const ageMs = this.#clock.nowMs() - found.atMs;
    // From ahead of the clock: it was set back, and nobody knows how old it is.
    return Math.abs(ageMs) > believedIntervals * Math.max(model.observeIntervalMs, 5_000) ? null : found;
  }

  /** Why the last observation failed, `null` when it worked. */
  failure(model: string): string | null {
    return this.#failures.get(model) ?? null;
  }

  isDue(model: Model): boolean {
    const triedMs = this.#triedMs.get(model.name);
    const sinceMs = triedMs === undefined ? Number.POSITIVE_INFINITY : this.#clock.nowMs() - triedMs;
    return sinceMs >= model.observeIntervalMs || sinceMs < 0;
  }

  /** Two may be under way at once: the one begun later counts. After a clock was set back the newest is the one that comes. */
  #keep(model: Model, observation: Observation): void {
    const known = this.latest(model);
    if (known === null || known.atMs <= observation.atMs || known.atMs > this.#clock.nowMs()) this.#latest.set(model.name, observation);
  }

  /**
   * The thorough observation that a decision was just made on, once: what follows at once from the decision need not ask all of it again.
   * `null` when there is none, or it is older than `thoroughMs`. Every mutation looks at the plane for itself.
   */
  takeThorough(model: Model): Observation | null {
    const found = this.#thorough.get(model.name);
    this.#thorough.delete(model.name);
    const ageMs = found === undefined ? Number.POSITIVE_INFINITY : this.#clock.nowMs() - found.atMs;
    return found !== undefined && ageMs >= 0 && ageMs <= thoroughMs ? found : null;
  }

  /** Observes now. `null` when the plane did not answer; the reason is logged (the first time loudly) and kept. */
  async observe(model: Model, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation | null> {
    const plane = this.#planes.get(model.controlPlane);
    if (plane === undefined) return null;
    this.#triedMs.set(model.name, this.#clock.nowMs());
    try {
      const observation = await plane.observe(planeTarget(model), options, signal);
      this.#keep(model, observation);
      if (options.thorough) this.#thorough.set(model.name, observation);
      this.#tell(model, null);
      if (this.#failures.delete(model.name)) this.#log.info({ model: model.name }, 'control plane can be observed again');
      return observation;
    } catch (error) {
      if (signal.aborted) return null;
      const reason = error instanceof Error ? error.message : String(error);
      const level = this.#failures.has(model.name) ? 'debug' : 'warn';
      this.#failures.set(model.name, reason);
      this.#tell(model, reason);
      this.#log[level]({ model: model.name, control_plane: model.controlPlane, err: error }, 'control plane could not be observed');
      return null;
    }
  }

  #tell(model: Model, failure: string | null): void {
    this.#health?.told({ kind: 'control_plane', name: model.controlPlane }, failure, model.name);
  }
}

/** How a model is called on its plane. */
export function planeTarget(model: Model): PlaneTarget {
  return { model: model.name, plane: model.plane };
}

/** Versions the plane serves, biggest share first. */
export function servingVersions(observation: Observation | null): readonly string[] {
  if (observation === null) return [];
  return observation.serving
    .filter((share) => share.share > 0)
    .toSorted((a, b) => b.share - a.share)
    .map((share) => share.version);
}
