import { z } from 'zod';
import { always } from '../../config/key-rules.ts';
import { duration, entityName, filePath, flag } from '../../config/scalars.ts';

/**
 * How an API server is reached: keys that every plug-in which talks to Kubernetes takes into its own settings
 * (`z.strictObject({ ...kubernetesAccess.shape, … }).check(kubernetesAccessCheck)`).
 */
export const kubernetesAccess = z.strictObject({
  kubeconfig: filePath()
    .optional()
    .meta({ description: 'Kubeconfig file, read again when it changes. Default: none, then the service account of the pod rollbackd runs in.' }),
  context: entityName('the name of a context').optional().meta({ description: 'Context in the kubeconfig. Default: its current-context.' }),
  exec_timeout: duration({ minMs: 1, minText: '1ms' })
    .prefault('30s')
    .meta({ description: 'Longest time an exec credential plugin of the kubeconfig may take. Default: 30s.' }),
  allow_insecure: flag()
    .default(false)
    .meta({ description: 'Accept a kubeconfig with insecure-skip-tls-verify, or plain http beyond this machine. Default: false.' }),
  timeout: duration({ minMs: 1, minText: '1ms' }).prefault('5s').meta({ description: 'Longest time one reading call may take. Default: 5s.' }),
  apply_timeout: duration({ minMs: 1, minText: '1ms' })
    .prefault('10s')
    .meta({ description: 'Longest time one writing call may take; then its outcome counts as unknown. Default: 10s.' }),
});

/** As the schema gives it: durations in ms, paths absolute. */
export type KubernetesAccess = z.output<typeof kubernetesAccess>;

/** What the keys of `kubernetesAccess` ask of each other. */
export const kubernetesAccessCheck = always((value, refuse) => {
  if (value['context'] !== undefined && value['kubeconfig'] === undefined)
    refuse('context', 'expected no context without kubeconfig: in a pod there is none to choose');
});
