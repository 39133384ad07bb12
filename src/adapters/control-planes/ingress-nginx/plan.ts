import type { EndpointObservation, Observation } from '../../../domain/observation.ts';
import type { Desired, PlanResult } from '../../../domain/step.ts';
import { refused } from '../answers.ts';
import { type CanarySettings, canaryRules, isSameSettings, settingsText, withAllTraffic, withoutTraffic } from './canary-rules.ts';
import type { Mutation } from './mutation.ts';
import { type IngressTruth, truthOf } from './observed.ts';

type Canary = NonNullable<IngressTruth['canary']>;

/** One patch of the canary Ingress: no weight, or all of it. */
export function planSteps(observation: Observation, desired: Desired): PlanResult {
  const [endpoint] = observation.endpoints;
  if (endpoint === undefined) return refused('nothing was observed');
  if (desired.kind === 'unpin') return { kind: 'nothing' };
  const [only, ...others] = desired.shares.filter(({ share }) => share > 0);
  if (only === undefined || others.length > 0) return refused('expected one version with 100 %: a rollback leaves no traffic to another');
  const { version } = only;
  const truth = truthOf(endpoint);
  const { primary, canary } = truth;
  if (canary === null) {
    if (version === primary.version) return { kind: 'nothing' };
    return refused(
      `version ${version} is not behind ${endpoint.endpoint}: it leads to ${primary.service} (version ${primary.version}), and ${noCanary(truth)}`,
    );
  }
  // First of all: without it the controller answers 503 to everything, the canary's share included.
  const unready = unreadyText(observation, primary.version) ?? (version === primary.version ? null : unreadyText(observation, version));
  if (version !== primary.version && version !== canary.version)
    return refused(
      `version ${version} is behind neither ${primary.name} (${primary.service}, version ${primary.version}) nor ${canary.name} (${canary.service}, version ${canary.version})`,
    );
  return version === primary.version ? planPrimary(endpoint, truth, canary, unready) : planCanary(endpoint, truth, canary, unready);
}

function planPrimary(endpoint: EndpointObservation, truth: IngressTruth, canary: Canary, unready: string | null): PlanResult {
  const { primary } = truth;
  const { share, exceptions, keepsSessions } = canaryRules(canary.settings);
  const staysBehind = primary.is_sticky && keepsSessions;
  if (share === 0 && exceptions.length === 0 && !staysBehind) return { kind: 'nothing' };
  if (unready !== null) return refused(unready);
  const notes = [
    ...(exceptions.length > 0
      ? [`who sent ${exceptions.join(' or ')} gets version ${primary.version} as well: the rule is taken away, since it wins over the weight`]
      : []),
    ...(staysBehind ? ['clients with a session cookie leave the canary, too (affinity-canary-behavior: legacy)'] : []),
  ];
  return steps(endpoint, truth, canary, { to: primary.version, from: canary.version, after: withoutTraffic(canary.settings, primary.is_sticky), notes });
}

function planCanary(endpoint: EndpointObservation, truth: IngressTruth, canary: Canary, unready: string | null): PlanResult {
  const { primary } = truth;
  const after = withAllTraffic(canary.settings);
  if (primary.is_sticky)
    return refused(
      `${primary.name} has cookie affinity: clients with a session stay with version ${primary.version} at any canary weight; lead ${primary.name} to ${canary.service} instead`,
    );
  if (!canary.covers_all)
    return refused(
      `${canary.name} has not every path of ${primary.name}: the others would stay with version ${primary.version}; give it all, or lead ${primary.name} to ${canary.service}`,
    );
  const { share, exceptions } = canaryRules(canary.settings);
  if (share === 1 && exceptions.length === 0) return { kind: 'nothing' };
  if (unready !== null) return refused(unready);
  const notes = [`keep the pods of ${primary.service}: without ready endpoints of the primary ingress-nginx answers 503 to everything, at any canary weight`];
  return steps(endpoint, truth, canary, { to: canary.version, from: primary.version, after, notes });
}

function steps(
  { endpoint }: EndpointObservation,
  { namespace, primary, notes: ownNotes }: IngressTruth,
  canary: Canary,
  { to, from, after, notes }: { to: string; from: string; after: CanarySettings; notes: readonly string[] },
): PlanResult {
  const before = canary.settings;
  if (isSameSettings(before, after)) return { kind: 'nothing' };
  const place = {
    namespace,
    canary: canary.name,
    canary_uid: canary.uid,
    primary: primary.name,
    primary_uid: primary.uid,
    primary_service: primary.service,
    marks: { ...canary.marks },
  };
  const mutation: Mutation = { ...place, from, to, is_emptied: to === primary.version, before, after };
  const inverse: Mutation = { ...place, from: to, to: from, is_emptied: false, before: after, after: before };
  return {
    kind: 'steps',
    steps: [
      {
        name: `set ${settingsText(after)} on ingress ${namespace}/${canary.name}`,
        phase: 'switch',
        endpoint,
        barrier: 0,
        mutation,
        inverse,
        expect: { serving: to },
      },
    ],
    notes: [...ownNotes, ...notes],
  };
}

function unreadyText({ versions }: Observation, version: string): string | null {
  const state = versions.find(({ id }) => id === version);
  return state?.state === 'available' ? null : `version ${version} cannot take traffic: ${state?.detail ?? 'it was not looked at'}`;
}

function noCanary({ no_canary: reason }: IngressTruth): string {
  return reason ?? 'there is no canary Ingress';
}
