import { anything, customResource, flag, generation, knativeConditions, labels, list, object, text, whole } from './custom-resource.ts';

const group = 'mlops.seldon.io';
/** `observedGeneration` is a field of the kind; no controller writes it. */
const common = { conditions: knativeConditions, annotations: labels, observedGeneration: generation() };

/** reference: operator/apis/mlops/v1alpha1/model_types.go of SeldonIO/seldon-core, branch v2 */
const modelCrd = customResource({
  group,
  versions: ['v1alpha1'],
  plural: 'models',
  kind: 'Model',
  shortNames: ['mlm'],
  spec: object(
    {
      storageUri: text(),
      artifactVersion: whole(),
      modelType: text(),
      schemaUri: text(),
      secretName: text(),
      requirements: list(text()),
      memory: { 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'integer' }, { type: 'string' }] },
      server: text(),
      preloaded: flag,
      dedicated: flag,
      replicas: whole(),
      minReplicas: whole(),
      maxReplicas: whole(),
      parameters: list(object({ name: text(), value: text() }, { required: ['name', 'value'] })),
      logger: object({ percent: { type: 'integer' } }),
      explainer: anything,
      llm: anything,
      dataflow: anything,
    },
    { required: ['storageUri'] },
  ),
  status: object({ ...common, replicas: whole(), availableReplicas: whole(), selector: text(), modelgwReady: text() }),
});

/** reference: operator/apis/mlops/v1alpha1/experiment_types.go of SeldonIO/seldon-core, branch v2 */
const experimentCrd = customResource({
  group,
  versions: ['v1alpha1'],
  plural: 'experiments',
  kind: 'Experiment',
  shortNames: ['mlx'],
  spec: object(
    {
      default: text(),
      candidates: list(object({ name: text(), weight: whole() }, { required: ['name', 'weight'] })),
      mirror: object({ name: text(), percent: whole() }, { required: ['name', 'percent'] }),
      resourceType: text(),
    },
    { required: ['candidates'] },
  ),
  status: object(common),
});

export const seldonV2Crds = [modelCrd, experimentCrd];
