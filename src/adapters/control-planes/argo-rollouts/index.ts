import { defineControlPlane } from '../control-plane.ts';
import { argoRolloutsConfig, argoRolloutsKeys } from './schema.ts';

/** Rollouts of Argo Rollouts: aborted while they roll out, undone once promoted. See README.md. */
export const argoRollouts = defineControlPlane({
  kind: 'argo_rollouts',
  config: argoRolloutsConfig,
  planeKeys: argoRolloutsKeys,
  create: async (config, deps) => {
    const { ArgoRolloutsPlane } = await import('./plane.ts');
    return new ArgoRolloutsPlane(config, deps);
  },
});
