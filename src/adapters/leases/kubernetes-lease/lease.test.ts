import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import { KubernetesError } from '../../kubernetes/errors.ts';
import type { KubernetesObject } from '../../kubernetes/object.ts';
import { KubernetesLease } from './lease.ts';

type Spec = Record<string, unknown>;

/** The rules of an API server on Leases that matter here: creation once, compare-and-set by resourceVersion, MicroTime, a duration of at least a second. */
class FakeLeases {
  object: (KubernetesObject & { spec: Spec }) | null = null;
  readonly calls: string[] = [];
  failure: Error | null = null;
  #version = 0;

  async find(): Promise<KubernetesObject | null> {
    this.#called('GET');
    return this.object === null ? null : structuredClone(this.object);
  }

  async post(path: string, body: Readonly<Record<string, unknown>>): Promise<KubernetesObject> {
    this.#called('POST');
    if (path !== '/apis/coordination.k8s.io/v1/namespaces/shop/leases') throw new KubernetesError('permanent', path, { status: 404 });
    if (this.object !== null) throw new KubernetesError('conflict', 'AlreadyExists', { status: 409 });
    return this.#store(body);
  }

  async put(path: string, body: Readonly<Record<string, unknown>>): Promise<KubernetesObject> {
    this.#called('PUT');
    if (path !== '/apis/coordination.k8s.io/v1/namespaces/shop/leases/rollbackd') throw new KubernetesError('permanent', path, { status: 404 });
    const version = (body['metadata'] as { resourceVersion?: string }).resourceVersion;
    if (version === undefined) throw new KubernetesError('permanent', 'metadata.resourceVersion: must be specified for an update', { status: 422 });
    if (this.object === null) throw new KubernetesError('permanent', 'NotFound', { status: 404 });
    if (version !== this.object.metadata.resourceVersion) throw new KubernetesError('conflict', 'the object has been modified', { status: 409 });
    return this.#store(body);
  }

  async close(): Promise<void> {}

  #called(method: string): void {
    this.calls.push(method);
    if (this.failure !== null) throw this.failure;
  }

  #store(body: Readonly<Record<string, unknown>>): KubernetesObject {
    const spec = body['spec'] as Spec;
    const times = [spec['acquireTime'], spec['renewTime']].map(String);
    if (!times.every((time) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(time))) throw new KubernetesError('permanent', 'no MicroTime', { status: 400 });
    if (!(Number(spec['leaseDurationSeconds']) > 0) || !(Number(spec['leaseTransitions']) >= 0))
      throw new KubernetesError('permanent', 'Invalid', { status: 422 });
    this.#version += 1;
    this.object = {
      ...body,
      metadata: { name: 'rollbackd', namespace: 'shop', uid: 'u', resourceVersion: String(this.#version) },
      spec: structuredClone(spec),
    };
    return structuredClone(this.object);
  }
}

const never = new AbortController().signal;
let clock: FakeClock;
let server: FakeLeases;

beforeEach(() => {
  clock = new FakeClock(Date.UTC(2026, 10, 25, 12));
  server = new FakeLeases();
});

function aLease(holder: string): KubernetesLease {
  return new KubernetesLease({
    client: server,
    namespace: 'shop',
    name: 'rollbackd',
    holder,
    leaseDurationMs: 15_000,
    clock,
    monotonicMs: () => clock.livedMs(),
  });
}

const passed = (durationMs: number): void => clock.jump(clock.nowMs() + durationMs);
/** Time that really passes. */
const live = async (durationMs: number): Promise<void> => await clock.advance(durationMs);

