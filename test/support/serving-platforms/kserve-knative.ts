import type { KubernetesTestClient } from '../kubernetes/kubernetes-client.ts';
import type { KubernetesObject } from '../kubernetes/kubernetes-object.ts';
import { Controller, type Fate } from './controller.ts';

type Target = { revisionName?: string; latestRevision?: boolean; percent: number; tag?: string };
type ComponentStatus = {
  latestReadyRevision?: string;
  latestCreatedRevision?: string;
  previousRolledoutRevision?: string;
  latestRolledoutRevision?: string;
  traffic?: Target[];
};
type Isvc = { predictor: { canaryTrafficPercent?: number; model: { storageUri: string } } };

/** The Knative Service behind one InferenceService, with what its own controller made of it. */
type Service = {
  generation: number;
  uri: string;
  targets: readonly Target[];
  readonly revisions: { readonly name: string; readonly uri: string; turns: number; ready: 'True' | 'False' | 'Unknown' }[];
  status: { latestCreated: string; latestReady: string; traffic: Target[] };
};

const sourceUri = 'internal.serving.kserve.io/storage-initializer-sourceuri';

/**
 * KServe in Knative mode with the part of Knative it leans on: revisions, and traffic that `latestRevision: true` resolves to the newest *ready* one. Each
 * turn KServe writes the Service from the status it has, then takes over the status the Service had, then Knative works: so a pin after a full rollout needs
 * two passes, and a canary leaks to the newest ready revision until its own is up. `observedGeneration` is the Service's.
 */
export class KserveKnativeController extends Controller {
  readonly #namespace: string;
  readonly #fateOf: (uri: string) => Fate;
  readonly #services = new Map<string, Service>();
  /** Share of the traffic per artifact after each turn, the oldest first: what clients would have seen. */
  readonly history: Readonly<Record<string, number>>[] = [];
  slowTurns = 15;
  readyAfterTurns = 3;

  constructor(client: KubernetesTestClient, namespace: string, fateOf: (uri: string) => Fate) {
    super(client, [`/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/inferenceservices`]);
    this.#namespace = namespace;
    this.#fateOf = fateOf;
  }

  protected override async reconcile(): Promise<void> {
    const path = `/apis/serving.kserve.io/v1beta1/namespaces/${this.#namespace}/inferenceservices`;
    for (const isvc of await this.client.list(path)) await this.#reconcileOne(isvc, `${path}/${isvc.metadata.name}/status`);
  }

  /** Where Knative sends requests now. */
  routed(isvc: string): readonly { readonly revision: string; readonly uri: string; readonly share: number }[] {
    const service = this.#services.get(isvc);
    return (service?.status.traffic ?? []).flatMap(({ revisionName = '', percent }) => {
      const uri = service?.revisions.find((revision) => revision.name === revisionName)?.uri;
      return uri === undefined || percent === 0 ? [] : [{ revision: revisionName, uri, share: percent / 100 }];
    });
  }

  /** Deletes a revision, as Knative's garbage collection does. */
  async collect(revision: string): Promise<void> {
    await this.client.remove(`/apis/serving.knative.dev/v1/namespaces/${this.#namespace}/revisions/${revision}`);
  }

