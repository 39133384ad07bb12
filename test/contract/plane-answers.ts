import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PlaneError } from '../../src/domain/ports.ts';
import type { ApplyOutcome, Step } from '../../src/domain/step.ts';
import type { Answer, FaultySetup } from './answers.ts';
import { all, type ControlPlaneSetup, everSignal, takeStep, until } from './plane-steps.ts';

/** The table of answers, row by row, on one server: each row leaves it as it found it. */
export function describeAnswers(name: string, start: () => Promise<FaultySetup>, answers: readonly Answer[]): void {
  describe(`${name}, answered with`, () => {
    let setup: FaultySetup;
    let step: Step;
    /** Another for each row: a plane that keeps ids does nothing twice under one. */
    let opId = 'rb_0';
    beforeEach((context) => {
      opId = `rb_${context.task.id}`;
    });
    beforeAll(async () => {
      setup = await start();
      step = await stepToSwitch(setup);
    });
    afterAll(async () => setup[Symbol.asyncDispose]());

    const apply = async (plane = setup.plane): Promise<ApplyOutcome> => plane.apply(setup.target, step, { inverse: false, opId, epoch: 1 }, everSignal);
    /** Where the step goes. */
    const serving = async (): Promise<readonly string[]> => {
      const { endpoints } = await setup.plane.observe(setup.target, { thorough: false }, everSignal);
      return endpoints.filter(({ endpoint }) => endpoint === step.endpoint).flatMap((endpoint) => endpoint.serving.map(({ version }) => version));
    };
    /** Takes the write back, and waits until the server shows it. */
    const takeBack = async (): Promise<void> => {
      await until(async () => ['applied', 'already'].includes((await takeStep(setup, step, { inverse: true, opId })).kind));
      await until(async () => (await serving()).join() === setup.from);
    };
    const expectNoSecret = (...said: readonly unknown[]): void => {
      if (setup.secret !== null) expect([...said.map(everythingIn), setup.said()].join(' ')).not.toContain(setup.secret);
    };

    it.each(answers.filter(({ read }) => read !== null))('$name to a reading: $read, and nothing is written', async (answer) => {
      const written = await setup.mutations();
      let error: unknown;
      let outcome: ApplyOutcome | null = null;
      {
        await using fault = await setup.fault('read', answer.name);
        const { plane = setup.plane } = fault;
        error = await plane.observe(setup.target, { thorough: true }, everSignal).catch((cause: unknown) => cause);
        if (answer.isObserved !== true) outcome = await apply(plane);
      }

      expect(error).toBeInstanceOf(PlaneError);
      expect(error).toMatchObject({ class: answer.read, ...(answer.retryAfterMs === undefined ? {} : { retryAfterMs: answer.retryAfterMs }) });
      if (outcome !== null) expect(outcome).toMatchObject({ kind: answer.read === 'conflict' ? 'conflict' : 'rejected', class: answer.read });
      expectNoSecret(error, outcome);
      expect(await setup.mutations()).toBe(written);
      expect(await serving()).toEqual([setup.from]);
    });

    it.each(answers.filter(({ written }) => written !== null))('$name to a write: $written, and it is not sent twice', async (answer) => {
      const written = await setup.mutations();
      let outcome: ApplyOutcome;
      let { plane } = setup;
      {
        await using fault = await setup.fault('write', answer.name);
        plane = fault.plane ?? plane;
        outcome = await apply(plane);
      }

      expect(outcome).toMatchObject(outcomeFor(answer));
      expectNoSecret(outcome);
      expect((await setup.mutations()) - written).toBe(answer.requests ?? 1);
      if (answer.isDone !== true) {
        expect(await serving()).toEqual([setup.from]);
        return;
      }
      // Asked again, the plane finds that it took.
      const sent = await setup.mutations();
      await until(async () => (await serving()).join() === setup.to);
      const again = await apply(plane);
      expect(again).toMatchObject({ kind: 'already' });
      if (again.kind === 'already') setup.remember(again.remember ?? {});
      expect(await setup.mutations()).toBe(sent);
      await takeBack();
    });

    it.runIf(answers.some((answer) => answer.written === 'indeterminate' && answer.isDone !== true))(
      'what leaves a write open that did not take: it is sent again, and taken back',
      async () => {
        const answer = answers.find(({ written, isDone }) => written === 'indeterminate' && isDone !== true) as Answer;
        {
          await using fault = await setup.fault('write', answer.name);
          await apply(fault.plane);
        }

        expect(await takeStep(setup, step, { opId })).toMatchObject({ kind: 'applied' });

        expect(await serving()).toEqual([setup.to]);
        await takeBack();
      },
    );
  });
}

/** Takes what comes before the switch. @returns the first step that moves traffic */
async function stepToSwitch(setup: ControlPlaneSetup): Promise<Step> {
  const plan = setup.plane.plan(setup.target, await setup.plane.observe(setup.target, { thorough: true }, everSignal), all(setup.to));
  if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
  for (const step of plan.steps) {
    if (step.phase === 'switch') return step;
    await takeStep(setup, step);
  }
  throw new Error(`no step of the phase switch: ${JSON.stringify(plan.steps)}`);
}

function outcomeFor({ written }: Answer): Partial<ApplyOutcome> {
  if (written === null) throw new Error('a row about readings only');
  if (written === 'applied' || written === 'already') return { kind: written };
  return { kind: written === 'conflict' || written === 'indeterminate' ? written : 'rejected', class: written };
}

/** What of an error or an outcome could come before somebody's eyes. */
function everythingIn(said: unknown): string {
  if (!(said instanceof Error)) return JSON.stringify(said);
  return `${String(said)} ${said.stack ?? ''} ${JSON.stringify(said)} ${said.cause === undefined ? '' : everythingIn(said.cause)}`;
}
