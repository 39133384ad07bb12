import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { aModel } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { anApplication, applicationCrd } from '../../test/support/kubernetes/argo-cd.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../../test/support/kubernetes/fake-kubernetes.ts';
import type { JsonMap, KubernetesObject } from '../../test/support/kubernetes/kubernetes-object.ts';
import { aDeployment } from '../../test/support/kubernetes/objects.ts';
import { connectPlane } from '../../test/support/kubernetes/plane-stage.ts';
import { kubernetesDeployment } from '../adapters/control-planes/kubernetes-deployment/index.ts';
import { type ControlPlane, type Log, PlaneError } from '../domain/ports.ts';
import { askRights, logMissingRights } from './rights.ts';

const signal = new AbortController().signal;
const account = 'system:serviceaccount:rollbackd:rollbackd';

type Role = KubernetesObject & { rules: { resources: string[]; verbs: string[] }[] };

/** A shipped role and its binding, with what `change` makes of the rules. */
async function grant(kubernetes: FakeKubernetes, file: string, change: (rules: Role['rules']) => Role['rules'] = (rules) => rules): Promise<void> {
  const text = await readFile(new URL(`../../deploy/rbac/${file}`, import.meta.url), 'utf8');
  for (const document of parseAllDocuments(text)) {
    const object = document.toJS() as Role;
    await kubernetes.client.create(object.kind === 'Role' ? { ...object, rules: change(object.rules) } : object);
  }
}

describe('rights on a Kubernetes plane', () => {
  let kubernetes: FakeKubernetes;
  const planes: ControlPlane[] = [];
  beforeEach(async () => {
    kubernetes = await startFakeKubernetes({ namespaces: ['shop', 'argocd'], tokens: { t0ken: { name: account, groups: [] } }, rbac: true });
    await kubernetes.client.create(aDeployment({ name: 'fraud', namespace: 'shop', image: 'registry.example.org/fraud:7' }));
  });
  afterEach(async () => {
    for (const plane of planes.splice(0)) await plane.close();
    await kubernetes[Symbol.asyncDispose]();
  });

  async function ask(config: JsonMap = {}): Promise<readonly string[] | null | undefined> {
    const plane = await connectPlane(kubernetesDeployment, { url: kubernetes.url, token: 't0ken', config });
    planes.push(plane);
    const keys = kubernetesDeployment.planeKeys.parse({ namespace: 'shop', deployment: 'fraud' }) as Record<string, unknown>;
    return await plane.missingRights?.({ model: 'fraud', plane: keys }, signal);
  }

  it('are all there with the shipped role', async () => {
    await grant(kubernetes, 'kubernetes-deployment.yaml');

    expect(await ask()).toEqual([]);
    expect(kubernetes.mutations()).toBe(0);
  });

  it('are named one by one where they are missing', async () => {
    await grant(kubernetes, 'kubernetes-deployment.yaml', (rules) =>
      rules.filter(({ resources }) => resources[0] !== 'replicasets').map((rule) => ({ ...rule, verbs: ['get'] })),
    );

    expect(await ask()).toEqual([
      expect.stringMatching(/^patch deployments\.apps shop\/fraud( \(|$)/),
      expect.stringMatching(/^list replicasets\.apps in shop( \(|$)/),
    ]);
  });

  it('include those to pause the Application that keeps the object', async () => {
    await grant(kubernetes, 'kubernetes-deployment.yaml');
    await kubernetes.installCrd(applicationCrd);
    await kubernetes.client.create(anApplication({}));
    const tracking = { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:shop/fraud' };
    await kubernetes.client.merge('/apis/apps/v1/namespaces/shop/deployments/fraud', { metadata: { annotations: tracking } });
    await grant(kubernetes, 'gitops-pause.yaml', (rules) => rules.map((rule) => ({ ...rule, verbs: ['get'] })));

    expect(await ask({ gitops: 'pause' })).toEqual([expect.stringMatching(/^patch applications\.argoproj\.io argocd\/shop( \(|$)/)]);
    expect(await ask()).toEqual([]);
  });
});

describe('rights at start', () => {
  const planeThat = (missingRights?: () => Promise<readonly string[]>): ControlPlane =>
    Object.assign(new FakePlane({ clock: new FakeClock(), serving: '7' }), missingRights === undefined ? {} : { missingRights });
  const runtime = {
    models: new Map(['lacking', 'away', 'fine', 'mute'].map((name) => [name, aModel({ name, controlPlane: name })])),
    planes: new Map([
      ['lacking', planeThat(async () => ['patch deployments.apps shop/fraud'])],
      ['away', planeThat(() => Promise.reject(new PlaneError('transient', 'no answer')))],
      ['fine', planeThat(async () => [])],
      ['mute', planeThat()],
    ]),
  };

  it('are asked of the planes that can tell, model by model', async () => {
    expect(await askRights(runtime, signal)).toEqual([
      { model: 'lacking', controlPlane: 'lacking', missing: ['patch deployments.apps shop/fraud'], error: null },
      { model: 'away', controlPlane: 'away', missing: [], error: 'no answer' },
      { model: 'fine', controlPlane: 'fine', missing: [], error: null },
    ]);
  });

  it('are logged where they are missing or unknown', async () => {
    const lines: unknown[] = [];
    const log: Log = {
      debug: () => undefined,
      info: () => undefined,
      warn: (fields) => void lines.push(['warn', fields]),
      error: (fields) => void lines.push(['error', fields]),
      child: () => log,
    };

    await logMissingRights(runtime, log, signal);

    expect(lines).toEqual([
      ['error', { model: 'lacking', control_plane: 'lacking', missing: ['patch deployments.apps shop/fraud'] }],
      ['warn', { model: 'away', control_plane: 'away', reason: 'no answer' }],
    ]);
  });
});
