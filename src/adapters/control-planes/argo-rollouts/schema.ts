import { z } from 'zod';
import { text } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { versionFrom } from '../pod-template.ts';
import { gitopsPolicy } from '../resource-patch.ts';

/** What stands under `argo_rollouts` of a control plane. */
export const argoRolloutsConfig = z.strictObject({ ...kubernetesAccess.shape, gitops: gitopsPolicy }).check(kubernetesAccessCheck);
export type ArgoRolloutsConfig = z.output<typeof argoRolloutsConfig>;

/** What stands under `models[].plane`. */
export const argoRolloutsKeys = z.strictObject({
  namespace: text({ min: 1, expected: 'a namespace' }).optional().meta({ description: 'Namespace. Default: that of the service account or context.' }),
  rollout: text({ min: 1, expected: 'the name of a Rollout' }).optional().meta({ description: 'Name of the Rollout. Default: the name of the model here.' }),
  version_from: versionFrom,
});
