import { z } from 'zod';
import { entityName } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';

/** `leader_election.kubernetes_lease`. */
export const kubernetesLeaseSchema = z
  .strictObject({
    name: entityName('the name of a Lease').default('rollbackd').meta({ description: 'Name of the Lease; made when it is not there. Default: rollbackd.' }),
    namespace: entityName('the name of a namespace').optional().meta({ description: 'Its namespace. Default: that of the pod, or of the context.' }),
    ...kubernetesAccess.shape,
  })
  .check(kubernetesAccessCheck);

export type KubernetesLeaseConfig = z.output<typeof kubernetesLeaseSchema>;
