import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { anApplication, applicationCrd } from '../../../test/support/kubernetes/argo-cd.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../../../test/support/kubernetes/fake-kubernetes.ts';
import { aHelmRelease, helmReleaseCrd } from '../../../test/support/kubernetes/flux-objects.ts';
import type { JsonMap } from '../../../test/support/kubernetes/kubernetes-object.ts';
import { silentLog } from '../../../test/support/stage.ts';
import type { Step } from '../../domain/step.ts';
import { realClock } from '../clock/real-clock.ts';
import { kubernetesAccess } from './access.ts';
import { clientOn, type KubernetesClient } from './client.ts';
import { type GitOpsView, readGitOps } from './gitops-state.ts';
import { applyPause, checkPause, gitOpsMutationOf, withPauses } from './gitops-steps.ts';

const signal = new AbortController().signal;
const applicationPath = '/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/shop';
const releasePath = '/apis/helm.toolkit.fluxcd.io/v2/namespaces/shop/helmreleases/fraud';
const automated = { prune: true, selfHeal: true };
const byArgo = { annotations: { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:shop/fraud' } };
const byFlux = { labels: { 'helm.toolkit.fluxcd.io/name': 'fraud', 'helm.toolkit.fluxcd.io/namespace': 'shop' } };

let kubernetes: FakeKubernetes;
let client: KubernetesClient;
beforeEach(async () => {
  kubernetes = await startFakeKubernetes({ namespaces: ['shop', 'argocd', 'team'] });
  await kubernetes.installCrd(applicationCrd);
  await kubernetes.installCrd(helmReleaseCrd);
  const connection = { server: kubernetes.url, namespace: 'shop', http: {} };
  client = clientOn({ connect: async () => connection }, kubernetesAccess.parse({}), { clock: realClock, log: silentLog });
});
afterEach(async () => {
  await client.close();
  await kubernetes[Symbol.asyncDispose]();
});

async function read(meta: JsonMap, { name = 'fraud', gitops = 'pause' as const }: { name?: string; gitops?: 'pause' | 'alert' } = {}): Promise<GitOpsView> {
  const object = { metadata: { name, namespace: 'shop', uid: 'u1', resourceVersion: '7', ...meta } };
  const kept = { object, path: '/apis/apps/v1/namespaces/shop/deployments/fraud', kind: 'Deployment', namespace: 'shop', what: `deployment shop/${name}` };
  return await readGitOps(client, kept, { gitops, argocd_namespace: 'argocd' }, signal);
}

function stepsOf({ state }: GitOpsView, kind: 'serve' | 'unpin'): readonly Step[] {
  const own: Step = { name: 'own', phase: 'switch', endpoint: 'shop/fraud', barrier: 0, mutation: {}, inverse: null, expect: {} };
  const plan =
    kind === 'serve'
      ? withPauses({ kind: 'steps', steps: [own] }, { kind, shares: [] }, 'shop/fraud', state)
      : withPauses({ kind: 'nothing' }, { kind }, 'shop/fraud', state);
  return plan.kind === 'steps' ? plan.steps.filter(({ name }) => name !== 'own') : [];
}

async function carryOut(step: Step, options: { inverse?: boolean } = {}) {
  const mutation = gitOpsMutationOf(step, options.inverse ?? false);
  if (mutation === null) throw new Error(`no pause: ${step.name}`);
  return await applyPause(client, mutation, 'rb_1', signal);
}

const verdict = (step: Step, { state }: GitOpsView) => {
  const mutation = gitOpsMutationOf(step);
  return mutation === null ? null : checkPause(mutation, state);
};
const specOf = async (path: string) => (await kubernetes.client.get(path)).spec;
const marksOf = async (path: string) =>
  Object.keys((await kubernetes.client.get(path)).metadata.annotations ?? {}).filter((key) => key.startsWith('rollbackd'));
const manage = async (path: string, fieldManager: string, body: JsonMap) =>
  await kubernetes.client.request('PATCH', path, { body, contentType: 'application/merge-patch+json', query: { fieldManager } });

describe('a pause of an Argo CD Application', () => {
  it('takes automated sync away, twice the same, and gives it back as it was', async () => {
    await kubernetes.client.create(anApplication({ automated }));
    const [step] = stepsOf(await read(byArgo), 'serve') as [Step];

    expect(step).toMatchObject({ name: 'pause Argo CD application argocd/shop on shop/fraud', phase: 'stage' });
    expect([(await carryOut(step)).kind, (await carryOut(step)).kind]).toEqual(['applied', 'already']);
    expect(await specOf(applicationPath)).toMatchObject({ syncPolicy: {} });
    const paused = await read(byArgo);
    expect(paused.state).toMatchObject({ pending: [], paused: [{ kind: 'application' }] });
    expect(verdict(step, paused)).toMatchObject({ kind: 'converged' });

    const [resume] = stepsOf(paused, 'unpin') as [Step];
    expect([(await carryOut(resume)).kind, (await carryOut(resume)).kind]).toEqual(['applied', 'already']);
    expect(await specOf(applicationPath)).toMatchObject({ syncPolicy: { automated } });
    expect(await marksOf(applicationPath)).toEqual([]);
  });

  it('stays while another model still needs it', async () => {
    const resources = ['fraud', 'ranker'].map((name) => ({ kind: 'Deployment', namespace: 'shop', name }));
    await kubernetes.client.create(anApplication({ automated, resources }));
    for (const name of ['fraud', 'ranker']) for (const step of stepsOf(await read(byArgo, { name }), 'serve')) await carryOut(step);

    for (const step of stepsOf(await read(byArgo), 'unpin')) await carryOut(step);
    expect((await specOf(applicationPath))?.['syncPolicy']).toEqual({});
    expect((await read(byArgo, { name: 'ranker' })).state.paused).toHaveLength(1);

    for (const step of stepsOf(await read(byArgo, { name: 'ranker' }), 'unpin')) await carryOut(step);
    expect(await specOf(applicationPath)).toMatchObject({ syncPolicy: { automated } });
  });

  it('waits for a sync that is under way, and names who took the pause back', async () => {
    await kubernetes.client.create(anApplication({ automated }));
    const [step] = stepsOf(await read(byArgo), 'serve') as [Step];
    await carryOut(step);

    await kubernetes.client.merge(applicationPath, { status: { operationState: { phase: 'Running' } } });
    expect(verdict(step, await read(byArgo))).toMatchObject({ kind: 'progressing' });
    await kubernetes.client.merge(applicationPath, { status: { operationState: { phase: 'Succeeded' } } });
    await manage(applicationPath, 'argocd-applicationset-controller', { spec: { syncPolicy: { automated } } });
    expect(verdict(step, await read(byArgo))).toEqual({
      kind: 'reverted',
      detail: 'the pause of Argo CD application argocd/shop was taken back by argocd-applicationset-controller',
    });
    // Whoever turned it on again keeps it: only the marks go.
    expect((await carryOut(step, { inverse: true })).kind).toBe('applied');
    expect([await marksOf(applicationPath), await specOf(applicationPath)]).toMatchObject([[], { syncPolicy: { automated } }]);
  });

  it('writes nothing that another process changed meanwhile', async () => {
    await kubernetes.client.create(anApplication({ automated }));
    const [step] = stepsOf(await read(byArgo), 'serve') as [Step];
    kubernetes.fail({ method: 'PATCH' }, 409, { times: 1 });

    expect(await carryOut(step)).toMatchObject({ kind: 'conflict', class: 'conflict' });
    await kubernetes.client.remove(applicationPath);
    await kubernetes.client.create(anApplication({ automated }));
    expect(await carryOut(step)).toMatchObject({ kind: 'conflict', detail: expect.stringContaining('deleted and made anew') });
  });

  const owner = (kind: string) => ({ ownerReferences: [{ apiVersion: 'argoproj.io/v1alpha1', kind, name: 'teams', uid: 'o1', controller: true }] });
  it.each<[string, string, JsonMap | null]>([
    ['of an ApplicationSet', 'ApplicationSet (teams) would put its sync policy back', { metadata: owner('ApplicationSet') }],
    [
      'of an app of apps',
      'Argo CD application root would put its sync policy back',
      { metadata: { annotations: { 'argocd.argoproj.io/tracking-id': 'root:argoproj.io/Application:argocd/shop' } } },
    ],
    ['that Flux makes', 'Flux Kustomization (apps) would put', { metadata: { labels: { 'kustomize.toolkit.fluxcd.io/name': 'apps' } } }],
    ['that does not list it', 'does not list it', { resources: [{ kind: 'Deployment', namespace: 'shop', name: 'other' }] }],
    ['that is not there', 'set argocd_namespace', null],
  ])('is refused %s', async (_name, reason, facts) => {
    if (facts !== null) await kubernetes.client.create(anApplication({ automated, ...facts }));

    const { refusals, state } = await read(byArgo);

    expect(refusals).toEqual([expect.stringContaining(reason)]);
    expect(state.pending).toEqual([]);
  });

  it('is refused where it cannot be read, and where nothing names it', async () => {
    kubernetes.fail({ method: 'GET', path: '/applications/' }, 403);

    expect((await read(byArgo)).refusals).toEqual([expect.stringMatching(/cannot be read to be paused: .*403.*grant this right/)]);
    expect((await read({ managedFields: [{ manager: 'argocd-controller' }] })).refusals).toEqual([expect.stringContaining('by which Application')]);
  });

  it('is not needed without automated sync, and asks nothing with «alert»', async () => {
    await kubernetes.client.create(anApplication({ automated: { ...automated, enabled: false } }));

    expect(await read(byArgo)).toMatchObject({ refusals: [], state: { pending: [] }, notes: [expect.stringContaining('until somebody syncs it')] });
    const before = kubernetes.requests.length;
    await read(byArgo, { gitops: 'alert' });
    expect(kubernetes.requests).toHaveLength(before);
  });

  it('finds an Application in a namespace of its own', async () => {
    await kubernetes.client.create(anApplication({ automated, metadata: { namespace: 'team' } }));

    const tracked = { annotations: { 'argocd.argoproj.io/tracking-id': 'team_shop:apps/Deployment:shop/fraud' } };
    expect((await read(tracked)).state.pending).toMatchObject([{ title: 'Argo CD application team/shop' }]);
  });
});

describe('a pause of a Flux HelmRelease', () => {
  it('suspends it, and resumes it', async () => {
    await kubernetes.client.create(aHelmRelease());
    const [step] = stepsOf(await read(byFlux), 'serve') as [Step];

    expect([(await carryOut(step)).kind, (await carryOut(step)).kind]).toEqual(['applied', 'already']);
    expect(await specOf(releasePath)).toMatchObject({ suspend: true });
    const paused = await read(byFlux);
    expect(verdict(step, paused)).toMatchObject({ kind: 'converged' });

    for (const resume of stepsOf(paused, 'unpin')) await carryOut(resume);
    expect(await specOf(releasePath)).not.toHaveProperty('suspend');
    expect(await marksOf(releasePath)).toEqual([]);
  });

  it('is refused where git names spec.suspend, and not needed where somebody suspended it', async () => {
    await kubernetes.client.create(aHelmRelease());
    await manage(releasePath, 'kustomize-controller', { spec: { suspend: false } });
    expect((await read(byFlux)).refusals).toEqual([expect.stringContaining('git itself names spec.suspend (kustomize-controller wrote it)')]);

    await manage(releasePath, 'flux', { spec: { suspend: true } });
    expect(await read(byFlux)).toMatchObject({ refusals: [], state: { pending: [], paused: [] }, notes: [expect.stringContaining('is suspended already')] });
  });
});
