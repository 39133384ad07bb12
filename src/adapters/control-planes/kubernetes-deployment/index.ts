import { defineControlPlane } from '../control-plane.ts';
import { kubernetesDeploymentConfig, kubernetesDeploymentKeys } from './schema.ts';

/** Deployments, back to a named ReplicaSet: see README.md. */
export const kubernetesDeployment = defineControlPlane({
  kind: 'kubernetes_deployment',
  config: kubernetesDeploymentConfig,
  planeKeys: kubernetesDeploymentKeys,
  create: async (config, deps) => {
    const { KubernetesDeploymentPlane } = await import('./plane.ts');
    return new KubernetesDeploymentPlane(config, deps);
  },
});
