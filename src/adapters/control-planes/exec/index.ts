import { defineControlPlane } from '../control-plane.ts';
import { execConfig, execKeys } from './schema.ts';

/** A program of one’s own, run without a shell: see README.md. */
export const exec = defineControlPlane({
  kind: 'exec',
  config: execConfig,
  planeKeys: execKeys,
  create: async (config, deps) => {
    const [{ ActionPlane }, { ExecTransport }] = await Promise.all([import('../action-plane.ts'), import('./transport.ts')]);
    return new ActionPlane(new ExecTransport(config, deps), deps, { preSwitchSmoke: config.smoke_before_switch });
  },
});
