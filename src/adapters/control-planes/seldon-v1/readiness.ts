import type { VersionState } from '../../../domain/observation.ts';
import { type Deployment, type Predictor, type SeldonDeployment } from './objects.ts';
import { serviceOf } from './routing.ts';

/** What the operator's gate asks of one Deployment, and why it is not met. */
export type Readiness = {
  readonly name: string;
  readonly predictor: string | null;
  readonly ready: boolean;
  readonly state: VersionState;
  readonly detail: string;
};

/**
 * The operator's own test: `readyReplicas != 0 && unavailableReplicas == 0`. One Deployment that fails it, of any predictor, and no routing at all is
 * written (reference control-planes-serving 3.4). A Deployment scaled to 0 never passes.
 */
export function readinessOf(sdep: SeldonDeployment, deployments: readonly Deployment[]): readonly Readiness[] {
  return deployments.map((deployment) => ({ name: deployment.metadata.name, predictor: predictorOf(sdep, deployment), ...judge(deployment) }));
}

function judge({ metadata, spec, status }: Deployment): Pick<Readiness, 'ready' | 'state' | 'detail'> {
  const wanted = spec?.replicas ?? 1;
  if ((status?.observedGeneration ?? 0) < (metadata.generation ?? 0)) return { ready: false, state: 'loading', detail: 'its status is older than its spec' };
  if (wanted === 0) return { ready: false, state: 'unloaded', detail: 'scaled to 0' };
  const ready = status?.readyReplicas ?? 0;
  const unavailable = status?.unavailableReplicas ?? 0;
  if (ready > 0 && unavailable === 0) return { ready: true, state: 'available', detail: '' };
  const stuck = status?.conditions?.find((condition) => condition.type === 'Progressing' && condition.status === 'False');
  const detail = `${ready} of ${wanted} ready${stuck === undefined ? '' : ` (${stuck.reason ?? stuck.message ?? 'not progressing'})`}`;
  if (stuck !== undefined) return { ready: false, state: 'failed', detail };
  return { ready: false, state: 'loading', detail };
}

/** By the label the operator sets, else by the name it builds; of two predictors that fit, the one with the longer name. */
function predictorOf(sdep: SeldonDeployment, deployment: Deployment): string | null {
  const label = deployment.metadata.labels?.['seldon-app'];
  const byLabel = sdep.spec.predictors.find((predictor) => serviceOf(sdep.metadata.name, predictor) === label);
  if (byLabel !== undefined) return byLabel.name;
  const fits = (predictor: Predictor): boolean => deployment.metadata.name.startsWith(`${sdep.metadata.name}-${predictor.name}-`);
  return sdep.spec.predictors.filter(fits).toSorted((a, b) => b.name.length - a.name.length)[0]?.name ?? null;
}
