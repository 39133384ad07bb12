import { defineControlPlane } from '../control-plane.ts';
import { haproxyConfig, haproxyKeys } from './schema.ts';

/** HAProxy over its runtime API: see README.md. */
export const haproxy = defineControlPlane({
  kind: 'haproxy',
  config: haproxyConfig,
  planeKeys: haproxyKeys,
  create: async (config, deps) => {
    const { HaproxyPlane } = await import('./plane.ts');
    return new HaproxyPlane(config, deps);
  },
});
