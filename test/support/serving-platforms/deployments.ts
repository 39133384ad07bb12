import { createHash } from 'node:crypto';
import type { KubernetesTestClient } from '../kubernetes/kubernetes-client.ts';
import type { JsonMap, KubernetesObject } from '../kubernetes/kubernetes-object.ts';
import { Controller, type Fate } from './controller.ts';

type Template = { metadata?: { annotations?: Record<string, string>; labels?: Record<string, string> } };
type Spec = { replicas?: number; selector: { matchLabels: Record<string, string> }; template: Template };

/**
 * Deployments and their ReplicaSets, without pods: a template is replaced by the next as a whole, and the old pods stay while the new ones do not come up.
 * The status is written a turn after the spec.
 */
export class DeploymentController extends Controller {
  readonly #namespace: string;
  readonly #fateOf: (template: Template) => Fate;
  /** Turns a template has been waited for. */
  readonly #waited = new Map<string, number>();
  /** Turns after which a Deployment counts as not progressing. */
  progressDeadlineTurns = 20;
  slowTurns = 15;

  /** @param fateOf by the pods' template; asked anew in each turn, so that pods that served may crash */
  constructor(client: KubernetesTestClient, namespace: string, fateOf: (template: Template) => Fate) {
    super(
      client,
      ['deployments', 'replicasets'].map((resource) => `/apis/apps/v1/namespaces/${namespace}/${resource}`),
    );
    this.#namespace = namespace;
    this.#fateOf = fateOf;
  }

  protected override async reconcile(): Promise<void> {
    const base = `/apis/apps/v1/namespaces/${this.#namespace}`;
    const sets = await this.client.list(`${base}/replicasets`);
    for (const deployment of await this.client.list(`${base}/deployments`)) {
      await this.#roll(
        deployment,
        sets.filter((set) => set.metadata.ownerReferences?.some((owner) => owner.uid === deployment.metadata.uid)),
        base,
      );
    }
    for (const set of sets) {
      const owner = set.metadata.ownerReferences?.[0]?.name ?? '';
      if ((await this.client.find(`${base}/deployments/${owner}`)) === null) await this.client.remove(`${base}/replicasets/${set.metadata.name}`);
    }
  }

  async #roll(deployment: KubernetesObject, sets: readonly KubernetesObject[], base: string): Promise<void> {
    const spec = deployment.spec as unknown as Spec;
    const wanted = spec.replicas ?? 1;
    const name = `${deployment.metadata.name}-${createHash('sha256').update(JSON.stringify(spec.template)).digest('hex').slice(0, 10)}`;
    if (!sets.some((set) => set.metadata.name === name)) {
      await this.client.create(replicaSet(deployment, name, spec));
      return;
    }
    const waited = (this.#waited.get(name) ?? 0) + 1;
    this.#waited.set(name, waited);
    const fate = this.#fateOf(spec.template);
    const isUp = fate === 'serves' || (fate === 'starts slowly' && waited > this.slowTurns);
    const ready = new Map(sets.map((set) => [set.metadata.name, isUp ? (set.metadata.name === name ? wanted : 0) : this.#leftOver(set, name, wanted)]));
    for (const set of sets) {
      const readyReplicas = ready.get(set.metadata.name) ?? 0;
      if ((set.status as { readyReplicas?: number } | undefined)?.readyReplicas === readyReplicas) continue;
      await this.client.merge(`${base}/replicasets/${set.metadata.name}/status`, { status: { replicas: readyReplicas, readyReplicas } });
    }
    const total = [...ready.values()].reduce((sum, count) => sum + count, 0);
    await this.client.merge(`${base}/deployments/${deployment.metadata.name}/status`, {
      status: {
        observedGeneration: deployment.metadata.generation,
        replicas: isUp ? wanted : total + (wanted === 0 ? 0 : 1),
        updatedReplicas: isUp ? wanted : Math.min(1, wanted),
        readyReplicas: total,
        availableReplicas: total,
        unavailableReplicas: isUp ? null : Math.max(1, wanted - total),
        conditions: conditionsOf(isUp, total > 0, waited > this.progressDeadlineTurns),
      },
    });
  }

  /** Old pods serve on; those of a template that now crashes do not. */
  #leftOver(set: KubernetesObject, newest: string, wanted: number): number {
    const own = (set.spec as { template: Template }).template;
    if (set.metadata.name === newest || this.#fateOf(own) === 'crashes') return 0;
    return Math.min(wanted, (set.status as { readyReplicas?: number } | undefined)?.readyReplicas ?? 0);
  }
}

function replicaSet(deployment: KubernetesObject, name: string, spec: Spec): KubernetesObject {
  const { uid = '', namespace = 'default' } = deployment.metadata;
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name,
      namespace,
      labels: { ...spec.selector.matchLabels },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: deployment.metadata.name, uid, controller: true }],
    },
    spec: { replicas: spec.replicas ?? 1, selector: spec.selector, template: spec.template },
  };
}

function conditionsOf(isUp: boolean, isAvailable: boolean, isLate: boolean): readonly JsonMap[] {
  const available = {
    type: 'Available',
    status: isUp || isAvailable ? 'True' : 'False',
    reason: isUp || isAvailable ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
  };
  if (isUp) return [available, { type: 'Progressing', status: 'True', reason: 'NewReplicaSetAvailable' }];
  if (isLate)
    return [available, { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', message: 'ReplicaSet has timed out progressing.' }];
  return [available, { type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated' }];
}

/** What a Deployment's pods run, by the annotation of their template. */
export function annotationOf(template: Template, key: string): string {
  return template.metadata?.annotations?.[key] ?? '';
}
