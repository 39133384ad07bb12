import { defineControlPlane } from '../control-plane.ts';
import { nginxConfig, nginxKeys } from './schema.ts';

/** NGINX, by a file that rollbackd owns: see README.md. */
export const nginx = defineControlPlane({
  kind: 'nginx',
  config: nginxConfig,
  planeKeys: nginxKeys,
  create: async (config, deps) => {
    const { NginxPlane } = await import('./plane.ts');
    return new NginxPlane(config, deps);
  },
});