  async #reconcileOne(isvc: KubernetesObject, statusPath: string): Promise<void> {
    const { predictor } = isvc.spec as unknown as Isvc;
    const status = (isvc.status as { components?: { predictor?: ComponentStatus } } | undefined)?.components?.predictor ?? {};
    const targets = targetsFor(predictor.canaryTrafficPercent, status.latestRolledoutRevision);
    const uri = predictor.model.storageUri;
    const service = this.#services.get(isvc.metadata.name) ?? {
      generation: 0,
      uri: '',
      targets: [],
      revisions: [],
      status: { latestCreated: '', latestReady: '', traffic: [] },
    };
    this.#services.set(isvc.metadata.name, service);
    if (service.uri !== uri || JSON.stringify(service.targets) !== JSON.stringify(targets)) service.generation += 1;
    const next = propagate(status, service.status);
    await this.#writeStatus(statusPath, isvc, service, next);
    service.targets = targets;
    await this.#work(isvc, service, uri);
  }

  /** Knative's own part. */
  async #work(isvc: KubernetesObject, service: Service, uri: string): Promise<void> {
    if (service.uri !== uri) {
      service.uri = uri;
      const name = `${isvc.metadata.name}-predictor-${String(service.revisions.length + 1).padStart(5, '0')}`;
      service.revisions.push({ name, uri, turns: 0, ready: 'Unknown' });
      await this.client.create({
        apiVersion: 'serving.knative.dev/v1',
        kind: 'Revision',
        metadata: {
          name,
          namespace: this.#namespace,
          labels: { 'serving.kserve.io/inferenceservice': isvc.metadata.name, component: 'predictor' },
          annotations: { [sourceUri]: uri },
        },
        spec: {},
      });
    }
    for (const revision of service.revisions) {
      revision.turns += 1;
      const ready = this.#readyOf(revision);
      if (ready === revision.ready && revision.turns > 1) continue;
      revision.ready = ready;
      const path = `/apis/serving.knative.dev/v1/namespaces/${this.#namespace}/revisions/${revision.name}/status`;
      if ((await this.client.find(path)) !== null) await this.client.merge(path, { status: { conditions: conditionsOf(ready) } });
    }
    const latestReady = service.revisions.findLast((revision) => revision.ready === 'True')?.name ?? service.status.latestReady;
    service.status = {
      latestCreated: service.revisions.at(-1)?.name ?? '',
      latestReady,
      traffic: service.targets.map((target) => (target.latestRevision === true ? { ...target, revisionName: latestReady } : target)),
    };
  }

  #readyOf(revision: Service['revisions'][number]): 'True' | 'False' | 'Unknown' {
    const fate = this.#fateOf(revision.uri);
    // A revision that came up once keeps its word: what crashes later is the autoscaler's business.
    if (revision.ready === 'True') return 'True';
    if (fate === 'crashes') return revision.turns > this.readyAfterTurns ? 'False' : 'Unknown';
    return revision.turns > (fate === 'serves' ? this.readyAfterTurns : this.slowTurns) ? 'True' : 'Unknown';
  }

  async #writeStatus(path: string, isvc: KubernetesObject, service: Service, component: ComponentStatus): Promise<void> {
    const failed = service.revisions.at(-1)?.ready === 'False';
    const isUp = component.latestReadyRevision !== undefined && component.latestReadyRevision === component.latestCreatedRevision;
    const uris = new Map(service.revisions.map((revision) => [revision.name, revision.uri]));
    const shares: Record<string, number> = {};
    for (const { revisionName, percent } of component.traffic ?? []) {
      const uri = uris.get(revisionName ?? '') ?? '';
      shares[uri] = (shares[uri] ?? 0) + percent;
    }
    if (component.traffic !== undefined) this.history.push(shares);
    await this.client.merge(path, {
      status: {
        observedGeneration: service.generation,
        deploymentMode: 'Serverless',
        components: { predictor: component },
        conditions: [
          { type: 'Ready', status: isUp ? 'True' : failed ? 'False' : 'Unknown' },
          { type: 'PredictorReady', status: isUp ? 'True' : failed ? 'False' : 'Unknown' },
          { type: 'RoutesReady', status: 'True' },
        ],
        modelStatus: failed
          ? { transitionStatus: 'BlockedByFailedLoad', lastFailureInfo: { reason: 'ModelLoadFailed', message: 'no such object', exitCode: 1 } }
          : { transitionStatus: isUp ? 'UpToDate' : 'InProgress', lastFailureInfo: null },
      },
    });
    void isvc;
  }
}

/** KServe's `createKnativeService`. */
function targetsFor(percent: number | undefined, rolledOut: string | undefined): Target[] {
  if (percent === undefined || rolledOut === undefined || rolledOut === '') return [{ latestRevision: true, percent: 100 }];
  const latest: Target = { latestRevision: true, percent };
  return percent < 100 ? [latest, { revisionName: rolledOut, latestRevision: false, percent: 100 - percent, tag: 'prev' }] : [latest];
}

/** KServe's `PropagateStatus`. */
function propagate(before: ComponentStatus, service: Service['status']): ComponentStatus {
  if (service.latestCreated === '') return before;
  const status: ComponentStatus = { ...before, latestCreatedRevision: service.latestCreated };
  const sums = new Map<string, number>();
  for (const { revisionName = '', percent } of service.traffic) sums.set(revisionName, (sums.get(revisionName) ?? 0) + percent);
  for (const { revisionName, latestRevision, percent } of service.traffic) {
    if (revisionName !== service.latestReady || service.latestReady === '' || latestRevision !== true) continue;
    if (status.latestRolledoutRevision !== service.latestReady) {
      if (percent !== 100) continue;
      if (status.latestRolledoutRevision !== undefined) status.previousRolledoutRevision = status.latestRolledoutRevision;
      status.latestRolledoutRevision = service.latestReady;
    } else if (
      service.latestReady === service.latestCreated &&
      percent < 100 &&
      sums.get(revisionName) === 100 &&
      status.previousRolledoutRevision !== undefined
    ) {
      status.latestRolledoutRevision = status.previousRolledoutRevision;
    }
  }
  if (service.latestReady !== '') status.latestReadyRevision = service.latestReady;
  if (service.latestReady !== '') status.traffic = service.traffic.map((target) => ({ ...target }));
  return status;
}

function conditionsOf(ready: 'True' | 'False' | 'Unknown'): readonly Record<string, string>[] {
  if (ready === 'False')
    return [
      { type: 'Ready', status: 'False', reason: 'ExitCode1', message: 'Container failed with: no such object' },
      { type: 'ContainerHealthy', status: 'False', reason: 'ExitCode1', message: 'Container failed with: no such object' },
    ];
  // Scaled to zero as soon as nothing is sent there: no fault.
  return [
    { type: 'Ready', status: ready },
    { type: 'ContainerHealthy', status: ready },
    { type: 'Active', status: 'False', reason: 'NoTraffic' },
  ];
}
