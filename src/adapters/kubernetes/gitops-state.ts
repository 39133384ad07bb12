import { z } from 'zod';
import { text } from '../../config/scalars.ts';
import { lookUp } from '../../domain/lookup.ts';
import { PlaneError } from '../../domain/ports.ts';
import type { KubernetesClient } from './client.ts';
import { type KubernetesObject, type Resource, resourcePath } from './object.ts';
import { type GitOps, gitops, isPausedByUs, judgeOwner, lastWriterOf, nameOf, type Owner, ownersOf } from './owners.ts';

/** Keys that a plane takes into its settings which can pause who keeps its objects as git has them. */
export const gitopsKeys = {
  gitops,
  argocd_namespace: text({ min: 1, expected: 'a namespace' })
    .default('argocd')
    .meta({ description: 'Namespace of Argo CD’s Applications, which gitops: pause reads and patches. Default: argocd.' }),
};
export type GitOpsSettings = { readonly gitops: GitOps; readonly argocd_namespace: string };

/** Where a GitOps tool is paused: on the object itself (Flux Kustomization), on the Application, on the HelmRelease. Plain JSON, since steps carry it. */
export const pausePlace = z.object({
  kind: z.enum(['object', 'application', 'helm_release']),
  path: z.string(),
  uid: z.string(),
  /** For people: `Argo CD application argocd/shop`. */
  title: z.string(),
});
export type PausePlace = z.output<typeof pausePlace>;

/** Who keeps one object as git has it, as far as a pause is concerned. Plain JSON; part of `EndpointObservation.config`. */
export type GitOpsState = {
  /** What is paused for: `deployment shop/fraud`. */
  readonly holder: string;
  /** To be paused before the object is changed. */
  readonly pending: readonly PausePlace[];
  /** Paused on our account, for this object. */
  readonly paused: readonly PausePlace[];
  /** Path of a place → why it cannot be relied on yet: a sync under way, not readable. */
  readonly waiting: Readonly<Record<string, string>>;
  /** Path of a place that was paused on our account and is not any more → who wrote there last. */
  readonly resumedBy: Readonly<Record<string, string>>;
};

export type GitOpsView = { readonly state: GitOpsState; readonly refusals: readonly string[]; readonly notes: readonly string[] };

/** Left on an Application or a HelmRelease: whom it is paused for (JSON list), and what stood in `spec.syncPolicy.automated` (JSON). */
export const placeMarks = { holders: 'rollbackd.io/paused-for', automated: 'rollbackd.io/paused-automated' } as const;

const applications: Resource = { group: 'argoproj.io', version: 'v1alpha1', resource: 'applications' };
const helmReleases: Resource = { group: 'helm.toolkit.fluxcd.io', version: 'v2', resource: 'helmreleases' };

/** An Application, as far as it is used. @see https://argo-cd.readthedocs.io/en/stable/operator-manual/application.yaml */
const application = z.object({
  spec: z.object({ syncPolicy: z.object({ automated: z.looseObject({ enabled: z.boolean().nullish() }).nullish() }).nullish() }),
  status: z
    .object({
      resources: z.array(z.object({ kind: z.string(), name: z.string(), namespace: z.string().nullish() })).nullish(),
      operationState: z.object({ phase: z.string().nullish() }).nullish(),
    })
    .nullish(),
});
export type Automated = NonNullable<NonNullable<z.output<typeof application>['spec']['syncPolicy']>['automated']>;

const holderList = z.array(z.string());

/** Whom a place is paused for. */
export function holdersOf({ metadata }: KubernetesObject): readonly string[] {
  try {
    return holderList.parse(JSON.parse(lookUp(metadata.annotations ?? {}, placeMarks.holders) ?? '[]'));
  } catch {
    return [];
  }
}

/** `spec.syncPolicy.automated` while it is in force; `null`: this Application is not synced automatically. */
export function automatedOf(object: KubernetesObject): Automated | null {
  const automated = application.parse(object).spec.syncPolicy?.automated ?? null;
  return automated === null || automated.enabled === false ? null : automated;
}

export function isSuspended(object: KubernetesObject): boolean {
  return z.object({ spec: z.object({ suspend: z.boolean().nullish() }) }).parse(object).spec.suspend === true;
}

