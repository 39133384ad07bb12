import { z } from 'zod';
import { text } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { artifactPattern } from '../artifact-names.ts';
import { gitopsPolicy } from '../resource-patch.ts';

/** What stands under `kserve` of a control plane. */
export const kserveConfig = z
  .strictObject({
    ...kubernetesAccess.shape,
    gitops: gitopsPolicy,
    standard_canaries: z.boolean({ error: 'expected true or false' }).default(false).meta({
      description: 'Standard mode since v0.20: true: the target comes back as a canary, and becomes the stable predictor. Default: false.',
      default: false,
    }),
  })
  .check(kubernetesAccessCheck);
export type KserveConfig = z.output<typeof kserveConfig>;

/** What stands under `models[].plane`. Artifacts are the versions. */
export const kserveKeys = z.strictObject({
  name: text({ min: 1, expected: 'the name of an InferenceService' })
    .optional()
    .meta({ description: 'Name of the InferenceService. Default: the name of the model here.' }),
  namespace: text({ min: 1, expected: 'the name of a namespace' })
    .optional()
    .meta({ description: 'Its namespace. Default: that of the service account or kubeconfig context.' }),
  artifact: artifactPattern()
    .optional()
    .meta({ description: 'Where in storageUri the version stands: s3://models/fraud/{{ $version }}. Default: the whole storageUri is the version.' }),
});
