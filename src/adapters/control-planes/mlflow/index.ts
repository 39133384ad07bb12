import { defineControlPlane } from '../control-plane.ts';
import { mlflowConfig, mlflowKeys } from './schema.ts';

/** The MLflow model registry: see README.md. */
export const mlflow = defineControlPlane({
  kind: 'mlflow',
  config: mlflowConfig,
  planeKeys: mlflowKeys,
  actuator: (config) => config.actuator ?? null,
  create: async (config, deps) => {
    const { MlflowPlane } = await import('./plane.ts');
    return new MlflowPlane(config, deps);
  },
});