/** The object a plane changes. */
export type Kept = {
  readonly object: KubernetesObject;
  readonly path: string;
  /** As an Application lists it: `Deployment`. */
  readonly kind: string;
  readonly namespace: string;
  /** For people: `deployment shop/fraud`. */
  readonly what: string;
};

type Finding = {
  readonly refusal?: string;
  readonly note?: string;
  readonly pending?: PausePlace;
  readonly paused?: PausePlace;
  readonly waiting?: readonly [string, string];
  readonly resumedBy?: readonly [string, string];
};

/**
 * What follows from an object's owners under the policy, with those read that are to be paused. Never throws for an answer of the server: what cannot be read
 * is a refusal.
 */
export async function readGitOps(client: KubernetesClient, kept: Kept, settings: GitOpsSettings, signal: AbortSignal): Promise<GitOpsView> {
  const owners = ownersOf(kept.object.metadata);
  const findings: Finding[] = [];
  if (isPausedByUs(kept.object.metadata)) findings.push({ paused: objectPlace(kept) });
  for (const owner of owners) {
    if (settings.gitops !== 'pause' || owner.effect !== 'reverts') {
      const { refusals, notes } = judgeOwner(owner, settings.gitops, kept.what, 'gitops: pause or alert');
      findings.push(...refusals.map((refusal) => ({ refusal })), ...notes.map((note) => ({ note })));
    } else findings.push(await readOwner(client, owner, kept, settings, signal));
  }
  return {
    state: {
      holder: kept.what,
      pending: findings.flatMap(({ pending }) => pending ?? []),
      paused: findings.flatMap(({ paused }) => paused ?? []),
      waiting: Object.fromEntries(findings.flatMap(({ waiting }) => (waiting === undefined ? [] : [waiting]))),
      resumedBy: Object.fromEntries(findings.flatMap(({ resumedBy }) => (resumedBy === undefined ? [] : [resumedBy]))),
    },
    refusals: findings.flatMap(({ refusal }) => refusal ?? []),
    notes: findings.flatMap(({ note }) => note ?? []),
  };
}

function objectPlace({ object, path }: Kept): PausePlace {
  return { kind: 'object', path, uid: object.metadata.uid, title: 'Flux' };
}

async function readOwner(client: KubernetesClient, owner: Owner, kept: Kept, settings: GitOpsSettings, signal: AbortSignal): Promise<Finding> {
  const who = nameOf(owner);
  if (owner.tool === 'Flux Kustomization')
    return { pending: objectPlace(kept), note: `${who} leaves ${kept.what} alone from now on: revert the commit, then run rollbackd unpin` };
  if (owner.name === null)
    return {
      refusal: `${who} keeps ${kept.what} as git has it, and nothing on it says by which ${owner.tool === 'Argo CD' ? 'Application' : 'HelmRelease'}, so it cannot be paused: revert the commit, or set gitops: alert`,
    };
  const isArgo = owner.tool === 'Argo CD';
  const [namespace, name] = isArgo ? applicationName(owner.name, settings) : releaseName(owner.name);
  const path = resourcePath(isArgo ? applications : helmReleases, namespace, name);
  const title = isArgo ? `Argo CD application ${namespace}/${name}` : `Flux HelmRelease ${namespace}/${name}`;
  try {
    const found = await client.find(path, signal);
    if (found === null)
      return {
        refusal: `${title} keeps ${kept.what} as git has it, and is not there to be paused${isArgo ? '; set argocd_namespace to the namespace of its Applications' : ''}`,
      };
    const place: PausePlace = { kind: isArgo ? 'application' : 'helm_release', path, uid: found.metadata.uid, title };
    return isArgo ? judgeApplication(found, place, kept) : judgeRelease(found, place, kept);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof PlaneError) && !(error instanceof z.ZodError)) throw error;
    const reason = error instanceof z.ZodError ? 'it is not of the shape its API promises' : error.message;
    return {
      refusal: `${title} keeps ${kept.what} as git has it, and cannot be read to be paused: ${reason}`,
      waiting: [path, `${title} cannot be read: ${reason}`],
    };
  }
}

