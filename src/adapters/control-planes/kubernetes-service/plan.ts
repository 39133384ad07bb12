import type { Observation } from '../../../domain/observation.ts';
import type { Desired, PlanResult, Step } from '../../../domain/step.ts';
import type { Mutation } from './mutation.ts';
import { countsOf, type ServiceTruth, truthOf } from './observed.ts';

/** Scale the target up where that is wished, then turn the selector: never to something that is not ready. */
export function planSteps(observation: Observation, desired: Desired): PlanResult {
  const [endpoint] = observation.endpoints;
  if (endpoint === undefined || endpoint.error !== undefined) return refuse(endpoint?.error ?? 'the Service was not seen');
  const truth = truthOf(endpoint);
  if (desired.kind === 'unpin') return { kind: 'nothing' };
  const [only, ...others] = desired.shares.filter((share) => share.share > 0);
  if (only === undefined || others.length > 0) return refuse('the selector of a Service names one version: expected one with 100 %');
  const { version } = only;
  const from = truth.selected;
  if (from === null) return refuse(`the selector of the Service has no "${truth.label}"; give version_label, or put it there`);
  if (from === version) {
    const servesAlone = endpoint.serving.length === 1 && endpoint.serving[0]?.version === version;
    return servesAlone
      ? { kind: 'nothing' }
      : refuse(`the Service already selects ${version}, and its endpoints do not show it alone: wait, or look at its pods`);
  }
  const scale = scaleStep(endpoint.endpoint, truth, from, version, countsOf(observation));
  if (typeof scale === 'string') return refuse(scale);
  const notes = [`connections that are open (keep-alive, gRPC) stay with ${from} until they end`];
  return { kind: 'steps', steps: [...(scale === null ? [] : [scale]), selectStep(endpoint.endpoint, truth, from, version)], notes };
}

/** `null`: it is ready as it is; a text: why it cannot be. */
function scaleStep(endpoint: string, truth: ServiceTruth, from: string, to: string, { ready }: ReturnType<typeof countsOf>): Step | null | string {
  const have = new Map(Object.entries(ready)).get(to) ?? 0;
  if (have >= truth.min_ready) return null;
  const found = `version ${to} has ${have} ready pods, expected ${truth.min_ready} (min_ready)`;
  const colour = truth.colours.find(({ version }) => version === to);
  if (colour === undefined) return `${found}; there is neither a pod nor a Deployment with ${truth.label}=${to}`;
  if (!truth.scale_up) return `${found}; scale it up first, or set scale_up: true. Traffic would lead nowhere`;
  if (colour.deployment === null) return `${found}; and it has no Deployment of its own that could be scaled`;
  const replicas = Math.max(truth.min_ready, truth.colours.find(({ version }) => version === from)?.deployment?.replicas ?? 0);
  if (colour.deployment.replicas >= replicas)
    return `${found}, although its Deployment ${colour.deployment.name} has ${colour.deployment.replicas} replicas: look why they are not ready`;
  const place = { op: 'scale', namespace: truth.namespace, deployment: colour.deployment.name, uid: colour.deployment.uid } as const;
  const mutation: Mutation = { ...place, from: colour.deployment.replicas, to: replicas };
  const inverse: Mutation = { ...place, from: replicas, to: colour.deployment.replicas };
  return { name: `scale ${colour.deployment.name} to ${replicas}`, phase: 'stage', endpoint, barrier: 1, mutation, inverse, expect: { available: to } };
}

function selectStep(endpoint: string, truth: ServiceTruth, from: string, to: string): Step {
  const place = { op: 'select', namespace: truth.namespace, service: truth.service, uid: truth.uid, label: truth.label, ready: truth.min_ready } as const;
  const mutation: Mutation = { ...place, from, to };
  const inverse: Mutation = { ...place, from: to, to: from };
  return { name: `turn ${endpoint} to ${truth.label}=${to}`, phase: 'switch', endpoint, barrier: 0, mutation, inverse, expect: { serving: to } };
}

function refuse(reason: string): PlanResult {
  return { kind: 'refused', reason };
}
