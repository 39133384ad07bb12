import { defineControlPlane } from '../control-plane.ts';
import { tensorflowServingConfig, tensorflowServingKeys } from './schema.ts';

/** TensorFlow Serving over gRPC: see README.md. */
export const tensorflowServing = defineControlPlane({
  kind: 'tensorflow_serving',
  config: tensorflowServingConfig,
  planeKeys: tensorflowServingKeys,
  create: async (config, deps) => {
    const { TensorFlowServingPlane } = await import('./plane.ts');
    return new TensorFlowServingPlane(config, deps);
  },
});