/** Applications outside of Argo CD's own namespace are tracked as `namespace_name`. @see https://argo-cd.readthedocs.io/en/stable/operator-manual/app-any-namespace/ */
function applicationName(tracked: string, { argocd_namespace: own }: GitOpsSettings): [string, string] {
  const at = tracked.indexOf('_');
  return at < 0 ? [own, tracked] : [tracked.slice(0, at), tracked.slice(at + 1)];
}

function releaseName(labelled: string): [string, string] {
  const at = labelled.indexOf('/');
  return at < 0 ? ['default', labelled] : [labelled.slice(0, at), labelled.slice(at + 1)];
}

function judgeApplication(found: KubernetesObject, place: PausePlace, kept: Kept): Finding {
  const { title, path } = place;
  const { status } = application.parse(found);
  const automated = automatedOf(found);
  const isOurs = holdersOf(found).includes(kept.what);
  if (isOurs && automated === null) {
    const isSyncing = status?.operationState?.phase === 'Running';
    return { paused: place, ...(isSyncing && { waiting: [path, `${title} is still in a sync that began before`] }) };
  }
  const resumed: Finding = isOurs ? { resumedBy: [path, lastWriterOf(found.metadata, ['spec', 'syncPolicy']) ?? 'somebody else'] } : {};
  const resources = status?.resources ?? [];
  const { name } = kept.object.metadata;
  const isListed = resources.some((entry) => entry.kind === kept.kind && entry.name === name && (entry.namespace ?? kept.namespace) === kept.namespace);
  if (resources.length > 0 && !isListed)
    return {
      ...resumed,
      refusal: `${title}, which ${kept.what} names as its own, does not list it: another Argo CD may keep it; set argocd_namespace, or gitops: alert`,
    };
  const parent = keeperOf(found);
  if (parent !== null)
    return {
      ...resumed,
      ...(isOurs && { pending: place }),
      refusal: `${title} keeps ${kept.what} as git has it, and cannot be paused: ${parent} would put its sync policy back; turn automated sync off there, or set gitops: alert`,
    };
  const isHeldForOthers = holdersOf(found).length > 0;
  if (automated === null && !isHeldForOthers)
    return { note: `${title} is not synced automatically: this lasts until somebody syncs it; revert the commit before` };
  return {
    ...resumed,
    pending: place,
    note: `${title} is not synced automatically from now on, with all that is in it: revert the commit, then run rollbackd unpin`,
  };
}

function judgeRelease(found: KubernetesObject, place: PausePlace, kept: Kept): Finding {
  const { title, path } = place;
  const isOurs = holdersOf(found).includes(kept.what);
  if (isOurs && isSuspended(found)) return { paused: place };
  const resumed: Finding = isOurs ? { resumedBy: [path, lastWriterOf(found.metadata, ['spec', 'suspend']) ?? 'somebody else'] } : {};
  // Flux and Argo CD leave a field alone that git does not name.
  const git = isSuspended(found) ? null : lastWriterOf(found.metadata, ['spec', 'suspend']);
  if (git !== null && gitWriters.has(git))
    return {
      ...resumed,
      refusal: `${title} keeps ${kept.what} as git has it, and cannot be paused: git itself names spec.suspend (${git} wrote it) and would put it back; suspend it in git, or set gitops: alert`,
    };
  const isHeldForOthers = holdersOf(found).length > 0;
  if (isSuspended(found) && !isHeldForOthers) return { note: `${title} is suspended already: this lasts until somebody resumes it; revert the commit before` };
  return { ...resumed, pending: place, note: `${title} is suspended from now on, with all that is in it: revert the commit, then run rollbackd unpin` };
}

const gitWriters: ReadonlySet<string> = new Set(['kustomize-controller', 'argocd-controller', 'argocd-application-controller', 'helm-controller', 'helm']);

/** Who would put the spec of an Application back. `null`: nobody. */
function keeperOf({ metadata }: KubernetesObject): string | null {
  const keeper = ownersOf(metadata).find(({ effect }) => effect !== 'reapplies');
  return keeper === undefined ? null : nameOf(keeper);
}
