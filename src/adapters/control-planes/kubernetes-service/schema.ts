import { z } from 'zod';
import { flag, text, wholeNumber } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { gitopsKeys } from '../../kubernetes/gitops-state.ts';

/** What stands under `kubernetes_service` of a control plane. */
export const kubernetesServiceConfig = z.strictObject({ ...kubernetesAccess.shape, ...gitopsKeys }).check(kubernetesAccessCheck);
export type KubernetesServiceConfig = z.output<typeof kubernetesServiceConfig>;

/** What stands under `models[].plane`. */
export const kubernetesServiceKeys = z.strictObject({
  namespace: text({ min: 1, expected: 'a namespace' }).optional().meta({ description: 'Namespace. Default: that of the service account or context.' }),
  service: text({ min: 1, expected: 'the name of a Service' }).optional().meta({ description: 'Name of the Service. Default: the name of the model here.' }),
  version_label: text({ min: 1, expected: 'the name of a label' })
    .default('version')
    .meta({ description: 'Key of the Service’s selector that names the version (the colour). Default: version.' }),
  min_ready: wholeNumber(1).default(1).meta({ description: 'Ready pods the target must have before traffic moves. Default: 1.' }),
  scale_up: flag().default(false).meta({
    description: 'Scale the target’s Deployment up first, to as many replicas as the serving one has, where it has fewer than min_ready. Default: false.',
  }),
});
