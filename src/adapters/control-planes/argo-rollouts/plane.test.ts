import { isDeepStrictEqual } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describeAnswers } from '../../../../test/contract/plane-answers.ts';
import { describePlaneFaults } from '../../../../test/contract/plane-faults.ts';
import { kubernetesAnswers } from '../../../../test/support/kubernetes/answers.ts';
import { ArgoRolloutsController } from '../../../../test/support/kubernetes/argo-rollouts/controller.ts';
import { aRollout, basicCanary, heldBlueGreen, podsOf, rolloutCrd, routedCanary } from '../../../../test/support/kubernetes/argo-rollouts/objects.ts';
import { ReplicaSetDouble } from '../../../../test/support/kubernetes/argo-rollouts/replica-sets.ts';
import { RolloutOwner } from '../../../../test/support/kubernetes/argo-rollouts/stage.ts';
import { startFakeKubernetes } from '../../../../test/support/kubernetes/fake-kubernetes.ts';
import type { JsonMap } from '../../../../test/support/kubernetes/kubernetes-object.ts';
import { aDeployment } from '../../../../test/support/kubernetes/objects.ts';
import { connectPlane, type KubernetesStage, setKubernetesStage } from '../../../../test/support/kubernetes/plane-stage.ts';
import { until as untilFound } from '../../../../test/support/until.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { ApplyOutcome, Step, StepCheck } from '../../../domain/step.ts';
import { argoRollouts } from './index.ts';

type World = KubernetesStage & { readonly owner: RolloutOwner; readonly controller: ArgoRolloutsController; readonly pods: ReplicaSetDouble };
type Options = {
  readonly strategy: JsonMap;
  readonly spec?: JsonMap;
  readonly config?: JsonMap;
  /** Of 6; `null`: that stands in a Deployment. */
  readonly template?: JsonMap | null;
  readonly deadlineMs?: number;
  readonly serverNowMs?: () => number;
};

const signal = new AbortController().signal;
const tracked = { 'argocd.argoproj.io/tracking-id': 'shop:argoproj.io/Rollout:shop/fraud' };
const secretive = podsOf('6', { env: [{ name: 'PASSWORD', value: 'planted-password' }] });

/** 6 was promoted. */
async function serveSix({ strategy, spec = {}, config = {}, template = secretive, ...options }: Options): Promise<World> {
  let owner!: RolloutOwner;
  let controller!: ArgoRolloutsController;
  let pods!: ReplicaSetDouble;
  const stage = await setKubernetesStage({
    kind: argoRollouts,
    config,
    keys: {},
    from: '7',
    to: '6',
    ...(options.serverNowMs === undefined ? {} : { serverNowMs: options.serverNowMs }),
    fill: async (kubernetes) => {
      const stack = new AsyncDisposableStack();
      await kubernetes.installCrd(rolloutCrd);
      pods = stack.use(new ReplicaSetDouble(kubernetes.client, 'shop'));
      controller = stack.use(new ArgoRolloutsController(kubernetes.client, { namespace: 'shop', deadlineMs: options.deadlineMs ?? 60_000 }));
      owner = new RolloutOwner(kubernetes.client, 'shop');
      if (template === null)
        await kubernetes.client.create(aDeployment({ name: 'fraud', namespace: 'shop', image: '-', replicas: 0, spec: { template: secretive } }));
      await owner.create(aRollout(template, strategy, spec));
      return { [Symbol.asyncDispose]: async () => await stack.disposeAsync() };
    },
  });
  return { ...stage, owner, controller, pods };
}

/** 6 was promoted, and then 7. */
async function serveSeven(options: Options): Promise<World> {
  const world = await serveSix(options);
  await world.owner.change({ template: podsOf('7') });
  await world.owner.seen('7');
  await world.owner.promoteFull();
  await world.owner.promoted('7');
  return world;
}

const judged = { blueGreen: { activeService: 'fraud-active', postPromotionAnalysis: { templates: [{ templateName: 'errors' }] } } };

