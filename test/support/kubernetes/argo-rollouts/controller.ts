import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { KubernetesTestClient } from '../kubernetes-client.ts';
import type { JsonMap, KubernetesObject } from '../kubernetes-object.ts';
import { reconcileBlueGreen } from './blue-green.ts';
import { reconcileCanary } from './canary.ts';
import { aReplicaSet, type Pass, type RolloutSpec, type RolloutStatus, revisionOf } from './pass.ts';
import { ephemeralAnnotation, findSet, hashOfTemplate, labelHash, withEphemeral } from './template.ts';

export type ArgoRolloutsOptions = {
  readonly namespace: string;
  /** How long old pods are kept beside a proxy or a Service, ms; 0: not at all. */
  readonly scaleDownDelayMs?: number;
  /** `spec.progressDeadlineSeconds`, sooner. */
  readonly deadlineMs?: number;
};

const everyMs = 5;
const revision = 'rollout.argoproj.io/revision';
const workloadGeneration = 'rollout.argoproj.io/workload-generation';

/**
 * What the controller of Argo Rollouts does with Rollouts and their ReplicaSets, pass by pass, as its documentation and its behaviour are: a change of the
 * template first resets the status and nothing else; an abort of a promoted Rollout is dropped, and so is a promotion of an old template; an abort leaves
 * the phase Degraded; a template with the server's defaults in it is still that of its ReplicaSet. Steps: `setWeight` and `pause`; others are passed over.
 */
export class ArgoRolloutsController implements AsyncDisposable {
  readonly #client: KubernetesTestClient;
  readonly #options: Required<ArgoRolloutsOptions>;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #isPaused = false;
  #pass: Promise<void> = Promise.resolve();

  constructor(client: KubernetesTestClient, options: ArgoRolloutsOptions) {
    this.#client = client;
    this.#options = { scaleDownDelayMs: 0, deadlineMs: 60_000, ...options };
    this.#running = this.#run();
  }

