import { defineControlPlane } from '../control-plane.ts';
import { seldonV2Config, seldonV2Keys } from './schema.ts';

/** Seldon Core 2, by the weights of an Experiment or the artifact of a Model: see README.md. */
export const seldonV2 = defineControlPlane({
  kind: 'seldon_v2',
  config: seldonV2Config,
  planeKeys: seldonV2Keys,
  create: async (config, deps) => {
    const { SeldonV2Plane } = await import('./plane.ts');
    return new SeldonV2Plane(config, deps);
  },
});
