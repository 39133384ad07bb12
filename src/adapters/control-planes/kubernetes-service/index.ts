import { defineControlPlane } from '../control-plane.ts';
import { kubernetesServiceConfig, kubernetesServiceKeys } from './schema.ts';

/** Blue-green by the selector of a Service: see README.md. */
export const kubernetesService = defineControlPlane({
  kind: 'kubernetes_service',
  config: kubernetesServiceConfig,
  planeKeys: kubernetesServiceKeys,
  create: async (config, deps) => {
    const { KubernetesServicePlane } = await import('./plane.ts');
    return new KubernetesServicePlane(config, deps);
  },
});
