import { defineControlPlane } from '../control-plane.ts';
import { istioConfig, istioKeys } from './schema.ts';

/** Weights of an Istio VirtualService: see README.md. */
export const istio = defineControlPlane({
  kind: 'istio',
  config: istioConfig,
  planeKeys: istioKeys,
  create: async (config, deps) => {
    const { createIstioPlane } = await import('./plane.ts');
    return createIstioPlane(config, deps);
  },
});
