import { defineControlPlane } from '../control-plane.ts';
import { kserveConfig, kserveKeys } from './schema.ts';

/** KServe, by the predictor of an InferenceService: see README.md. */
export const kserve = defineControlPlane({
  kind: 'kserve',
  config: kserveConfig,
  planeKeys: kserveKeys,
  create: async (config, deps) => {
    const { KservePlane } = await import('./plane.ts');
    return new KservePlane(config, deps);
  },
});
