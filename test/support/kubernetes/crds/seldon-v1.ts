import { anything, customResource, flag, knativeConditions, labels, list, object, text, whole } from './custom-resource.ts';
import { virtualServiceCrd } from './istio.ts';

const graph = object(
  {
    name: text(),
    type: text(),
    implementation: text(),
    modelUri: text(),
    envSecretRefName: text(),
    serviceAccountName: text(),
    parameters: list(object({ name: text(), type: text(), value: text() }, { required: ['name', 'type', 'value'] })),
    endpoint: anything,
    logger: anything,
    // It holds graphs again, which a structural schema cannot say.
    children: list(anything),
  },
  { required: ['name'] },
);

/** reference: operator/apis/machinelearning.seldon.io/v1/seldondeployment_types.go of SeldonIO/seldon-core */
const seldonDeploymentCrd = customResource({
  group: 'machinelearning.seldon.io',
  versions: ['v1'],
  plural: 'seldondeployments',
  kind: 'SeldonDeployment',
  shortNames: ['sdep'],
  spec: object(
    {
      name: text(),
      annotations: labels,
      protocol: text({ enum: ['seldon', 'tensorflow', 'kfserving', 'v2', 'custom'] }),
      transport: text({ enum: ['rest', 'grpc'] }),
      replicas: whole(),
      serverType: text(),
      predictors: list(
        object(
          {
            name: text(),
            graph,
            traffic: whole(),
            shadow: flag,
            replicas: whole(),
            annotations: labels,
            labels,
            progressDeadlineSeconds: whole(),
            componentSpecs: list(object({ metadata: anything, replicas: whole(), spec: anything, hpaSpec: anything })),
            svcOrchSpec: anything,
            explainer: anything,
            engineResources: anything,
            ssl: anything,
          },
          { required: ['graph', 'name'] },
        ),
      ),
    },
    { required: ['predictors'] },
  ),
  status: object({
    state: text(),
    description: text(),
    replicas: whole(),
    deploymentStatus: {
      type: 'object',
      additionalProperties: object({ name: text(), status: text(), description: text(), replicas: whole(), availableReplicas: whole() }),
    },
    serviceStatus: { type: 'object', additionalProperties: object({ svcName: text(), httpEndpoint: text(), grpcEndpoint: text(), explainerFor: text() }) },
    address: object({ url: text() }),
    conditions: knativeConditions,
    annotations: labels,
    observedGeneration: { type: 'integer', format: 'int64' },
  }),
});

/** Of Emissary, formerly Ambassador. */
const mappingCrd = customResource({
  group: 'getambassador.io',
  versions: ['v3alpha1'],
  plural: 'mappings',
  kind: 'Mapping',
  spec: object(
    {
      prefix: text(),
      prefix_regex: flag,
      service: text(),
      hostname: text(),
      rewrite: text(),
      weight: { type: 'integer' },
      grpc: flag,
      shadow: flag,
      headers: labels,
      timeout_ms: { type: 'integer' },
    },
    { required: ['prefix', 'service'] },
  ),
  status: object({ state: text({ enum: ['', 'Inactive', 'Running'] }), reason: text() }),
});

export const seldonV1Crds = [seldonDeploymentCrd, virtualServiceCrd, mappingCrd];