describe('a Lease', () => {
  it('is made by the first, and renewed by one PUT that keeps acquireTime and transitions', async () => {
    const a = aLease('a');

    expect(await a.acquire(never)).toEqual({ isHeld: true, holder: 'a' });
    await live(2_000);
    expect(await a.acquire(never)).toEqual({ isHeld: true, holder: 'a' });

    expect(server.calls).toEqual(['GET', 'POST', 'PUT']);
    expect(server.object?.spec).toEqual({
      holderIdentity: 'a',
      leaseDurationSeconds: 15,
      acquireTime: '2026-11-25T12:00:00.000000Z',
      renewTime: '2026-11-25T12:00:02.000000Z',
      leaseTransitions: 0,
    });
  });

  it('is had by one of two that make it, and of two that take it over', async () => {
    const answers = await Promise.all([aLease('a').acquire(never), aLease('b').acquire(never)]);
    expect(answers.filter(({ isHeld }) => isHeld)).toHaveLength(1);
    const [c, d] = [aLease('c'), aLease('d')];
    await c.acquire(never);
    await d.acquire(never);
    await live(15_000);

    const taken = await Promise.all([c.acquire(never), d.acquire(never)]);

    expect(taken.filter(({ isHeld }) => isHeld)).toHaveLength(1);
    expect(server.object?.spec['leaseTransitions']).toBe(1);
  });

  it('is taken over only when its record has not changed for its duration as seen from here', async () => {
    const [a, b] = [aLease('a'), aLease('b')];
    await a.acquire(never);
    for (let turn = 0; turn < 10; turn += 1) {
      await live(2_000);
      await a.acquire(never);
      expect(await b.acquire(never)).toEqual({ isHeld: false, holder: 'a' });
    }

    await live(14_000);
    expect(await b.acquire(never)).toEqual({ isHeld: false, holder: 'a' });
    await live(1_000);
    expect(await b.acquire(never)).toEqual({ isHeld: true, holder: 'b' });

    expect(await a.acquire(never)).toEqual({ isHeld: false, holder: 'b' });
  });

  it('never compares times of others with the clock of this machine', async () => {
    const [a, b] = [aLease('a'), aLease('b')];
    await a.acquire(never);
    passed(86_400_000);
    expect(await b.acquire(never)).toEqual({ isHeld: false, holder: 'a' });
    passed(-172_800_000);
    expect(await b.acquire(never)).toEqual({ isHeld: false, holder: 'a' });
    await live(15_000);

    expect(await b.acquire(never)).toEqual({ isHeld: true, holder: 'b' });
  });

  it('goes by the duration that its holder wrote', async () => {
    await aLease('a').acquire(never);
    server.object!.spec['leaseDurationSeconds'] = 60;
    const b = aLease('b');
    await b.acquire(never);
    await live(59_000);
    expect((await b.acquire(never)).isHeld).toBe(false);
    await live(1_000);

    expect((await b.acquire(never)).isHeld).toBe(true);
  });

  it('that was given up is free at once', async () => {
    const a = aLease('a');
    await a.acquire(never);
    await a.release();

    expect(server.object?.spec).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1 });
    expect(await aLease('b').acquire(never)).toEqual({ isHeld: true, holder: 'b' });
    await a.release();
    expect(server.object?.spec['holderIdentity']).toBe('b');
  });

  it('somebody else has written to is read again before it is renewed; one that was deleted is made again', async () => {
    const a = aLease('a');
    await a.acquire(never);
    server.object!.metadata.resourceVersion = '77';
    expect(await a.acquire(never)).toEqual({ isHeld: true, holder: 'a' });
    server.object = null;
    expect(await a.acquire(never)).toEqual({ isHeld: true, holder: 'a' });

    expect(server.calls).toEqual(['GET', 'POST', 'PUT', 'GET', 'PUT', 'PUT', 'GET', 'POST']);
  });

  it('that cannot be asked rejects, and a renewal whose answer was lost begins with a look', async () => {
    const a = aLease('a');
    await a.acquire(never);
    server.failure = new KubernetesError('indeterminate', 'no answer in time');
    await expect(a.acquire(never)).rejects.toThrow('no answer in time');
    server.failure = null;
    server.calls.length = 0;

    expect(await a.acquire(never)).toEqual({ isHeld: true, holder: 'a' });
    expect(server.calls).toEqual(['GET', 'PUT']);
  });
});
