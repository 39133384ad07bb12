import { z } from 'zod';
import type { Clock, LeaseAnswer, LeaseLock } from '../../../domain/ports.ts';
import type { KubernetesClient } from '../../kubernetes/client.ts';
import { isStatus } from '../../kubernetes/errors.ts';
import { type KubernetesObject, resourcePath } from '../../kubernetes/object.ts';

const leases = { group: 'coordination.k8s.io', version: 'v1', resource: 'leases' } as const;

/** What is used of `spec`; all of it may be missing. */
const leaseSpec = z.object({
  holderIdentity: z.string().optional(),
  leaseDurationSeconds: z.number().optional(),
  acquireTime: z.string().optional(),
  renewTime: z.string().optional(),
  leaseTransitions: z.number().optional(),
});
type LeaseSpec = z.output<typeof leaseSpec>;

export type KubernetesLeaseOptions = {
  readonly client: Pick<KubernetesClient, 'find' | 'put' | 'post' | 'close'>;
  readonly namespace: string;
  readonly name: string;
  /** Unique per process. */
  readonly holder: string;
  readonly leaseDurationMs: number;
  readonly clock: Clock;
  /** ms that only go forward. */
  readonly monotonicMs: () => number;
};

/**
 * A Lease object of Kubernetes, by the protocol of client-go: a holder is gone when its record has not changed for its duration *as seen from here*;
 * times written by others are never compared with our clock. Every write is a PUT with the resourceVersion that was read, so that of two only one wins.
 * @see https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
 */
export class KubernetesLease implements LeaseLock {
  readonly name: string;
  readonly #options: KubernetesLeaseOptions;
  /** The object as this process last wrote it: a renewal needs no reading. */
  #own: KubernetesObject | null = null;
  /** The record as last seen, and since when it has looked like that. */
  #seen: { readonly record: string; readonly sinceMs: number } | null = null;

  constructor(options: KubernetesLeaseOptions) {
    this.#options = options;
    this.name = `Lease ${options.namespace}/${options.name}`;
  }

  async acquire(signal: AbortSignal): Promise<LeaseAnswer> {
    const renewed = await this.#renew(signal);
    if (renewed !== null) return renewed;
    const found = await this.#options.client.find(this.#path(), signal);
    if (found === null) return await this.#create(signal);
    const spec = leaseSpec.parse(found['spec'] ?? {});
    const holder = spec.holderIdentity ?? '';
    const isMine = holder === this.#options.holder;
    if (!isMine && holder !== '' && !this.#isExpired(spec)) return { isHeld: false, holder };
    return await this.#put(found, isMine ? this.#renewal(spec) : this.#takeover(spec), signal);
  }

  async release(): Promise<void> {
    const own = this.#own;
    if (own === null) return;
    this.#own = null;
    const now = this.#microTime();
    const { leaseTransitions } = leaseSpec.parse(own['spec'] ?? {});
    const spec = { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now, leaseTransitions: leaseTransitions ?? 0 };
    await this.#options.client.put(this.#path(), { ...own, spec }, AbortSignal.timeout(this.#options.leaseDurationMs));
  }

  async close(): Promise<void> {
    await this.#options.client.close();
  }

  /** From what was last written here. @returns `null` when that may no longer be what is there */
  async #renew(signal: AbortSignal): Promise<LeaseAnswer | null> {
    const own = this.#own;
    if (own === null) return null;
    try {
      return await this.#put(own, this.#renewal(leaseSpec.parse(own['spec'] ?? {})), signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#own = null;
      if (isStatus(error, 409) || isStatus(error, 404)) return null;
      throw error;
    }
  }

  async #create(signal: AbortSignal): Promise<LeaseAnswer> {
    const { client, namespace, name } = this.#options;
    const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, namespace }, spec: this.#takeover({ leaseTransitions: -1 }) };
    try {
      this.#own = await client.post(resourcePath(leases, namespace), body, signal);
      return { isHeld: true, holder: this.#options.holder };
    } catch (error) {
      // Another was faster; who, the next look tells.
      if (isStatus(error, 409)) return { isHeld: false, holder: null };
      throw error;
    }
  }

  /** A compare-and-set; a conflict on what another held, or nobody, is a race that was lost. */
  async #put(found: KubernetesObject, spec: LeaseSpec, signal: AbortSignal): Promise<LeaseAnswer> {
    try {
      this.#own = await this.#options.client.put(this.#path(), { ...found, spec }, signal);
      return { isHeld: true, holder: this.#options.holder };
    } catch (error) {
      const { holderIdentity } = leaseSpec.parse(found['spec'] ?? {});
      if (isStatus(error, 409) && holderIdentity !== this.#options.holder) return { isHeld: false, holder: null };
      throw error;
    }
  }

  #isExpired(spec: LeaseSpec): boolean {
    const record = JSON.stringify(spec);
    const nowMs = this.#options.monotonicMs();
    if (this.#seen?.record !== record) this.#seen = { record, sinceMs: nowMs };
    const durationMs = (spec.leaseDurationSeconds ?? Math.ceil(this.#options.leaseDurationMs / 1000)) * 1000;
    return nowMs - this.#seen.sinceMs >= durationMs;
  }

  #renewal(spec: LeaseSpec): LeaseSpec {
    return { ...spec, ...this.#mine(), renewTime: this.#microTime() };
  }

  #takeover(spec: LeaseSpec): LeaseSpec {
    const now = this.#microTime();
    return { ...this.#mine(), acquireTime: now, renewTime: now, leaseTransitions: (spec.leaseTransitions ?? 0) + 1 };
  }

  #mine(): { readonly holderIdentity: string; readonly leaseDurationSeconds: number } {
    return { holderIdentity: this.#options.holder, leaseDurationSeconds: Math.ceil(this.#options.leaseDurationMs / 1000) };
  }

  /** Six digits after the second, or the API server refuses it. */
  #microTime(): string {
    return new Date(this.#options.clock.nowMs()).toISOString().replace('Z', '000Z');
  }

  #path(): string {
    return resourcePath(leases, this.#options.namespace, this.#options.name);
  }
}
