import { defineControlPlane } from '../control-plane.ts';
import { gatewayApiConfig, gatewayApiKeys } from './schema.ts';

/** Weights of an HTTPRoute of the Gateway API: see README.md. */
export const gatewayApi = defineControlPlane({
  kind: 'gateway_api',
  config: gatewayApiConfig,
  planeKeys: gatewayApiKeys,
  create: async (config, deps) => {
    const { createGatewayApiPlane } = await import('./plane.ts');
    return createGatewayApiPlane(config, deps);
  },
});
