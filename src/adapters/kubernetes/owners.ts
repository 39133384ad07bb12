import { z } from 'zod';
import { lookUp } from '../../domain/lookup.ts';
import type { KubernetesObject } from './object.ts';

type Meta = KubernetesObject['metadata'];

/** Key that every plane which changes Kubernetes objects takes into its settings: what to do where a GitOps tool keeps the object as git has it. */
export const gitops = z.enum(['refuse', 'pause', 'alert'], { error: 'expected refuse, pause or alert' }).default('refuse').meta({
  description:
    'Where Argo CD or Flux keeps the object as git has it: refuse; pause (Flux leaves the object alone, automated sync of the Application or the HelmRelease is off, until unpin); alert (act, and say who may take it back). Default: refuse.',
});
export type GitOps = z.output<typeof gitops>;

/**
 * Who else writes an object. `reverts`: keeps it as git has it, and would take our change back; `reapplies`: does so with its next release only;
 * `drives`: moves what we would move as its own work, so it must be driven instead.
 */
export type Owner = { readonly tool: string; readonly name: string | null; readonly effect: 'reverts' | 'reapplies' | 'drives' };

/** Set on an object by us, in place of Flux's own answer to it: who must resume. */
export const pauseMark = 'rollbackd.io/paused';
export const fluxReconcile = 'kustomize.toolkit.fluxcd.io/reconcile';
const fluxKustomization = 'Flux Kustomization';

/** Field managers of the tools, as they write. */
const toolOf: Readonly<Record<string, string>> = {
  'argocd-controller': 'Argo CD',
  'argocd-application-controller': 'Argo CD',
  'kustomize-controller': fluxKustomization,
  'helm-controller': 'Flux HelmRelease',
  helm: 'Helm',
  flagger: 'Flagger',
  'rollouts-controller': 'Argo Rollouts',
};

const drivers: Readonly<Record<string, string>> = {
  Rollout: 'Argo Rollouts',
  Canary: 'Flagger',
  InferenceService: 'KServe',
  SeldonDeployment: 'Seldon Core',
  Model: 'Seldon Core 2',
  Revision: 'Knative',
};

/**
 * Everybody known to write this object, by what they leave on it: reference control-planes-traffic 13.
 * @see https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/ and https://fluxcd.io/flux/components/kustomize/kustomizations/
 */
export function ownersOf(meta: Meta): readonly Owner[] {
  const labels = meta.labels ?? {};
  const annotations = meta.annotations ?? {};
  const managers = new Set((meta.managedFields ?? []).map((field) => field.manager ?? ''));
  const found: Owner[] = [];
  const add = (tool: string, name: string | null | undefined, effect: Owner['effect']): void => void found.push({ tool, name: name ?? null, effect });

  const tracking = lookUp(annotations, 'argocd.argoproj.io/tracking-id')?.split(':')[0] ?? lookUp(labels, 'argocd.argoproj.io/instance');
  if (tracking !== undefined || managers.has('argocd-controller') || managers.has('argocd-application-controller')) add('Argo CD', tracking, 'reverts');

  const kustomization = lookUp(labels, 'kustomize.toolkit.fluxcd.io/name');
  if (kustomization !== undefined || managers.has('kustomize-controller')) {
    const isDisabled = [annotations, labels].some((map) => lookUp(map, fluxReconcile) === 'disabled');
    add(fluxKustomization, named(lookUp(labels, 'kustomize.toolkit.fluxcd.io/namespace'), kustomization), isDisabled ? 'reapplies' : 'reverts');
  }
  const release = lookUp(labels, 'helm.toolkit.fluxcd.io/name');
  if (release !== undefined || managers.has('helm-controller'))
    add('Flux HelmRelease', named(lookUp(labels, 'helm.toolkit.fluxcd.io/namespace'), release), 'reverts');
  else if (lookUp(annotations, 'meta.helm.sh/release-name') !== undefined || lookUp(labels, 'app.kubernetes.io/managed-by') === 'Helm' || managers.has('helm'))
    add('Helm', named(lookUp(annotations, 'meta.helm.sh/release-namespace'), lookUp(annotations, 'meta.helm.sh/release-name')), 'reapplies');

  if (lookUp(annotations, 'argo-rollouts.argoproj.io/managed-by-rollouts') !== undefined)
    add('Argo Rollouts', lookUp(annotations, 'argo-rollouts.argoproj.io/managed-by-rollouts'), 'drives');
  for (const owner of meta.ownerReferences ?? []) {
    const driver = lookUp(drivers, owner.kind);
    if (driver !== undefined) add(driver, owner.name, 'drives');
    else if (owner.controller === true) add(owner.kind, owner.name, 'drives');
  }
  if (managers.has('flagger') && !found.some((owner) => owner.tool === 'Flagger')) add('Flagger', null, 'drives');
  return found;
}

/** What follows from an object's owners: reasons not to act, and what to tell people when we do. */
export type Ownership = { readonly refusals: readonly string[]; readonly notes: readonly string[] };

/**
 * For what cannot pause anybody; what can asks `readGitOps`.
 * @param what how people call the object: `deployment shop/ranker`
 */
