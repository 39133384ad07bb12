import { z } from 'zod';
import { text } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { gitopsKeys } from '../../kubernetes/gitops-state.ts';
import { versionFrom } from '../pod-template.ts';

/** What stands under `kubernetes_deployment` of a control plane. */
export const kubernetesDeploymentConfig = z.strictObject({ ...kubernetesAccess.shape, ...gitopsKeys }).check(kubernetesAccessCheck);
export type KubernetesDeploymentConfig = z.output<typeof kubernetesDeploymentConfig>;

/** What stands under `models[].plane`. */
export const kubernetesDeploymentKeys = z.strictObject({
  namespace: text({ min: 1, expected: 'a namespace' }).optional().meta({ description: 'Namespace. Default: that of the service account or context.' }),
  deployment: text({ min: 1, expected: 'the name of a Deployment' })
    .optional()
    .meta({ description: 'Name of the Deployment. Default: the name of the model here.' }),
  version_from: versionFrom,
  statefulset: z
    .never({
      error:
        'expected no statefulset: rolling one back does not replace a pod that is not ready (kubernetes#67250), so a rollback could not be proved; use a Deployment, or the exec control plane',
    })
    .optional()
    .meta({ description: 'Refused: StatefulSets cannot be rolled back safely.' }),
});
