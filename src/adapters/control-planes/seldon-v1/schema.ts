import { z } from 'zod';
import { text } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { gitopsPolicy } from '../resource-patch.ts';

/** What stands under `seldon_v1` of a control plane. */
export const seldonV1Config = z
  .strictObject({
    ...kubernetesAccess.shape,
    gitops: gitopsPolicy,
    router: z
      .enum(['auto', 'istio', 'ambassador'])
      .default('auto')
      .meta({ description: 'What routes the traffic: auto looks for the VirtualService first, then for Mappings. Default: auto.' }),
  })
  .check(kubernetesAccessCheck);
export type SeldonV1Config = z.output<typeof seldonV1Config>;

/** What stands under `models[].plane`. Predictors are the versions, by their names. */
export const seldonV1Keys = z.strictObject({
  name: text({ min: 1, expected: 'the name of a SeldonDeployment' })
    .optional()
    .meta({ description: 'Name of the SeldonDeployment. Default: the name of the model here.' }),
  namespace: text({ min: 1, expected: 'the name of a namespace' })
    .optional()
    .meta({ description: 'Its namespace. Default: that of the service account or kubeconfig context.' }),
});
