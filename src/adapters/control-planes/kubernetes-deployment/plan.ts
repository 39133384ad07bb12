import type { Observation } from '../../../domain/observation.ts';
import type { Desired, PlanResult, Step } from '../../../domain/step.ts';
import { named, type Revision } from '../replica-sets.ts';
import type { Mutation } from './mutation.ts';
import { type DeploymentTruth, truthOf } from './observed.ts';

/** Back to the ReplicaSet of the wished version: one patch. */
export function planSteps(observation: Observation, desired: Desired): PlanResult {
  const [endpoint] = observation.endpoints;
  if (endpoint === undefined || endpoint.error !== undefined) return refuse(endpoint?.error ?? 'the Deployment was not seen');
  const truth = truthOf(endpoint);
  if (desired.kind === 'unpin') return { kind: 'nothing' };
  const [only, ...others] = desired.shares.filter((share) => share.share > 0);
  if (only === undefined || others.length > 0) return refuse('a Deployment cannot split traffic: expected one version with 100 %');
  const to = truth.revisions.find(({ version }) => version === only.version);
  const from = truth.revisions.find(({ hash }) => hash === truth.current);
  const servesAlone = endpoint.serving.length === 1 && endpoint.serving[0]?.version === only.version;
  if (to !== undefined && to.hash === truth.current && servesAlone) return { kind: 'nothing' };
  const reason = refusalOf(truth, only.version, from, to);
  if (reason !== null || from === undefined || to === undefined) return refuse(reason ?? 'nothing is known of the present template');
  const notes =
    truth.strategy === 'Recreate'
      ? [`strategy Recreate: all pods of ${from.version} end before ${to.version} starts, so nothing serves until it has loaded`]
      : [];
  return to.hash === truth.current
    ? refuse(`the Deployment already asks for ${to.version}, and its rollout has not ended: wait for it, or look why its pods do not become ready`)
    : { kind: 'steps', steps: [templateStep(endpoint.endpoint, truth, from, to)], ...(notes.length === 0 ? {} : { notes }) };
}

function refusalOf(truth: DeploymentTruth, version: string, from: Revision | undefined, to: Revision | undefined): string | null {
  if (truth.paused) return 'the Deployment is paused (spec.paused): nothing would roll; resume it first (kubectl rollout resume)';
  if (from === undefined) return 'the present template has no ReplicaSet yet, so there would be no way back; wait until the controller has made it';
  if (to === undefined) {
    const known = truth.revisions.map((revision) => revision.version).join(', ');
    const limit =
      truth.history_limit === 0
        ? 'revisionHistoryLimit is 0, so nothing is kept to go back to; set it to 2 or more'
        : `revisionHistoryLimit is ${truth.history_limit}`;
    return `no ReplicaSet of version ${version} is left (found ${known}; ${limit})`;
  }
  if (to.mutableImages.length > 0)
    return `version ${version} names ${to.mutableImages.join(', ')}, whose content may be another by now; pin images by tag or digest`;
  if (to.hash !== from.hash && to.spec === from.spec)
    return `versions ${from.version} and ${version} run the same images with the same settings: going back would change nothing`;
  return null;
}

function refuse(reason: string): PlanResult {
  return { kind: 'refused', reason };
}

function templateStep(endpoint: string, truth: DeploymentTruth, from: Revision, to: Revision): Step {
  const place = { op: 'template', namespace: truth.namespace, deployment: truth.deployment, uid: truth.uid } as const;
  const mutation: Mutation = { ...place, from: named(from), to: named(to) };
  const inverse: Mutation = { ...place, from: named(to), to: named(from) };
  return {
    name: `roll ${endpoint} to ${to.version} (${to.name})`,
    phase: 'switch',
    endpoint,
    barrier: 0,
    mutation,
    inverse,
    expect: { serving: to.version, gone: from.version },
  };
}
