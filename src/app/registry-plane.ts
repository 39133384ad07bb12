import { type EndpointObservation, mainVersion, type Observation } from '../domain/observation.ts';
import { type ControlPlane, type EndpointSignature, type PlaneCapabilities, PlaneError, type PlaneTarget, type VersionStore } from '../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../domain/step.ts';

/** Key that marks a step of the registry; below it stands the registry's own mutation. */
const mark = 'registry';

export type RegistryPlaneParts = {
  /** Name of the registry in the daemon's file. */
  readonly name: string;
  readonly registry: ControlPlane;
  readonly actuator: ControlPlane;
  /** Name of the plane that moves the traffic. */
  readonly actuatorName: string;
};

/**
 * A registry and the plane that moves its traffic, as one: what serves is what the actuator shows, and the registry is told once the actuator has confirmed.
 * A registry that is away holds up no rollback. Neither part knows of the other.
 */
export class RegistryPlane implements ControlPlane {
  readonly #parts: RegistryPlaneParts;
  /** The actuator's memory is its own, also for models that go through no registry. */
  readonly remembersAs: string;

  constructor(parts: RegistryPlaneParts) {
    this.#parts = parts;
    this.remembersAs = parts.actuator.remembersAs ?? parts.actuatorName;
  }

  capabilities(): PlaneCapabilities {
    return this.#parts.actuator.capabilities();
  }

  /** @throws {PlaneError} of the actuator only */
  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    const { actuator } = this.#parts;
    const [applied, registry] = await Promise.all([actuator.observe(target, options, signal), this.#observeRegistry(target, signal)]);
    return { ...applied, registry };
  }

  plan(target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    const { actuator, registry } = this.#parts;
    const switching = actuator.plan(target, observation, desired);
    if (switching.kind === 'refused' || desired.kind === 'unpin') return switching;
    const recording = registry.plan(target, ofRegistry(observation), desired);
    const steps = switching.kind === 'steps' ? switching.steps : [];
    // What serves already needs no record: nobody rolled anything back.
    if (steps.length === 0) return { kind: 'nothing' };
    const notes = recording.kind === 'refused' ? [`not recorded in the registry: ${recording.reason}`] : [];
    const record = recording.kind === 'steps' ? recording.steps.map(wrapped) : [];
    return { kind: 'steps', steps: [...steps, ...record], ...(notes.length === 0 ? {} : { notes }) };
  }

  async apply(target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    const own = unwrapped(step);
    if (own === null) return await this.#parts.actuator.apply(target, step, options, signal);
    return await this.#parts.registry.apply(target, own, options, signal);
  }

  check(step: Step, before: Observation, now: Observation, sinceMs: number): StepCheck {
    const own = unwrapped(step);
    if (own === null) return this.#parts.actuator.check(step, before, now, sinceMs);
    return this.#parts.registry.check(own, ofRegistry(before), ofRegistry(now), sinceMs);
  }

  async missingRights(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[] | null> {
    return (await this.#parts.actuator.missingRights?.(target, signal)) ?? null;
  }

  stores(): readonly VersionStore[] {
    return [...(this.#parts.registry.stores?.() ?? []), ...(this.#parts.actuator.stores?.() ?? [])];
  }

  origin(target: PlaneTarget, version: string): Readonly<Record<string, string>> {
    return { ...this.#parts.actuator.origin?.(target, version), ...this.#parts.registry.origin?.(target, version) };
  }

  /** A registry that is away tells nothing. @throws {PlaneError} of the actuator only */
  async signatures(target: PlaneTarget, version: string, signal: AbortSignal): Promise<readonly EndpointSignature[]> {
    const { actuator, registry } = this.#parts;
    const registered = registry.signatures?.(target, version, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      if (!(error instanceof PlaneError)) throw error;
      return [];
    });
    const found = await Promise.all([registered ?? [], actuator.signatures?.(target, version, signal) ?? []]);
    return found.flat();
  }

  /** Its parts are closed by whoever opened them. */
  async close(): Promise<void> {}

  async #observeRegistry(target: PlaneTarget, signal: AbortSignal): Promise<EndpointObservation> {
    try {
      const { endpoints } = await this.#parts.registry.observe(target, { thorough: false }, signal);
      const [endpoint] = endpoints;
      if (endpoint !== undefined) return endpoint;
      return unread(this.#parts.name, 'it was not read');
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof PlaneError)) throw error;
      return unread(this.#parts.name, error.message);
    }
  }
}

function unread(endpoint: string, error: string): EndpointObservation {
  return { endpoint, versions: [], serving: [], routes: {}, config: null, error };
}

/** As the registry plans and checks: itself the only endpoint, and serving what the actuator serves. */
function ofRegistry(observation: Observation): Observation {
  const { registry } = observation;
  const main = mainVersion(observation);
  return {
    ...observation,
    endpoints: registry === undefined ? [] : [registry],
    versions: registry?.versions ?? [],
    serving: main === null ? [] : [{ version: main, share: 1 }],
  };
}

function wrapped(step: Step): Step {
  return { ...step, mutation: { [mark]: step.mutation }, inverse: step.inverse === null ? null : { [mark]: step.inverse } };
}

/** The registry's own step; `null`: it is the actuator's. */
function unwrapped(step: Step): Step | null {
  const mutation = step.mutation[mark];
  if (typeof mutation !== 'object' || mutation === null) return null;
  const inverse = step.inverse?.[mark];
  return { ...step, mutation: { ...mutation }, inverse: typeof inverse === 'object' && inverse !== null ? { ...inverse } : null };
}