describeControlPlane('argo_rollouts, a canary beside a proxy,', async () => await serveSeven({ strategy: routedCanary }), null);
describePlaneFaults('argo_rollouts', async () => await serveSeven({ strategy: routedCanary }), { to: 'API server', protocol: 'http', isShared: true });
describeControlPlane('argo_rollouts, blue-green,', async () => await serveSeven({ strategy: heldBlueGreen }), null);
// 7 serves alone and 6 is the stable one yet: one step brings it back.
describeAnswers(
  'argo_rollouts',
  async () => {
    const world = await serveSix({ strategy: judged });
    await world.owner.change({ template: podsOf('7') });
    await untilFound('7 to serve', async () => {
      const { serving } = await world.plane.observe(world.target, { thorough: false }, signal);
      return serving.length === 1 && serving[0]?.version === '7';
    });
    return world;
  },
  kubernetesAnswers,
);

describe('argo_rollouts', () => {
  let world: World;
  let open = false;
  const set = (made: World): World => {
    world = made;
    open = true;
    return made;
  };
  afterEach(async () => {
    if (open) await world[Symbol.asyncDispose]();
    open = false;
  });

  /** 6 is stable and 7 its canary, at the first step that waits. */
  const rollOutSeven = async (options: Options): Promise<World> => {
    const made = set(await serveSix(options));
    await made.owner.change({ template: podsOf('7') });
    await made.owner.waiting('7');
    return made;
  };
  const observe = async (thorough = false): Promise<Observation> => await world.plane.observe(world.target, { thorough }, signal);
  const planned = async (to = '6'): Promise<readonly Step[]> => {
    const plan = world.plane.plan(world.target, await observe(true), all(to));
    if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
    return plan.steps;
  };
  const apply = async (step: Step | undefined, opId = 'rb_1', inverse = false): Promise<ApplyOutcome> =>
    await world.plane.apply(world.target, step as Step, { inverse, opId, epoch: 1 }, signal);
  const checked = async (step: Step | undefined, before: Observation): Promise<StepCheck> => world.plane.check(step as Step, before, await observe(), 100);
  const until = async (step: Step | undefined, before: Observation, kind: StepCheck['kind']): Promise<StepCheck> =>
    await untilFound(
      `the step to be ${kind}`,
      async () => {
        const check = await checked(step, before);
        return check.kind === kind && check;
      },
      { everyMs: 10, withinMs: 15_000, seen: async () => JSON.stringify([await checked(step, before), await world.owner.status()]) },
    );
  const writes = (): string[] =>
    world.kubernetes.requests
      .filter(({ method, userAgent }) => method === 'PATCH' && userAgent === 'rollbackd')
      .map(({ path }) => path.split('/shop/')[1] ?? '');
  const names = (steps: readonly Step[]): string[] => steps.map(({ mutation }) => String(mutation['op']));

  describe('while it rolls out', () => {
    it('aborts by the status, is not misled by «Degraded», and then keeps the stable template in the spec', async () => {
      await rollOutSeven({ strategy: routedCanary });
      expect((await observe()).serving).toEqual([
        { version: '7', share: 0.2 },
        { version: '6', share: 0.8 },
      ]);

      const [abort, keep] = await planned();
      await takeStep(world, abort as Step);

      expect(await world.owner.status()).toMatchObject({ abort: true, phase: 'Degraded', message: expect.stringContaining('RolloutAborted') });
      expect((await observe()).serving).toEqual([{ version: '6', share: 1 }]);
      await takeStep(world, keep as Step);
      await world.owner.promoted('6');
      expect(writes()).toEqual(['rollouts/fraud/status', 'rollouts/fraud']);
      expect((await world.owner.get()).metadata.annotations).toMatchObject({ 'rollbackd.io/from': '7', 'rollbackd.io/to': '6' });
    });

    it('takes an abort back to the step the canary was at', async () => {
      await rollOutSeven({ strategy: routedCanary });
      const [abort] = await planned();
      await takeStep(world, abort as Step);

      expect(await apply(abort, 'rb_1', true)).toMatchObject({ kind: 'applied' });

      await world.owner.waiting('7');
      expect(await world.owner.status()).toMatchObject({ currentStepIndex: 1 });
      await untilServing([
        { version: '7', share: 0.2 },
        { version: '6', share: 0.8 },
      ]);
    });

    it('counts pods where no proxy splits the traffic', async () => {
      await rollOutSeven({ strategy: basicCanary });
      await untilServing([
        { version: '7', share: 0.5 },
        { version: '6', share: 0.5 },
      ]);

      const [abort] = await planned();
      await takeStep(world, abort as Step);

      expect((await observe()).serving).toEqual([{ version: '6', share: 1 }]);
    });

    it('does not take its own word for the controller’s: an abort counts once it was acted on', async () => {
      await rollOutSeven({ strategy: routedCanary });
      const [abort] = await planned();
      const before = await observe();
      await world.controller.pause();

      expect(await apply(abort)).toMatchObject({ kind: 'applied' });

      expect(await checked(abort, before)).toEqual({ kind: 'progressing', detail: 'the controller has not acted on the abort yet' });
      world.controller.resume();
      await until(abort, before, 'converged');
    });

    it('says when the controller dropped the abort, since the canary was promoted at the same moment', async () => {
      await rollOutSeven({ strategy: routedCanary });
      const [abort] = await planned();
      const before = await observe();
      await world.controller.pause();
      await apply(abort);
      await world.kubernetes.client.merge(`${world.owner.path}/status`, { status: { stableRS: (await world.owner.hashes())['7'] } });
      world.controller.resume();

      expect(await until(abort, before, 'failed')).toMatchObject({ detail: expect.stringContaining('7 was promoted at the same moment') });
      expect(await world.owner.status()).not.toHaveProperty('abort');
      expect(await apply(abort)).toMatchObject({ kind: 'rejected', class: 'permanent', detail: expect.stringContaining('roll back again') });
    });

    it('undoes instead, once somebody has asked for the promotion: an abort would be ignored', async () => {
      await rollOutSeven({ strategy: routedCanary });
      world.pods.isBroken = (image) => image.endsWith(':7');
      const [abort] = await planned();
      await world.owner.promoteFull();

      expect(await apply(abort)).toMatchObject({ kind: 'rejected', detail: expect.stringContaining('argo-rollouts#4461') });
      const [undo, ...others] = await planned();
      expect([undo?.mutation, others]).toEqual([expect.objectContaining({ op: 'template', promotion: 'none' }), []]);
      await takeStep(world, undo as Step);
      await world.owner.promoted('6');
    });

    it('tells a retry by somebody else, and another rollout', async () => {
      await rollOutSeven({ strategy: routedCanary });
      const [abort] = await planned();
      const before = await observe();
      await takeStep(world, abort as Step);

      await world.kubernetes.client.merge(`${world.owner.path}/status`, { status: { abort: false } });
      expect(await until(abort, before, 'reverted')).toMatchObject({ detail: 'the rollout of 7 was started again (retry)' });
      await world.owner.change({ template: podsOf('8') });
      await world.owner.seen('8');
      expect(await checked(abort, before)).toMatchObject({ kind: 'reverted', detail: expect.stringContaining('another rollout was started meanwhile') });
      expect(await apply(abort)).toMatchObject({ kind: 'conflict' });
    });

    it('aborts a paused one beside a proxy, and refuses one whose pods would have to be scaled', async () => {
      await rollOutSeven({ strategy: routedCanary });
      await world.owner.change({ paused: true });
      await world.owner.seen('7');

      const plan = world.plane.plan(world.target, await observe(true), all('6'));
      expect(plan).toMatchObject({ kind: 'steps', steps: [{ mutation: { op: 'abort' } }], notes: [expect.stringContaining('still asks for 7')] });
      await takeStep(world, (plan.kind === 'steps' ? plan.steps[0] : undefined) as Step);
      await world[Symbol.asyncDispose]();

      await rollOutSeven({ strategy: basicCanary });
      await world.owner.change({ paused: true });
      await world.owner.seen('7');
      const observation = await observe(true);
      expect(observation.refusals).toEqual([expect.stringContaining('spec.paused')]);
      expect(world.plane.plan(world.target, observation, all('6'))).toMatchObject({ kind: 'refused', reason: expect.stringContaining('resume it first') });
    });

    it('spares a rollout to the target, that somebody has begun, its steps', async () => {
      set(await serveSeven({ strategy: routedCanary }));
      await world.owner.change({ template: secretive });
      await world.owner.waiting('6');

      const steps = await reach(world, all('6'));

      expect(names(steps)).toEqual(['promote']);
      await world.owner.promoted('6');
    });
  });

  describe('once it is promoted', () => {
    it('goes back to the named ReplicaSet and past every step that waits for somebody', async () => {
      set(await serveSeven({ strategy: routedCanary }));
      const hashes = await world.owner.hashes();
      await world.kubernetes.client.merge(world.owner.path, { metadata: { annotations: { 'audit.example/run': '42' } } });

      const steps = await reach(world, all('6'));

      expect(names(steps)).toEqual(['template', 'promote']);
      expect(writes()).toEqual(['rollouts/fraud', 'rollouts/fraud/status']);
      expect(await world.owner.hashes()).toEqual(hashes);
      const { metadata, spec } = await world.owner.get();
      expect(metadata.annotations).toMatchObject({ 'audit.example/run': '42', 'rollbackd.io/op-id': 'rb_contract' });
      expect(JSON.stringify(spec)).not.toContain('rollouts-pod-template-hash');
      expect(await world.owner.status()).toMatchObject({ stableRS: hashes['6'], currentPodHash: hashes['6'], phase: 'Healthy' });
    });

    it('does not ask for a promotion that the controller would lose', async () => {
      set(await serveSeven({ strategy: routedCanary }));
      const [roll, promote] = await planned();
      const before = await observe();
      await world.controller.pause();
      expect(await apply(roll)).toMatchObject({ kind: 'applied' });

      expect(await checked(roll, before)).toEqual({ kind: 'progressing', detail: 'the controller has not seen the change yet' });
      expect(await apply(promote)).toMatchObject({ kind: 'rejected', class: 'transient', detail: expect.stringContaining('would be lost') });
      // What the controller makes of one that comes too early.
      await world.owner.promoteFull();
      for (let pass = 0; pass < 3; pass += 1) await world.controller.pass();
      expect(await world.owner.status()).toMatchObject({ promoteFull: false, currentPodHash: (await world.owner.hashes())['6'] });
      expect(await checked(roll, before)).toMatchObject({ kind: 'converged' });
      expect(await apply(promote)).toMatchObject({ kind: 'applied' });
      world.controller.resume();
      await until(promote, before, 'converged');
    });

    it('finds the old ReplicaSet again, though the controller has added labels and anti-affinity to its template', async () => {
      const { canary } = routedCanary;
      const strategy = {
        canary: {
          ...canary,
          stableMetadata: { labels: { role: 'stable' } },
          canaryMetadata: { labels: { role: 'canary' } },
          antiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: {} },
        },
      };
      set(await serveSeven({ strategy }));
      await world.owner.change({ template: podsOf('8') });
      await world.owner.waiting('8');
      const sets = await world.kubernetes.client.list('/apis/apps/v1/namespaces/shop/replicasets');
      const texts = sets.map((found) => JSON.stringify(found.spec?.['template']));
      expect(texts.some((text) => text.includes('"role":"stable"') && text.includes('podAntiAffinity'))).toBe(true);
      const count = async (): Promise<number> => (await world.kubernetes.client.list('/apis/apps/v1/namespaces/shop/replicasets')).length;

      // While it rolls out 7 has the labels of a stable one, once 8 is promoted it has none; the anti-affinity it keeps.
      expect(names(await reach(world, all('7')))).toEqual(['abort', 'template']);
      await world.owner.promoted('7');
      expect(JSON.stringify((await world.owner.get()).spec?.['template'])).not.toMatch(/role|podAntiAffinity/);
      await world.owner.change({ template: podsOf('8') });
      await world.owner.seen('8');
      await world.owner.promoteFull();
      await world.owner.promoted('8');
      expect(names(await reach(world, all('7')))).toEqual(['template', 'promote']);

      await world.owner.promoted('7');
      expect(JSON.stringify((await world.owner.get()).spec?.['template'])).not.toMatch(/role|podAntiAffinity/);
      expect(await count()).toBe(3);
    });

    it('leaves the promotion to rollbackWindow where that is set, and does not abort what goes back within it', async () => {
      let nowMs = Date.parse('2026-11-26T00:00:00Z');
      set(await serveSix({ strategy: basicCanary, spec: { rollbackWindow: { revisions: 3 } }, serverNowMs: () => nowMs }));
      nowMs += 60_000;
      await world.owner.change({ template: podsOf('7') });
      await world.owner.seen('7');
      await world.owner.promoteFull();
      await world.owner.promoted('7');
      world.pods.isBroken = (image) => image.endsWith(':6');
      await world.owner.change({ template: secretive });
      await world.owner.seen('6');

      // 6 does not come up: back to 7, by its template.
      expect(await planned('7')).toMatchObject([{ mutation: { op: 'template', promotion: 'none' } }]);
      await reach(world, all('7'));
      await world.owner.promoted('7');
      world.pods.isBroken = () => false;
      const [roll, promote] = await planned();
      await takeStep(world, roll as Step);
      await world.owner.promoted('6');
      expect(await apply(promote)).toMatchObject({ kind: 'already', detail: '6 is promoted already' });
    });

    it('fails when the target does not come up, and is back on the template of before at once', async () => {
      set(await serveSeven({ strategy: routedCanary, deadlineMs: 300 }));
      world.pods.isBroken = (image) => image.endsWith(':6');
      const [roll, promote] = await planned();
      await takeStep(world, roll as Step);
      const before = await observe();
      expect(await apply(promote)).toMatchObject({ kind: 'applied' });

      expect(await until(promote, before, 'failed')).toMatchObject({
        detail: expect.stringMatching(/^version 6 does not come up: ReplicaSet "fraud-\w+" has timed out progressing$/),
      });
      expect((await observe()).serving).toEqual([{ version: '7', share: 1 }]);
      expect((await observe()).versions).toContainEqual(expect.objectContaining({ id: '6', state: 'failed' }));

      expect(await apply(promote, 'rb_1', true)).toMatchObject({ kind: 'applied' });
      await untilFound('the other inverse to be taken', async () => (await apply(roll, 'rb_1', true)).kind === 'already');
      await world.owner.promoted('7');
    });

    it('does not take the timeout of the rollout before for its own', async () => {
      set(await serveSeven({ strategy: routedCanary }));
      const hashes = await world.owner.hashes();
      await world.controller.pause();
      const timedOut = async (version: string, status: JsonMap): Promise<void> => {
        const message = `ReplicaSet "fraud-${hashes[version] ?? ''}" has timed out progressing.`;
        const condition = { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', message, lastUpdateTime: '2026-11-26T00:00:00Z' };
        await world.kubernetes.client.merge(`${world.owner.path}/status`, { status: { ...status, conditions: [condition] } });
      };
      await timedOut('7', {});
      const [roll, promote] = await planned();
      const before = await observe();
      await apply(roll);
      const { metadata } = await world.owner.get();

      await timedOut('7', { currentPodHash: hashes['6'], observedGeneration: String(metadata.generation) });
      expect(await checked(promote, before)).toMatchObject({ kind: 'progressing' });
      await timedOut('6', {});
      expect(await checked(promote, before)).toMatchObject({ kind: 'failed', detail: expect.stringContaining('6 does not come up') });
    });

    it('does not touch what someone else has deployed meanwhile, and says who', async () => {
      set(await serveSeven({ strategy: routedCanary }));
      const [roll, promote] = await planned();
      const before = await observe();
      await world.owner.change({ template: podsOf('8') });
      // Nobody knows yet what the new template is.
      await world.controller.pause();
      expect([(await apply(roll)).kind, (await checked(roll, before)).kind]).toEqual(['rejected', 'progressing']);
      world.controller.resume();
      await world.owner.seen('8');

      expect(await apply(roll)).toMatchObject({ kind: 'conflict', detail: expect.stringMatching(/no longer asks for 7: .+ wrote its template last/) });
      expect(await apply(promote)).toMatchObject({ kind: 'conflict' });
      expect(await checked(promote, before)).toMatchObject({ kind: 'reverted', detail: expect.stringContaining('no longer asks for 6') });
      expect(writes()).toEqual([]);
    });

    it('is not fooled by an autoscaler, and loses a race without harm', async () => {
      set(await serveSeven({ strategy: routedCanary }));
      const [roll] = await planned();
      await world.owner.change({ replicas: 3 });
      await world.owner.seen('7');

      const outcomes = await Promise.all([apply(roll, 'a'), apply(roll, 'b'), apply(roll, 'c')]);

      expect(outcomes.filter(({ kind }) => kind === 'applied')).toHaveLength(1);
      expect(outcomes.every(({ kind }) => ['applied', 'already', 'conflict'].includes(kind))).toBe(true);
      expect((await world.owner.get()).spec).toMatchObject({ replicas: 3 });
    });

    it('looks again after an answer that got lost, of the spec and of the status: nothing is sent twice', async () => {
      set(await serveSeven({ strategy: routedCanary }));
      const [roll, promote] = await planned();
      for (const step of [roll, promote]) {
        world.kubernetes.fail({ method: 'PATCH' }, 'reset after send', { times: 1 });
        expect(await apply(step)).toMatchObject({ kind: 'indeterminate' });
        expect(await apply(step)).toMatchObject({ kind: 'already' });
        await takeStep(world, step as Step);
      }
      expect(writes()).toEqual(['rollouts/fraud', 'rollouts/fraud/status']);
    });

    it('refuses what it could not do right, with the reason', async () => {
      set(await serveSeven({ strategy: routedCanary, spec: { revisionHistoryLimit: 4 } }));
      const plan = async (to: string) => world.plane.plan(world.target, await observe(true), all(to));
      const refused = (words: string) => ({ kind: 'refused', reason: expect.stringContaining(words) });

      expect(await plan('5')).toMatchObject(refused('no ReplicaSet of version 5 is left (found 6, 7; revisionHistoryLimit is 4)'));
      expect(
        world.plane.plan(world.target, await observe(), {
          kind: 'serve',
          shares: [
            { version: '6', share: 0.5 },
            { version: '7', share: 0.5 },
          ],
        }),
      ).toMatchObject(refused('expected one version with 100 %'));
      const [roll] = await planned();
      await world.kubernetes.client.remove(`/apis/apps/v1/namespaces/shop/replicasets/fraud-${(await world.owner.hashes())['6'] ?? ''}`);
      expect(await apply(roll)).toMatchObject({ kind: 'rejected', class: 'permanent', detail: expect.stringContaining('is no longer kept') });
      // Else its next pass takes the condition away again.
      await world.controller.pause();
      await world.kubernetes.client.merge(`${world.owner.path}/status`, {
        status: { conditions: [{ type: 'InvalidSpec', status: 'True', reason: 'InvalidSpec', message: 'spec.strategy.canary.stableService is missing' }] },
      });
      expect((await observe(true)).refusals).toEqual([expect.stringContaining('stableService is missing')]);
    });

    it.each<[string, JsonMap, JsonMap, string]>([
      ['mutable tags', podsOf('6', { image: 'registry.example.org:5000/fraud:latest' }), podsOf('7'), 'whose content may be another by now'],
      ['the same image with the same settings', podsOf('6', { image: 'fraud:1' }), podsOf('7', { image: 'fraud:1' }), 'going back would change nothing'],
    ])('refuses %s', async (_name, six, seven, words) => {
      set(await serveSix({ strategy: basicCanary, template: six }));
      await world.owner.change({ template: seven });
      await world.owner.seen('7');
      await world.owner.promoteFull();
      await world.owner.promoted('7');

      expect(world.plane.plan(world.target, await observe(true), all('6'))).toMatchObject({ kind: 'refused', reason: expect.stringContaining(words) });
    });
  });

  describe('blue-green', () => {
    it('goes by the active Service, and undoes where an abort would not switch back: the bad pods are down', async () => {
      set(await serveSix({ strategy: judged }));
      await world.owner.change({ template: podsOf('7') });
      await untilServing([{ version: '7', share: 1 }]);
      expect(await world.owner.status()).toMatchObject({ stableRS: (await world.owner.hashes())['6'] });
      world.pods.isBroken = (image) => image.endsWith(':7');

      const steps = await reach(world, all('6'));

      expect(names(steps)).toEqual(['template']);
      expect((await observe()).serving).toEqual([{ version: '6', share: 1 }]);
    });

    it('has the trap that an abort does nothing there', async () => {
      set(await serveSix({ strategy: judged }));
      await world.owner.change({ template: podsOf('7') });
      await untilServing([{ version: '7', share: 1 }]);
      world.pods.isBroken = (image) => image.endsWith(':7');
      await untilServing([]);

      await world.kubernetes.client.merge(`${world.owner.path}/status`, { status: { abort: true } });
      await world.controller.pause();
      for (let pass = 0; pass < 5; pass += 1) await world.controller.pass();

      const active = await world.kubernetes.client.get('/api/v1/namespaces/shop/services/fraud-active');
      expect(active.spec?.['selector']).toMatchObject({ 'rollouts-pod-template-hash': (await world.owner.hashes())['7'] });
    });

    it('aborts all the same under GitOps, while the pods of the new version are up, and refuses else', async () => {
      set(await serveSix({ strategy: judged }));
      await world.kubernetes.client.merge(world.owner.path, { metadata: { annotations: tracked } });
      await world.owner.change({ template: podsOf('7') });
      await untilServing([{ version: '7', share: 1 }]);
      const steps = await planned();
      expect(names(steps)).toEqual(['abort']);
      world.pods.isBroken = (image) => image.endsWith(':7');
      await untilServing([]);
      expect(world.plane.plan(world.target, await observe(true), all('6'))).toMatchObject({
        kind: 'refused',
        reason: expect.stringContaining('Argo CD application shop'),
      });

      world.pods.isBroken = () => false;
      await untilServing([{ version: '7', share: 1 }]);
      await takeStep(world, steps[0] as Step);
      expect((await observe()).serving).toEqual([{ version: '6', share: 1 }]);
    });
  });

  describe('under GitOps', () => {
    it('aborts, which writes the status only, and leaves the spec alone; says what to do there', async () => {
      await rollOutSeven({ strategy: routedCanary });
      await world.kubernetes.client.merge(world.owner.path, { metadata: { annotations: tracked } });

      const observation = await observe(true);
      expect(observation.refusals).toEqual([]);
      expect(world.plane.plan(world.target, observation, all('6'))).toMatchObject({
        kind: 'steps',
        steps: [{ mutation: { op: 'abort' } }],
        notes: [expect.stringContaining('the template still asks for 7')],
      });
      await reach(world, all('6'));
      expect(world.plane.plan(world.target, await observe(true), all('6'))).toEqual({ kind: 'nothing' });
    });

    it('refuses once it is promoted, and acts and says so with «alert»', async () => {
      set(await serveSeven({ strategy: routedCanary }));
      await world.kubernetes.client.merge(world.owner.path, { metadata: { annotations: tracked } });
      expect((await observe(true)).refusals).toEqual([expect.stringContaining('Argo CD application shop keeps rollout shop/fraud as git has it')]);
      await world[Symbol.asyncDispose]();

      set(await serveSeven({ strategy: routedCanary, config: { gitops: 'alert' } }));
      await world.kubernetes.client.merge(world.owner.path, { metadata: { annotations: tracked } });
      const observation = await observe(true);
      expect(observation.refusals).toEqual([]);
      expect(observation.notes).toEqual([expect.stringContaining('will be reverted by Argo CD application shop')]);
      expect(world.plane.plan(world.target, observation, all('6'))).toMatchObject({ kind: 'steps' });
    });
  });

  describe('with workloadRef', () => {
    const workloadRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'fraud' };

    it('changes the template where it stands, in the Deployment', async () => {
      set(await serveSix({ strategy: routedCanary, template: null, spec: { workloadRef } }));
      const deployment = '/apis/apps/v1/namespaces/shop/deployments/fraud';
      await world.kubernetes.client.merge(deployment, { spec: { template: podsOf('7') } });
      await world.owner.seen('7');
      await world.owner.promoteFull();
      await world.owner.promoted('7');

      const steps = await reach(world, all('6'));

      expect(names(steps)).toEqual(['template', 'promote']);
      expect(writes()).toEqual(['deployments/fraud', 'rollouts/fraud/status']);
      expect(await world.kubernetes.client.get(deployment)).toMatchObject({
        metadata: { annotations: { 'rollbackd.io/to': '6' } },
        spec: { replicas: 0, template: { metadata: { labels: { 'app.kubernetes.io/version': '6' } } } },
      });
      expect((await world.owner.get()).spec).not.toHaveProperty('template');
    });

    it('refuses another kind of workload, and one that is not there', async () => {
      set(await serveSeven({ strategy: routedCanary }));
      await world.controller.pause();
      await world.owner.change({ workloadRef: { apiVersion: 'v1', kind: 'PodTemplate', name: 'fraud' } });
      expect((await observe(true)).refusals).toEqual([expect.stringContaining('stands in a PodTemplate')]);
      await world.owner.change({ workloadRef: { ...workloadRef, name: 'gone' } });
      expect((await observe(true)).refusals).toEqual(['deployment gone, which spec.workloadRef names, is not there']);
    });
  });

  it('names the right to the status, where that alone is missing: a rollback would stop half way', async () => {
    await using kubernetes = await startFakeKubernetes({ namespaces: ['shop'], tokens: { t0ken: { name: 'rollbackd', groups: [] } }, rbac: true });
    await kubernetes.installCrd(rolloutCrd);
    await kubernetes.client.create(aRollout(podsOf('6'), basicCanary));
    const rules = [
      { apiGroups: ['argoproj.io'], resources: ['rollouts'], verbs: ['get', 'patch'] },
      { apiGroups: ['apps'], resources: ['replicasets'], verbs: ['list'] },
    ];
    const role = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'rollbackd' };
    const place = { apiVersion: 'rbac.authorization.k8s.io/v1', metadata: { name: 'rollbackd', namespace: 'shop' } };
    await kubernetes.client.create({ ...place, kind: 'Role', rules });
    await kubernetes.client.create({ ...place, kind: 'RoleBinding', roleRef: role, subjects: [{ kind: 'User', name: 'rollbackd' }] });
    const plane = await connectPlane(argoRollouts, { url: kubernetes.url, token: 't0ken', config: {} });
    const target = { model: 'fraud', plane: argoRollouts.planeKeys.parse({ namespace: 'shop' }) as Record<string, unknown> };

    expect(await plane.missingRights?.(target, signal)).toEqual([expect.stringMatching(/^patch rollouts\/status\.argoproj\.io shop\/fraud/)]);
    expect((await plane.observe(target, { thorough: true }, signal)).refusals).toContainEqual(
      expect.stringContaining('rollbackd may not patch rollouts/status shop/fraud'),
    );
    await plane.close();
  });

  it('puts no template, and so no secret of one, into steps and observations', async () => {
    set(await serveSeven({ strategy: routedCanary }));
    expect(JSON.stringify([await observe(true), await planned()])).not.toContain('planted');
  });

  it('says which part of Argo Rollouts is missing, where there is no status to be written', async () => {
    await rollOutSeven({ strategy: routedCanary });
    const [abort] = await planned();
    world.kubernetes.fail({ method: 'PATCH', path: '/status' }, 404, { times: 1 });

    expect(await apply(abort)).toMatchObject({ kind: 'rejected', class: 'permanent', detail: expect.stringContaining('no status subresource') });
  });

  it('answers a patch of the status that failed with its class, and has then changed nothing', async () => {
    await rollOutSeven({ strategy: routedCanary });
    const [abort] = await planned();
    const table = [
      [401, 'rejected', 'auth'],
      [403, 'rejected', 'auth'],
      [409, 'conflict', 'conflict'],
      [422, 'conflict', 'conflict'],
      [429, 'rejected', 'transient'],
      [500, 'indeterminate', 'indeterminate'],
      [503, 'rejected', 'transient'],
      [504, 'indeterminate', 'indeterminate'],
      ['reset', 'indeterminate', 'indeterminate'],
    ] as const;
    for (const [fault, kind, errorClass] of table) {
      const heal = world.kubernetes.fail({ method: 'PATCH' }, fault, { times: 2 });

      const outcome = await apply(abort);

      expect(outcome, String(fault)).toMatchObject({ kind, class: errorClass });
      expect(JSON.stringify(outcome)).not.toContain('planted');
      heal();
    }
    expect(await world.owner.status()).not.toHaveProperty('abort');
  });

  async function untilServing(shares: Observation['serving']): Promise<void> {
    await untilFound(
      `the traffic to be ${JSON.stringify(shares)}`,
      async () =>
        isDeepStrictEqual(
          (await observe()).serving.toSorted((a, b) => b.version.localeCompare(a.version)),
          shares,
        ),
      { everyMs: 10, withinMs: 15_000, seen: async () => JSON.stringify([(await observe()).serving, await world.owner.status()]) },
    );
  }
});
