import { defineControlPlane } from '../control-plane.ts';
import { seldonV1Config, seldonV1Keys } from './schema.ts';

/** Seldon Core v1, by the predictors of a SeldonDeployment: see README.md. */
export const seldonV1 = defineControlPlane({
  kind: 'seldon_v1',
  config: seldonV1Config,
  planeKeys: seldonV1Keys,
  create: async (config, deps) => {
    const { SeldonV1Plane } = await import('./plane.ts');
    return new SeldonV1Plane(config, deps);
  },
});
