import type { z } from 'zod';
import type { Clock, LeaseLock, Log } from '../../domain/ports.ts';
import { createKubernetesClient } from '../kubernetes/client.ts';
import { KubernetesLease } from './kubernetes-lease/lease.ts';
import { type KubernetesLeaseConfig, kubernetesLeaseSchema } from './kubernetes-lease/schema.ts';

export type LeaseDeps = {
  readonly clock: Clock;
  readonly log: Log;
  readonly monotonicMs: () => number;
  /** Unique per process. */
  readonly holder: string;
  readonly leaseDurationMs: number;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
};

type LeaseKind = { readonly schema: z.ZodType; readonly open: (settings: unknown, deps: LeaseDeps) => Promise<LeaseLock> };

/** Leases that lie elsewhere than in the journal's database: key under `leader_election` → its schema and code. */
export const leaseKinds: Readonly<Record<string, LeaseKind>> = {
  kubernetes_lease: {
    schema: kubernetesLeaseSchema,
    open: async (settings, deps) => {
      const config = settings as KubernetesLeaseConfig;
      const client = createKubernetesClient(config, deps);
      try {
        return new KubernetesLease({ client, namespace: config.namespace ?? (await client.defaultNamespace(deps.signal)), name: config.name, ...deps });
      } catch (error) {
        await client.close();
        throw error;
      }
    },
  },
};
