import { setTimeout as sleep } from 'node:timers/promises';
import type { Observation } from '../../src/domain/observation.ts';
import type { ControlPlane, PlaneTarget } from '../../src/domain/ports.ts';
import type { ApplyOutcome, Desired, Step } from '../../src/domain/step.ts';

/** A plane under test with a real server behind it: `from` serves, `to` can be loaded beside it. */
export interface ControlPlaneSetup extends AsyncDisposable {
  readonly plane: ControlPlane;
  readonly target: PlaneTarget;
  readonly from: string;
  readonly to: string;
  /** What the application does with `ApplyOutcome.remember`. */
  readonly remember: (values: Readonly<Record<string, unknown>>) => void;
  /** Mutations the server was sent so far. */
  readonly mutations: () => Promise<number>;
  /** The same plane towards nobody, with `secret` in its configuration. */
  readonly unreachable: () => Promise<ControlPlane>;
  /** The same plane towards something that takes connections and never answers. */
  readonly silent: () => Promise<ControlPlane>;
  /** Must not show in any error or observation; `null` when the plane has none. */
  readonly secret: string | null;
}

export const everSignal = new AbortController().signal;
const pollMs = 20;

/** Applies one step as the application would: remembers, and looks until it is decided. */
export async function takeStep(
  setup: Pick<ControlPlaneSetup, 'plane' | 'target' | 'remember'>,
  step: Step,
  options: { inverse?: boolean; withinMs?: number; opId?: string } = {},
): Promise<ApplyOutcome> {
  const { plane, target } = setup;
  const before = await plane.observe(target, { thorough: false }, everSignal);
  const outcome = await plane.apply(target, step, { inverse: options.inverse ?? false, opId: options.opId ?? 'rb_contract', epoch: 1 }, everSignal);
  if (outcome.kind !== 'applied' && outcome.kind !== 'already') return outcome;
  setup.remember(outcome.remember ?? {});
  if (options.inverse === true) return outcome;
  const startedMs = Date.now();
  for (;;) {
    const sinceMs = Date.now() - startedMs;
    const check = plane.check(step, before, await plane.observe(target, { thorough: false }, everSignal), sinceMs);
    if (check.kind === 'converged') return outcome;
    if (check.kind === 'failed' || check.kind === 'reverted' || sinceMs > (options.withinMs ?? 10_000))
      throw new Error(`${step.name}: ${check.kind}: ${check.detail}`);
    await sleep(pollMs);
  }
}

/** Plans, and takes every step in order. */
export async function reach(setup: Pick<ControlPlaneSetup, 'plane' | 'target' | 'remember'>, desired: Desired): Promise<readonly Step[]> {
  const observation = await setup.plane.observe(setup.target, { thorough: true }, everSignal);
  const plan = setup.plane.plan(setup.target, observation, desired);
  if (plan.kind === 'refused') throw new Error(`refused: ${plan.reason}`);
  const steps = plan.kind === 'steps' ? plan.steps : [];
  for (const step of steps) {
    const outcome = await takeStep(setup, step);
    if (outcome.kind !== 'applied' && outcome.kind !== 'already') throw new Error(`${step.name}: ${outcome.kind}: ${outcome.detail ?? ''}`);
  }
  return steps;
}

/** All of one version. */
export function all(version: string): Desired {
  return { kind: 'serve', shares: [{ version, share: 1 }] };
}

export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

/** Versions with a share of the traffic. */
export function serves(observation: Observation): readonly string[] {
  return observation.serving.map((share) => share.version);
}

export async function until(condition: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
  const startedMs = Date.now();
  while (!(await condition())) {
    if (Date.now() - startedMs > withinMs) throw new Error(`not within ${withinMs} ms`);
    await sleep(pollMs);
  }
}
