import type { JsonMap, KubernetesObject } from '../kubernetes-object.ts';

const text = { type: 'string' };
const flag = { type: 'boolean' };
const whole = { type: 'integer', format: 'int32' };
const anything = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
const map = (properties: JsonMap, more: JsonMap = {}): JsonMap => ({ type: 'object', properties, ...more });
const list = (items: JsonMap): JsonMap => ({ type: 'array', items });
const texts = { type: 'object', additionalProperties: text };
const metadata = map({ labels: texts, annotations: texts });
const countOrShare = { anyOf: [{ type: 'integer' }, { type: 'string' }], 'x-kubernetes-int-or-string': true };
const destination = map({ podTemplateHash: text, serviceName: text, weight: whole }, { required: ['weight'] });

const canary = map({
  canaryService: text,
  stableService: text,
  steps: list(anything),
  trafficRouting: anything,
  maxSurge: countOrShare,
  maxUnavailable: countOrShare,
  antiAffinity: anything,
  canaryMetadata: metadata,
  stableMetadata: metadata,
  scaleDownDelaySeconds: whole,
  abortScaleDownDelaySeconds: whole,
  dynamicStableScale: flag,
});
const blueGreen = map(
  {
    activeService: text,
    previewService: text,
    autoPromotionEnabled: flag,
    autoPromotionSeconds: whole,
    scaleDownDelaySeconds: whole,
    abortScaleDownDelaySeconds: whole,
    activeMetadata: metadata,
    previewMetadata: metadata,
    prePromotionAnalysis: anything,
    postPromotionAnalysis: anything,
  },
  { required: ['activeService'] },
);

/**
 * The kind Rollout, from the field list of its documentation: the fields rollouts of these tests use, with their types, and no defaults, as the real one
 * has none. What is not listed is pruned by a real server.
 */
export const rolloutCrd: KubernetesObject = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'rollouts.argoproj.io' },
  spec: {
    group: 'argoproj.io',
    scope: 'Namespaced',
    names: { plural: 'rollouts', singular: 'rollout', kind: 'Rollout', listKind: 'RolloutList', shortNames: ['ro'] },
    versions: [
      {
        name: 'v1alpha1',
        served: true,
        storage: true,
        subresources: { status: {}, scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.HPAReplicas' } },
        schema: {
          openAPIV3Schema: {
            type: 'object',
            required: ['spec'],
            properties: {
              spec: map({
                replicas: whole,
                selector: map({ matchLabels: texts, matchExpressions: list(anything) }),
                template: anything,
                workloadRef: map({ apiVersion: text, kind: text, name: text, scaleDown: text }),
                minReadySeconds: whole,
                paused: flag,
                progressDeadlineSeconds: whole,
                progressDeadlineAbort: flag,
                revisionHistoryLimit: whole,
                rollbackWindow: map({ revisions: whole }),
                strategy: map({ canary, blueGreen }),
              }),
              status: map({
                HPAReplicas: whole,
                abort: flag,
                abortedAt: { type: 'string', format: 'date-time' },
                availableReplicas: whole,
                blueGreen: map({ activeSelector: text, previewSelector: text }),
                canary: map({ weights: map({ canary: destination, stable: destination, additional: list(destination), verified: flag }) }),
                conditions: list(map({ type: text, status: text, reason: text, message: text, lastUpdateTime: text, lastTransitionTime: text })),
                controllerPause: flag,
                currentPodHash: text,
                currentStepHash: text,
                currentStepIndex: whole,
                message: text,
                observedGeneration: text,
                pauseConditions: list(map({ reason: text, startTime: text }, { required: ['reason', 'startTime'] })),
                phase: text,
                promoteFull: flag,
                readyReplicas: whole,
                replicas: whole,
                selector: text,
                stableRS: text,
                updatedReplicas: whole,
                workloadObservedGeneration: text,
              }),
            },
          },
        },
      },
    ],
  },
};

/** Pods of a version, as people write them: without what the server fills in. */
export function podsOf(version: string, changes: { image?: string; env?: JsonMap[]; spec?: JsonMap; labels?: Record<string, string> } = {}): JsonMap {
  const image = changes.image ?? `registry.example.org/fraud:${version}`;
  const container = { name: 'server', image, ...(changes.env === undefined ? {} : { env: changes.env }) };
  return {
    metadata: { labels: { app: 'fraud', 'app.kubernetes.io/version': version, ...changes.labels } },
    spec: { containers: [container], ...changes.spec },
  };
}

/** A canary by a proxy's weights, that waits for a person at 20 %. */
export const routedCanary = {
  canary: {
    canaryService: 'fraud-canary',
    stableService: 'fraud-stable',
    trafficRouting: { nginx: { stableIngress: 'fraud' } },
    steps: [{ setWeight: 20 }, { pause: {} }, { setWeight: 60 }, { pause: {} }],
  },
};
/** A canary by the number of pods. */
export const basicCanary = { canary: { steps: [{ setWeight: 50 }, { pause: {} }] } };
/** Blue-green that a person promotes. */
export const heldBlueGreen = { blueGreen: { activeService: 'fraud-active', previewService: 'fraud-preview', autoPromotionEnabled: false } };

export function aRollout(template: JsonMap | null, strategy: JsonMap, changes: JsonMap = {}): KubernetesObject {
  const own = template === null ? {} : { selector: { matchLabels: { app: 'fraud' } }, template };
  return {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'Rollout',
    metadata: { name: 'fraud', namespace: 'shop' },
    spec: { replicas: 2, ...own, strategy, ...changes },
  };
}
