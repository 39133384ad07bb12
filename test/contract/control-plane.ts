import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Observation } from '../../src/domain/observation.ts';
import { PlaneError } from '../../src/domain/ports.ts';
import type { Step } from '../../src/domain/step.ts';
import type { Answer, FaultySetup } from './answers.ts';
import { describeAnswers } from './plane-answers.ts';
import { all, type ControlPlaneSetup, deepFreeze, everSignal, reach, serves, takeStep, until } from './plane-steps.ts';

export { all, type ControlPlaneSetup, reach, takeStep } from './plane-steps.ts';

/**
 * What every control plane that actuates keeps to. Run it from the plane's own folder, with a real process behind it.
 * @param answers what the server can be made to answer, and what must follow; `null` for a real one, which cannot be made to, or where another setup has asked
 */
export function describeControlPlane(name: string, start: () => Promise<ControlPlaneSetup>, answers: null): void;
export function describeControlPlane(name: string, start: () => Promise<FaultySetup>, answers: readonly Answer[]): void;
export function describeControlPlane(name: string, start: () => Promise<ControlPlaneSetup | FaultySetup>, answers: readonly Answer[] | null): void {
  if (answers !== null) describeAnswers(name, start as () => Promise<FaultySetup>, answers);
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
