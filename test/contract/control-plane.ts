import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Observation } from '../../src/domain/observation.ts';
import { type ControlPlane, PlaneError, type PlaneTarget } from '../../src/domain/ports.ts';
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

const everSignal = new AbortController().signal;
const pollMs = 20;

/** Applies one step as the application would: remembers, and looks until it is decided. */
export async function takeStep(
  setup: Pick<ControlPlaneSetup, 'plane' | 'target' | 'remember'>,
  step: Step,
  options: { inverse?: boolean; withinMs?: number } = {},
): Promise<ApplyOutcome> {
  const { plane, target } = setup;
  const before = await plane.observe(target, { thorough: false }, everSignal);
  const outcome = await plane.apply(target, step, { inverse: options.inverse ?? false, opId: 'rb_contract', epoch: 1 }, everSignal);
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

function serves(observation: Observation): readonly string[] {
  return observation.serving.map((share) => share.version);
}

async function until(condition: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
  const startedMs = Date.now();
  while (!(await condition())) {
    if (Date.now() - startedMs > withinMs) throw new Error(`not within ${withinMs} ms`);
    await sleep(pollMs);
  }
}

/** What every control plane that actuates keeps to. Run it from the plane's own folder, with a real process behind it. */
export function describeControlPlane(name: string, start: () => Promise<ControlPlaneSetup>): void {
  describe(`${name} as a control plane`, () => {
    let setup: ControlPlaneSetup;
    const observe = async (plane = setup.plane): Promise<Observation> => plane.observe(setup.target, { thorough: false }, everSignal);
    const applyOptions = { inverse: false, opId: 'rb_contract', epoch: 1 };

    beforeEach(async () => {
      setup = await start();
    });
    afterEach(async () => {
      await setup[Symbol.asyncDispose]();
    });

    const planned = async (): Promise<readonly Step[]> => {
      const plan = setup.plane.plan(setup.target, await observe(), all(setup.to));
      if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
      return plan.steps;
    };

    it('observes without changing anything, and says the same of the same', async () => {
      const first = await setup.plane.observe(setup.target, { thorough: true }, everSignal);
      const second = await setup.plane.observe(setup.target, { thorough: true }, everSignal);

      expect(serves(first)).toEqual([setup.from]);
      expect(first.refusals).toEqual([]);
      expect(second).toMatchObject({ versions: first.versions, serving: first.serving, token: first.token });
      expect(await setup.mutations()).toBe(0);
    });

    it('plans by its arguments alone, and changes none of them', async () => {
      const observation = deepFreeze(await setup.plane.observe(setup.target, { thorough: true }, everSignal));
      const desired = deepFreeze(all(setup.to));

      const plan = setup.plane.plan(deepFreeze(setup.target), observation, desired);

      expect(plan.kind).toBe('steps');
      expect(setup.plane.plan(setup.target, observation, desired)).toEqual(plan);
      expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
      const steps = plan.kind === 'steps' ? plan.steps : [];
      expect(new Set(steps.map((step) => step.name)).size).toBe(steps.length);
      expect(await setup.mutations()).toBe(0);
    });

    it('reaches what is wished, and then has nothing to do', async () => {
      await reach(setup, all(setup.to));

      const observation = await setup.plane.observe(setup.target, { thorough: true }, everSignal);
      expect(serves(observation)).toEqual([setup.to]);
      expect(observation.refusals).toEqual([]);
      expect(setup.plane.plan(setup.target, observation, all(setup.to))).toEqual({ kind: 'nothing' });
    });

    it('does no harm when a step is applied a second time', async () => {
      for (const step of await planned()) {
        await takeStep(setup, step);
        const sent = await setup.mutations();

        const second = await setup.plane.apply(setup.target, step, applyOptions, everSignal);

        expect(second, step.name).toMatchObject({ kind: 'already' });
        expect(await setup.mutations(), step.name).toBe(sent);
      }
    });

    it('takes all of it back by the inverse steps', async () => {
      const before = await observe();
      const steps = await reach(setup, all(setup.to));

      for (const step of steps.toReversed()) {
        // A plane may have to wait for the step before (a label needs its version): the application tries again.
        await until(async () => ['applied', 'already'].includes((await takeStep(setup, step, { inverse: true })).kind));
      }

      await until(async () => serves(await observe()).join() === setup.from);
      const after = await observe();
      expect(after.endpoints.map((endpoint) => [endpoint.endpoint, endpoint.serving, endpoint.routes, endpoint.config])).toEqual(
        before.endpoints.map((endpoint) => [endpoint.endpoint, endpoint.serving, endpoint.routes, endpoint.config]),
      );
      expect(after.pinned).toBe(before.pinned);
    });

    it('obeys an abort that came before', async () => {
      const [step] = await planned();
      const signal = AbortSignal.abort(new Error('stopped'));

      await expect(setup.plane.observe(setup.target, { thorough: false }, signal)).rejects.toThrow('stopped');
      expect((await setup.plane.apply(setup.target, step as Step, applyOptions, signal)).kind).toBe('rejected');
      expect(await setup.mutations()).toBe(0);
    });

    it('obeys an abort while it waits for an answer', async () => {
      const [step] = await planned();
      const silent = await setup.silent();
      const observing = new AbortController();
      const applying = new AbortController();
      setTimeout(() => observing.abort(new Error('stopped')), 100);
      setTimeout(() => applying.abort(new Error('stopped')), 100);

      const startedMs = Date.now();
      const [observed, applied] = await Promise.allSettled([
        silent.observe(setup.target, { thorough: false }, observing.signal),
        silent.apply(setup.target, step as Step, applyOptions, applying.signal),
      ]);

      expect(Date.now() - startedMs).toBeLessThan(1_500);
      expect(observed).toMatchObject({ status: 'rejected' });
      expect(applied).toMatchObject({ status: 'fulfilled', value: { kind: expect.stringMatching(/^(rejected|indeterminate|conflict)$/) } });
      await silent.close();
    });

    it('says that nobody answers, by class, and shows no secret', async () => {
      const [step] = await planned();
      const unreachable = await setup.unreachable();

      const error: unknown = await unreachable.observe(setup.target, { thorough: true }, everSignal).catch((cause: unknown) => cause);
      const outcome = await unreachable.apply(setup.target, step as Step, applyOptions, everSignal);

      expect(error).toBeInstanceOf(PlaneError);
      expect(error).toMatchObject({ class: 'transient' });
      expect(['rejected', 'conflict']).toContain(outcome.kind);
      if (setup.secret !== null)
        expect(`${String(error)} ${(error as Error).stack ?? ''} ${JSON.stringify(error)} ${JSON.stringify(outcome)}`).not.toContain(setup.secret);
      await unreachable.close();
    });

    it('is closed twice without harm, and then does nothing more', async () => {
      await setup.plane.close();
      await setup.plane.close();

      await expect(setup.plane.observe(setup.target, { thorough: false }, everSignal)).rejects.toThrow(/closed/);
    });
  });
}