export function judgeOwners(meta: Meta, policy: GitOps, what: string): Ownership {
  const judged = ownersOf(meta).map((owner) => judgeOwner(owner, policy, what));
  return { refusals: judged.flatMap(({ refusals }) => refusals), notes: judged.flatMap(({ notes }) => notes) };
}

/**
 * What follows from one of them, where it is not paused.
 * @param ways to act all the same, for a refusal
 */
export function judgeOwner(owner: Owner, policy: GitOps, what: string, ways = 'gitops: alert'): Ownership {
  const who = nameOf(owner);
  const refuse = (reason: string): Ownership => ({ refusals: [reason], notes: [] });
  const note = (words: string): Ownership => ({ refusals: [], notes: [words] });
  if (owner.effect === 'drives') return refuse(`${what} belongs to ${who}, which moves it by itself: use the control plane of that kind, or roll back there`);
  if (owner.effect === 'reapplies') return note(`${who} brings the old version back with its next release: revert it there too`);
  if (policy === 'alert') return note(`${what}: this will be reverted by ${who} unless git is changed: revert the commit`);
  return refuse(
    policy === 'pause'
      ? `${who} keeps ${what} as git has it, and this control plane cannot pause it: revert the commit, or pause it by hand and set gitops: alert`
      : `${who} keeps ${what} as git has it and would take a rollback back: revert the commit, or set ${ways}`,
  );
}

/** `Argo CD application shop`, `Flux Kustomization (flux-system/apps)`. */
export function nameOf({ tool, name }: Pick<Owner, 'tool' | 'name'>): string {
  if (name === null) return tool;
  return tool === 'Argo CD' ? `Argo CD application ${name}` : `${tool} (${name})`;
}

/** Whether Flux leaves the object alone on our account. */
export function isPausedByUs(meta: Meta): boolean {
  return lookUp(meta.annotations ?? {}, pauseMark) !== undefined && lookUp(meta.annotations ?? {}, fluxReconcile) === 'disabled';
}

/** Annotations that make Flux leave the object alone, or (`false`) resume. */
export function pauseAnnotations(isPaused: boolean, opId: string): Readonly<Record<string, string | null>> {
  return { [fluxReconcile]: isPaused ? 'disabled' : null, [pauseMark]: isPaused ? `${fluxKustomization} by ${opId}` : null };
}

/**
 * Who wrote a field last, by `managedFields`, other than rollbackd; `null` when nobody says so.
 * @param field path of it: `['spec', 'selector']`
 */
export function lastWriterOf(meta: Meta, field: readonly string[]): string | null {
  const writers = (meta.managedFields ?? [])
    .filter(({ manager, subresource, fieldsV1 }) => manager !== undefined && manager !== 'rollbackd' && subresource === undefined && owns(fieldsV1, field))
    .toSorted((a, b) => (b.time ?? '').localeCompare(a.time ?? ''));
  return writers[0]?.manager ?? null;
}

/**
 * Who wrote a field since rollbackd last wrote the object, by `managedFields`, for people: `argocd-controller (Apply, 2026-11-26T04:00:05Z), which is Argo CD
 * application shop`; `null` when nobody says so. Times there are whole seconds.
 */
export function writerSince(meta: Meta, field: readonly string[]): string | null {
  const fields = meta.managedFields ?? [];
  const timeOf = ({ time = '' }: (typeof fields)[number]): string => time;
  const ours = fields
    .filter(({ manager, subresource }) => manager === 'rollbackd' && subresource === undefined)
    .map(timeOf)
    .toSorted();
  const [last] = fields
    .filter(({ manager, subresource, fieldsV1 }) => manager !== undefined && manager !== 'rollbackd' && subresource === undefined && owns(fieldsV1, field))
    .toSorted((a, b) => timeOf(b).localeCompare(timeOf(a)));
  if (last?.manager === undefined || timeOf(last) < (ours.at(-1) ?? '')) return null;
  const facts = [last.operation, last.time].filter((fact) => fact !== undefined).join(', ');
  const tool = lookUp(toolOf, last.manager);
  const owner = ownersOf(meta).find((candidate) => candidate.tool === tool);
  const known = tool === undefined ? '' : `, which is ${nameOf(owner ?? { tool, name: null })}`;
  return `${last.manager}${facts === '' ? '' : ` (${facts})`}${known}`;
}

/** The same as a part of an endpoint's observation. */
export function writtenBy(meta: Meta, field: readonly string[]): { readonly writer?: string } {
  const writer = writerSince(meta, field);
  return writer === null ? {} : { writer };
}

function owns(fields: Readonly<Record<string, unknown>> | undefined, path: readonly string[]): boolean {
  let at: unknown = fields;
  for (const segment of path) {
    if (typeof at !== 'object' || at === null) return false;
    at = lookUp(at as Readonly<Record<string, unknown>>, `f:${segment}`);
  }
  return at !== undefined;
}

function named(namespace: string | undefined, name: string | undefined): string | null {
  if (name === undefined) return null;
  return namespace === undefined ? name : `${namespace}/${name}`;
}
