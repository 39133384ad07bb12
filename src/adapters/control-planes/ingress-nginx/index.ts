import { defineControlPlane } from '../control-plane.ts';
import { ingressNginxConfig, ingressNginxKeys } from './schema.ts';

/** Canary annotations of ingress-nginx: see README.md. */
export const ingressNginx = defineControlPlane({
  kind: 'ingress_nginx',
  config: ingressNginxConfig,
  planeKeys: ingressNginxKeys,
  create: async (config, deps) => {
    const { IngressNginxPlane } = await import('./plane.ts');
    return new IngressNginxPlane(config, deps);
  },
});