  /** Looks at nothing any more, once this resolves. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#pass;
  }

  resume(): void {
    this.#isPaused = false;
  }

  /** One pass over every Rollout, of a paused controller too. */
  async pass(): Promise<void> {
    for (const rollout of await this.#client.list(`/apis/argoproj.io/v1alpha1/namespaces/${this.#options.namespace}/rollouts`)) await this.#reconcile(rollout);
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      // A conflict, or a server that goes away: the next pass looks again.
      if (!this.#isPaused) {
        this.#pass = this.pass().catch(() => undefined);
        await this.#pass;
      }
      await sleep(everyMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #reconcile(rollout: KubernetesObject): Promise<void> {
    const { namespace } = this.#options;
    const path = `/apis/argoproj.io/v1alpha1/namespaces/${namespace}/rollouts/${rollout.metadata.name}`;
    const spec = rollout.spec as unknown as RolloutSpec;
    if (rollout.metadata.deletionTimestamp !== undefined) return;
    // Autoscalers need a number there.
    if (spec.replicas === undefined) return void (await this.#client.merge(path, { spec: { replicas: 1 } }));
    const template = await this.#templateOf(rollout, path);
    if (template === null) return;
    const sets = await this.#setsOf(rollout);
    const status = (rollout.status ?? {}) as RolloutStatus;
    const current = findSet(template, sets);
    const newest = Math.max(0, ...sets.filter((set) => set !== current).map(revisionOf));
    if (current === undefined) {
      await this.#client.create(aReplicaSet(rollout, template, hashOfTemplate(template), newest + 1, status.stableRS ?? ''));
      return;
    }
    // Used again, an old one is renumbered.
    if (revisionOf(current) <= newest) return void (await this.#annotateSet(current, { [revision]: String(newest + 1) }));
    if (rollout.metadata.annotations?.[revision] !== String(revisionOf(current)))
      return void (await this.#client.merge(path, { metadata: { annotations: { [revision]: String(revisionOf(current)) } } }));

    const next: RolloutStatus = structuredClone(status);
    const hash = labelHash(current);
    const stable = sets.find((set) => labelHash(set) === status.stableRS) ?? null;
    const pass: Pass = {
      client: this.#client,
      namespace,
      spec,
      status,
      next,
      current,
      hash,
      stable,
      sets,
      scaleDownDelayMs: this.#options.scaleDownDelayMs,
      isInWindow: isInWindow(spec, current, stable, sets),
    };
    if (status.stableRS === status.currentPodHash) delete next.abort;
    next.currentPodHash = hash;
    next.promoteFull = hash !== (status.stableRS ?? '') && status.promoteFull === true;
    if (status.currentPodHash !== hash) reset(pass);
    else {
      await this.#syncEphemeral(pass);
      await (spec.strategy.blueGreen === undefined ? reconcileCanary(pass) : reconcileBlueGreen(pass));
    }
    this.#finish(pass, rollout, template);
    await this.#save(path, status, next);
  }

  /** `null`: there is no workload of that name. */
  async #templateOf(rollout: KubernetesObject, path: string): Promise<JsonMap | null> {
    const { template, workloadRef } = rollout.spec as unknown as RolloutSpec;
    if (workloadRef === undefined) return template ?? null;
    const workload = await this.#client.find(`/apis/apps/v1/namespaces/${this.#options.namespace}/deployments/${workloadRef.name}`);
    if (workload === null) return null;
    const generation = String(workload.metadata.generation ?? 0);
    if (rollout.metadata.annotations?.[workloadGeneration] !== generation) {
      await this.#client.merge(path, { metadata: { annotations: { [workloadGeneration]: generation } } });
      return null;
    }
    return (workload.spec as JsonMap)['template'] as JsonMap;
  }

  async #setsOf(rollout: KubernetesObject): Promise<KubernetesObject[]> {
    const all = await this.#client.list(`/apis/apps/v1/namespaces/${this.#options.namespace}/replicasets`);
    return all.filter((set) => set.metadata.ownerReferences?.some(({ uid }) => uid === rollout.metadata.uid)).toSorted((a, b) => revisionOf(a) - revisionOf(b));
  }

  async #annotateSet(set: KubernetesObject, annotations: Record<string, string | null>, spec: JsonMap = {}): Promise<void> {
    await this.#client.merge(`/apis/apps/v1/namespaces/${this.#options.namespace}/replicasets/${set.metadata.name}`, { metadata: { annotations }, spec });
  }

  /** Labels that pods have only while they are canary, preview, stable or active. */
  async #syncEphemeral({ spec, sets, current, stable, status }: Pass): Promise<void> {
    const { canary, blueGreen } = spec.strategy;
    const ofNew = canary?.canaryMetadata ?? blueGreen?.previewMetadata ?? null;
    const ofStable = canary?.stableMetadata ?? blueGreen?.activeMetadata ?? null;
    if (ofNew === null && ofStable === null) return;
    for (const set of sets) {
      const isStable = set === stable || (set === current && status.stableRS === labelHash(current));
      const wanted = isStable ? ofStable : set === current ? ofNew : null;
      const { template, annotation } = withEphemeral(set, wanted);
      if ((set.metadata.annotations?.[ephemeralAnnotation] ?? null) === annotation) continue;
      const before = (set.spec as JsonMap)['template'] as { metadata?: { labels?: JsonMap } };
      const gone = Object.keys(before.metadata?.labels ?? {}).filter((key) => !Object.hasOwn((template['metadata'] as { labels: JsonMap }).labels, key));
      const labels = { ...(template['metadata'] as { labels: JsonMap }).labels, ...Object.fromEntries(gone.map((key) => [key, null])) };
      await this.#annotateSet(set, { [ephemeralAnnotation]: annotation }, { template: { metadata: { labels } } });
    }
  }

  #finish({ next, status, spec, sets, current, hash }: Pass, rollout: KubernetesObject, template: JsonMap): void {
    const count = (which: readonly KubernetesObject[], field: string): number => which.reduce((sum, set) => sum + Number(set.status?.[field] ?? 0), 0);
    next.observedGeneration = String(rollout.metadata.generation ?? 0);
    const seen = rollout.metadata.annotations?.[workloadGeneration];
    if (seen !== undefined && spec.workloadRef !== undefined && template !== null) next.workloadObservedGeneration = seen;
    next.replicas = count(sets, 'replicas');
    next.updatedReplicas = count([current], 'replicas');
    next.availableReplicas = count(sets, 'availableReplicas');
    next.HPAReplicas = next.replicas;
    const replicas = spec.replicas ?? 1;
    const isHealthy = next.stableRS === hash && count([current], 'availableReplicas') >= replicas;
    const before = status.conditions?.find(({ type }) => type === 'Progressing');
    const now = new Date();
    const at = `${now.toISOString().slice(0, 19)}Z`;
    const hasMoved =
      status.currentPodHash !== hash ||
      status.updatedReplicas !== next.updatedReplicas ||
      status.availableReplicas !== next.availableReplicas ||
      status.currentStepIndex !== next.currentStepIndex;
    if (hasMoved) this.#movedAt.set(rollout.metadata.uid ?? '', now.getTime());
    const idleMs = now.getTime() - (this.#movedAt.get(rollout.metadata.uid ?? '') ?? now.getTime());
    const isWaiting = (next.pauseConditions ?? []).length > 0;
    const [reason, message] = ((): [string, string] => {
      if (next.abort === true) return ['RolloutAborted', `Rollout aborted update to revision ${revisionOf(current)}`];
      if (isHealthy) return ['NewReplicaSetAvailable', `ReplicaSet "${current.metadata.name}" has successfully progressed.`];
      if (isWaiting || spec.paused === true) return ['RolloutPaused', 'Rollout is paused'];
      // Words of before stay until something moves.
      if (!hasMoved && idleMs >= this.#options.deadlineMs)
        return ['ProgressDeadlineExceeded', `ReplicaSet "${current.metadata.name}" has timed out progressing.`];
      if (!hasMoved && before !== undefined) return [before.reason, before.message];
      return ['ReplicaSetUpdated', `ReplicaSet "${current.metadata.name}" is progressing.`];
    })();
    const isFailure = reason === 'RolloutAborted' || reason === 'ProgressDeadlineExceeded';
    if (before === undefined || before.reason !== reason || hasMoved)
      next.conditions = [{ type: 'Progressing', status: isFailure ? 'False' : 'True', reason, message, lastUpdateTime: at }];
    next.phase = isFailure ? 'Degraded' : isWaiting || spec.paused === true ? 'Paused' : isHealthy ? 'Healthy' : 'Progressing';
    next.message = isFailure ? `${reason}: ${message}` : isWaiting ? (next.pauseConditions?.[0]?.reason ?? '') : '';
  }
  readonly #movedAt = new Map<string, number>();

  /** Only what changed: a word that somebody has written into the status meanwhile stays. */
  async #save(path: string, before: RolloutStatus, after: RolloutStatus): Promise<void> {
    const was = before as JsonMap;
    const is = after as JsonMap;
    const keys = [...new Set([...Object.keys(was), ...Object.keys(is)])].filter((key) => !isDeepStrictEqual(was[key], is[key]));
    if (keys.length > 0) await this.#client.merge(`${path}/status`, { status: Object.fromEntries(keys.map((key) => [key, is[key] ?? null])) });
  }
}

/** A new template: the old rollout's words go, and nothing else happens in this pass. */
function reset({ next, spec, hash, status, current, isInWindow: isWithin }: Pass): void {
  delete next.abort;
  delete next.abortedAt;
  delete next.pauseConditions;
  delete next.controllerPause;
  next.promoteFull = false;
  const steps = spec.strategy.canary?.steps?.length ?? 0;
  if (steps === 0) return;
  // Back to the stable ones, or to ones that are still up within the window, no steps are walked.
  const isSpared = hash === status.stableRS || (isWithin && Number((current.spec as JsonMap)['replicas']) > 0);
  next.currentStepIndex = isSpared ? steps : 0;
}

function isInWindow(spec: RolloutSpec, current: KubernetesObject, stable: KubernetesObject | null, sets: readonly KubernetesObject[]): boolean {
  const madeAt = (set: KubernetesObject): string => set.metadata.creationTimestamp ?? '';
  const window = spec.rollbackWindow?.revisions ?? 0;
  if (stable === null || window === 0 || madeAt(current) >= madeAt(stable)) return false;
  return sets.filter((set) => madeAt(set) < madeAt(stable) && madeAt(current) < madeAt(set)).length < window;
}
