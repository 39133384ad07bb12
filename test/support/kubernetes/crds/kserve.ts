import { anything, customResource, flag, generation, knativeConditions, labels, list, object, type Schema, text, whole } from './custom-resource.ts';
import { httpRouteCrd } from './gateway-api.ts';

/** Containers' fields beside the artifact's. */
const model: Schema = object(
  {
    storageUri: text(),
    modelFormat: object({ name: text({ default: '' }), version: text() }, { required: ['name'] }),
    runtime: text(),
    runtimeVersion: text(),
    protocolVersion: text(),
    storage: anything,
  },
  { open: true },
);

/** Of the Pod's spec, which is inlined, all is kept. */
const predictor: Schema = object(
  {
    name: text(),
    model,
    minReplicas: whole(),
    maxReplicas: whole(),
    scaleTarget: whole(),
    scaleMetric: text(),
    containerConcurrency: generation(),
    canaryTrafficPercent: generation(),
    timeout: generation(),
    deploymentStrategy: anything,
    labels,
    annotations: labels,
  },
  { open: true },
);

const trafficTarget = object({ configurationName: text(), revisionName: text(), latestRevision: flag, percent: generation(), tag: text(), url: text() });
const component = object({
  latestReadyRevision: text(),
  latestCreatedRevision: text(),
  previousRolledoutRevision: text(),
  latestRolledoutRevision: text(),
  traffic: list(trafficTarget),
  url: text(),
  restUrl: text(),
  grpcUrl: text(),
  address: anything,
});
const modelState = text({ enum: ['', 'Pending', 'Standby', 'Loading', 'Loaded', 'FailedToLoad'], default: '' });

/** reference: pkg/apis/serving/v1beta1 of kserve/kserve; `spec.canary` and `status.canaryStatuses` since v0.20 */
const inferenceServiceCrd = customResource({
  group: 'serving.kserve.io',
  versions: ['v1beta1'],
  plural: 'inferenceservices',
  kind: 'InferenceService',
  shortNames: ['isvc'],
  spec: object(
    {
      predictor,
      canary: list(object({ predictor, trafficPercent: whole({ minimum: 0, maximum: 100 }) }, { required: ['predictor'] }), {
        'x-kubernetes-list-type': 'atomic',
      }),
      transformer: anything,
      explainer: anything,
    },
    { required: ['predictor'] },
  ),
  status: object({
    observedGeneration: generation(),
    deploymentMode: text(),
    servingRuntimeName: text(),
    clusterServingRuntimeName: text(),
    annotations: labels,
    url: text(),
    address: anything,
    conditions: knativeConditions,
    components: { type: 'object', additionalProperties: component },
    canaryStatuses: list(object({ name: text(), ready: flag, trafficPercent: whole() }, { required: ['name', 'ready'] })),
    modelStatus: object({
      transitionStatus: text({ enum: ['', 'UpToDate', 'InProgress', 'BlockedByFailedLoad', 'InvalidSpec'], default: '' }),
      states: object({ activeModelState: modelState, targetModelState: modelState }, { required: ['activeModelState'] }),
      copies: object({ failedCopies: { type: 'integer' }, totalCopies: { type: 'integer' } }),
      lastFailureInfo: object({
        reason: text({
          enum: [
            'ModelLoadFailed',
            'RuntimeUnhealthy',
            'RuntimeDisabled',
            'NoSupportingRuntime',
            'RuntimeNotRecognized',
            'InvalidPredictorSpec',
            'InvalidGPUAllocation',
          ],
        }),
        message: text(),
        exitCode: whole(),
        location: text(),
        modelRevisionName: text(),
        time: text({ format: 'date-time' }),
      }),
    }),
  }),
});

/** Knative keeps both open. */
const revisionCrd = customResource({
  group: 'serving.knative.dev',
  versions: ['v1'],
  plural: 'revisions',
  kind: 'Revision',
  shortNames: ['rev'],
  spec: anything,
  status: object(
    { conditions: knativeConditions, observedGeneration: generation(), serviceName: text(), actualReplicas: whole(), desiredReplicas: whole() },
    { open: true },
  ),
});

export const kserveCrds = [inferenceServiceCrd, revisionCrd, httpRouteCrd];
