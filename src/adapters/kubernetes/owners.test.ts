import { describe, expect, it } from 'vitest';
import type { KubernetesObject } from './object.ts';
import { gitops, isPausedByUs, judgeOwner, judgeOwners, lastWriterOf, ownersOf, pauseAnnotations, writerSince } from './owners.ts';

type Meta = KubernetesObject['metadata'];

function aMeta(changes: Partial<Meta> = {}): Meta {
  return { name: 'ranker', uid: 'u1', resourceVersion: '7', ...changes };
}
const flux = { labels: { 'kustomize.toolkit.fluxcd.io/name': 'apps', 'kustomize.toolkit.fluxcd.io/namespace': 'flux-system' } };
const argo = { annotations: { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:shop/ranker' } };
const helmRelease = {
  labels: { 'helm.toolkit.fluxcd.io/name': 'ranker', 'helm.toolkit.fluxcd.io/namespace': 'flux-system', 'app.kubernetes.io/managed-by': 'Helm' },
};
const aReference = (kind: string, apiVersion: string): Partial<Meta> => ({
  ownerReferences: [{ apiVersion, kind, name: 'ranker', uid: 'o1', controller: true }],
});

describe('ownersOf', () => {
  it.each<[string, Partial<Meta>, string, string | null, string]>([
    ['Argo CD by its tracking id', argo, 'Argo CD', 'shop', 'reverts'],
    ['Argo CD by its manager', { managedFields: [{ manager: 'argocd-controller' }] }, 'Argo CD', null, 'reverts'],
    ['a Kustomization of Flux', flux, 'Flux Kustomization', 'flux-system/apps', 'reverts'],
    ['Flux by its manager', { managedFields: [{ manager: 'kustomize-controller' }] }, 'Flux Kustomization', null, 'reverts'],
    [
      'Flux told to leave it alone',
      { ...flux, annotations: { 'kustomize.toolkit.fluxcd.io/reconcile': 'disabled' } },
      'Flux Kustomization',
      'flux-system/apps',
      'reapplies',
    ],
    ['a HelmRelease of Flux, and not Helm too', helmRelease, 'Flux HelmRelease', 'flux-system/ranker', 'reverts'],
    ['Helm', { annotations: { 'meta.helm.sh/release-name': 'r', 'meta.helm.sh/release-namespace': 'shop' } }, 'Helm', 'shop/r', 'reapplies'],
    ['Flagger', aReference('Canary', 'flagger.app/v1beta1'), 'Flagger', 'ranker', 'drives'],
    ['KServe', aReference('InferenceService', 'serving.kserve.io/v1beta1'), 'KServe', 'ranker', 'drives'],
    ['Argo Rollouts on a Service', { annotations: { 'argo-rollouts.argoproj.io/managed-by-rollouts': 'ranker' } }, 'Argo Rollouts', 'ranker', 'drives'],
    ['any other controller', aReference('Widget', 'example.org/v1'), 'Widget', 'ranker', 'drives'],
  ])('sees %s', (_name, meta, tool, name, effect) => {
    expect(ownersOf(aMeta(meta))).toEqual([{ tool, name, effect }]);
  });

  it('sees nobody on an object of kubectl', () => {
    expect(
      ownersOf(aMeta({ managedFields: [{ manager: 'kubectl-client-side-apply' }, { manager: 'kube-controller-manager' }], labels: { constructor: 'x' } })),
    ).toEqual([]);
  });
});

describe('judgeOwners', () => {
  it('refuses where nothing else is set', () => {
    expect(gitops.parse(undefined)).toBe('refuse');
    expect(gitops.safeParse('fight').error?.issues[0]?.message).toBe('expected refuse, pause or alert');
  });

  const judge = (meta: Partial<Meta>, policy: 'refuse' | 'pause' | 'alert') => judgeOwners(aMeta(meta), policy, 'deployment shop/ranker');

  it('refuses by default, and says what to do', () => {
    expect(judge(argo, 'refuse').refusals).toEqual([
      'Argo CD application shop keeps deployment shop/ranker as git has it and would take a rollback back: revert the commit, or set gitops: alert',
    ]);
    expect(judgeOwner({ tool: 'Argo CD', name: 'shop', effect: 'reverts' }, 'refuse', 'x', 'gitops: pause or alert').refusals[0]).toContain(
      'set gitops: pause or alert',
    );
  });

  it('acts with «alert», and says who may take it back', () => {
    expect(judge(argo, 'alert')).toMatchObject({
      refusals: [],
      notes: [expect.stringContaining('this will be reverted by Argo CD application shop unless git is changed')],
    });
  });

  it('refuses to pause where nothing can be paused', () => {
    for (const meta of [flux, argo, helmRelease])
      expect(judge(meta, 'pause')).toMatchObject({ refusals: [expect.stringContaining('this control plane cannot pause it')], notes: [] });
  });

  it('never acts on what another controller drives, and lets Helm pass with a note', () => {
    expect(judge(aReference('Canary', 'flagger.app/v1beta1'), 'alert').refusals[0]).toContain('belongs to Flagger (ranker)');
    expect(judge({ annotations: { 'meta.helm.sh/release-name': 'r' } }, 'refuse')).toMatchObject({
      refusals: [],
      notes: [expect.stringContaining('next release')],
    });
  });

  it('knows its own pause', () => {
    const annotations = Object.fromEntries(Object.entries(pauseAnnotations(true, 'rb_1')).filter((entry): entry is [string, string] => entry[1] !== null));

    expect(isPausedByUs(aMeta({ annotations }))).toBe(true);
    expect(isPausedByUs(aMeta({ annotations: { 'kustomize.toolkit.fluxcd.io/reconcile': 'disabled' } }))).toBe(false);
  });
});

describe('lastWriterOf', () => {
  it('names the newest manager of a field, never rollbackd', () => {
    const fieldsV1 = { 'f:spec': { 'f:template': {} } };
    const managedFields = [
      { manager: 'kubectl', time: '2026-11-01T00:00:00Z', fieldsV1 },
      { manager: 'argocd-controller', time: '2026-11-02T00:00:00Z', fieldsV1 },
      { manager: 'rollbackd', time: '2026-11-03T00:00:00Z', fieldsV1 },
      { manager: 'hpa', time: '2026-11-04T00:00:00Z', fieldsV1: { 'f:spec': { 'f:replicas': {} } } },
    ];

    expect(lastWriterOf(aMeta({ managedFields }), ['spec', 'template'])).toBe('argocd-controller');
    expect(lastWriterOf(aMeta({ managedFields }), ['spec', 'paused'])).toBeNull();
  });
});

describe('writerSince', () => {
  const fieldsV1 = { 'f:spec': { 'f:template': {} } };
  const ours = { manager: 'rollbackd', operation: 'Update', time: '2026-11-02T10:00:00Z', fieldsV1: { 'f:metadata': { 'f:annotations': {} } } };
  const aWriter = (manager: string, time: string, changes: object = {}) => ({ manager, operation: 'Update', time, fieldsV1, ...changes });
  const ask = (writers: readonly object[], meta: Partial<Meta> = {}) =>
    writerSince(aMeta({ managedFields: [ours, ...writers] as Meta['managedFields'], ...meta }), ['spec', 'template']);

  it.each<[string, string | null, readonly object[], Partial<Meta>]>([
    [
      'Argo CD with its application',
      'argocd-controller (Apply, 2026-11-02T10:00:05Z), which is Argo CD application shop',
      [aWriter('argocd-controller', '2026-11-02T10:00:05Z', { operation: 'Apply' }), aWriter('kubectl', '2026-11-01T00:00:00Z')],
      argo,
    ],
    [
      'Flux with its Kustomization',
      'kustomize-controller (Update, 2026-11-02T10:00:05Z), which is Flux Kustomization (flux-system/apps)',
      [aWriter('kustomize-controller', '2026-11-02T10:00:05Z')],
      flux,
    ],
    ['a person', 'kubectl-edit (Update, 2026-11-02T10:00:00Z)', [aWriter('kubectl-edit', '2026-11-02T10:00:00Z')], argo],
    ['nobody who wrote before rollbackd did', null, [aWriter('argocd-controller', '2026-11-02T09:59:59Z')], argo],
    ['nobody who wrote the status only', null, [aWriter('kube-controller-manager', '2026-11-02T10:00:05Z', { subresource: 'status' })], {}],
    ['nobody who wrote other fields', null, [aWriter('hpa', '2026-11-02T10:00:05Z', { fieldsV1: { 'f:spec': { 'f:replicas': {} } } })], {}],
  ])('names %s', (_name, expected, writers, meta) => {
    expect(ask(writers, meta)).toBe(expected);
  });
});
