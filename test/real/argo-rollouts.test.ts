import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { argoRollouts } from '../../src/adapters/control-planes/argo-rollouts/index.ts';
import type { ApplyOutcome, Step } from '../../src/domain/step.ts';
import { all, describeControlPlane, reach, takeStep } from '../contract/control-plane.ts';
import { ArgoRolloutsController } from '../support/kubernetes/argo-rollouts/controller.ts';
import { aRollout, heldBlueGreen, podsOf, rolloutCrd, routedCanary } from '../support/kubernetes/argo-rollouts/objects.ts';
import { RolloutOwner } from '../support/kubernetes/argo-rollouts/stage.ts';
import type { JsonMap } from '../support/kubernetes/kubernetes-object.ts';
import { describeMissingRights } from '../support/kubernetes/missing-rights.ts';
import { aDeployment } from '../support/kubernetes/objects.ts';
import { type RealKubernetes, startRealKubernetes } from '../support/kubernetes/real-kubernetes.ts';
import { type RealPlaneStage, type RealScene, setRealPlaneStage } from '../support/kubernetes/real-plane-stage.ts';

/**
 * argo_rollouts on a real API server, as a service account that has the shipped role and nothing else. The controller of Argo Rollouts is a double; the
 * ReplicaSets it makes get their pods from the real controller.
 */

const signal = new AbortController().signal;

let kubernetes: RealKubernetes;
beforeAll(async () => {
  kubernetes = await startRealKubernetes();
  await kubernetes.installCrds([rolloutCrd]);
});
afterAll(async () => kubernetes[Symbol.asyncDispose]());

type Options = { readonly strategy: JsonMap; readonly isPromoted?: boolean; readonly workloadRef?: JsonMap };
const owners = new Map<string, RolloutOwner>();

/** 6 was promoted, and then 7; or 7 is a canary that waits. */
const scene = ({ strategy, isPromoted = true, workloadRef }: Options): RealScene => ({
  kind: argoRollouts,
  from: '7',
  to: '6',
  fill: async (namespace, defer) => {
    const { client } = kubernetes;
    defer(new ArgoRolloutsController(client, { namespace }));
    const owner = new RolloutOwner(client, namespace);
    owners.set(namespace, owner);
    const deployment = `/apis/apps/v1/namespaces/${namespace}/deployments/fraud`;
    if (workloadRef !== undefined) await client.create(aDeployment({ name: 'fraud', namespace, image: '-', replicas: 0, spec: { template: podsOf('6') } }));
    await owner.create(workloadRef === undefined ? aRollout(podsOf('6'), strategy) : aRollout(null, strategy, { workloadRef }));
    if (workloadRef === undefined) await owner.change({ template: podsOf('7') });
    else await client.merge(deployment, { spec: { template: podsOf('7') } });
    if (isPromoted) {
      await owner.seen('7');
      await owner.promoteFull();
      await owner.promoted('7');
    } else await owner.waiting('7');
    return { keys: {} };
  },
});

describeControlPlane(
  'argo_rollouts, a canary, on a real API server with its shipped role,',
  async () => await setRealPlaneStage(kubernetes, scene({ strategy: routedCanary })),
  null,
);

describeMissingRights(
  () => kubernetes,
  [
    {
      scene: scene({ strategy: heldBlueGreen }),
      reads: [
        ['rollouts', 'get'],
        ['replicasets', 'list'],
      ],
      writes: 'rollouts',
    },
  ],
);

describe('argo_rollouts on a real API server', () => {
  const ownerOf = (stage: RealPlaneStage): RolloutOwner => owners.get(stage.namespace) as RolloutOwner;
  const planned = async (stage: RealPlaneStage): Promise<readonly Step[]> => {
    const plan = stage.plane.plan(stage.target, await stage.plane.observe(stage.target, { thorough: true }, signal), all('6'));
    if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
    return plan.steps;
  };

  it('aborts by the status subresource, which the object itself would not take, and then keeps the template', async () => {
    await using stage = await setRealPlaneStage(kubernetes, scene({ strategy: routedCanary, isPromoted: false }));
    const owner = ownerOf(stage);
    await kubernetes.client.merge(owner.path, { status: { abort: true } });
    expect(await owner.status()).not.toHaveProperty('abort');

    const steps = await planned(stage);
    await takeStep(stage, steps[0] as Step);
    expect(await owner.status()).toMatchObject({ abort: true, phase: 'Degraded' });
    await takeStep(stage, steps[1] as Step);

    await owner.promoted('6');
    expect(steps.map(({ mutation }) => mutation['op'])).toEqual(['abort', 'template']);
    expect(await stage.mutations()).toBe(2);
  });

  it('gives the old ReplicaSet its template back as the server keeps it: no third one is made', async () => {
    await using stage = await setRealPlaneStage(kubernetes, scene({ strategy: heldBlueGreen }));
    const owner = ownerOf(stage);
    const hashes = await owner.hashes();

    await reach(stage, all('6'));

    expect(await owner.hashes()).toEqual(hashes);
    expect(await owner.status()).toMatchObject({ stableRS: hashes['6'], blueGreen: { activeSelector: hashes['6'] } });
  });

  it('lets one of three equal patches of the spec through, and does no harm with those of the status', async () => {
    await using stage = await setRealPlaneStage(kubernetes, scene({ strategy: routedCanary }));
    for (const step of await planned(stage)) {
      const apply = async (opId: string): Promise<ApplyOutcome> => await stage.plane.apply(stage.target, step, { inverse: false, opId, epoch: 1 }, signal);

      const outcomes = await Promise.all([apply('a'), apply('b'), apply('c')]);

      // Two equal words in a status are one.
      if (step.mutation['op'] === 'template') expect(outcomes.filter(({ kind }) => kind === 'applied')).toHaveLength(1);
      expect(outcomes.every(({ kind }) => ['applied', 'already', 'conflict'].includes(kind))).toBe(true);
      await takeStep(stage, step);
    }
    await ownerOf(stage).promoted('6');
  });

  it('changes the Deployment that holds the template', async () => {
    await using stage = await setRealPlaneStage(
      kubernetes,
      scene({ strategy: routedCanary, workloadRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'fraud' } }),
    );

    await reach(stage, all('6'));

    const deployment = await kubernetes.client.get(`/apis/apps/v1/namespaces/${stage.namespace}/deployments/fraud`);
    expect(deployment).toMatchObject({ spec: { replicas: 0, template: { metadata: { labels: { 'app.kubernetes.io/version': '6' } } } } });
  });

  it('names the right to the status before anything is written', async () => {
    await using stage = await setRealPlaneStage(kubernetes, scene({ strategy: routedCanary }), {
      isTaken: (rule) => rule.resources.includes('rollouts/status'),
    });

    const { refusals } = await stage.plane.observe(stage.target, { thorough: true }, signal);

    expect(refusals).toEqual([expect.stringContaining('rollbackd may not patch rollouts/status')]);
    expect(await stage.plane.missingRights?.(stage.target, signal)).toEqual([expect.stringMatching(/^patch rollouts\/status\.argoproj\.io/)]);
  });
});
