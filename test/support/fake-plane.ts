import { mainVersion, type Observation, type VersionState } from '../../src/domain/observation.ts';
import { type Clock, type ControlPlane, type EndpointSignature, PlaneError } from '../../src/domain/ports.ts';
import type { ModelSignature } from '../../src/domain/signature.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../src/domain/step.ts';

type Server = { loaded: Set<string>; pendingLoads: Map<string, number>; serving: string; failed: Map<string, string> };

export type FakePlaneOptions = {
  readonly clock: Clock & { livedMs?(): number };
  readonly serving: string;
  readonly endpoints?: readonly string[];
  /** Virtual time a load takes. */
  readonly loadMs?: number;
  /** Versions that will not load, with the plane's words. */
  readonly broken?: Readonly<Record<string, string>>;
  readonly compareAndSet?: boolean;
};

/**
 * A plane in memory with two replicas, for tests of what drives planes: what serves changes only through `apply`, or by `switchBehindTheBack`.
 * Counts every change of what serves, so that a test can say «exactly once».
 */
export class FakePlane implements ControlPlane {
  readonly #clock: FakePlaneOptions['clock'];
  readonly #options: FakePlaneOptions;
  readonly #servers = new Map<string, Server>();
  /** Mutations that were carried out, in order. */
  readonly applied: string[] = [];
  /** Changes of what serves, `endpoint: from -> to`. */
  readonly switches: string[] = [];
  /** Set to make `observe` fail. */
  unreachable: string | null = null;
  refusals: readonly string[] = [];
  /** Endpoints that cannot be read, while others answer. */
  readonly unreadable = new Set<string>();
  /** Set to make `observe` wait for it. */
  hang: Promise<void> | null = null;
  /** Per version; told once it is loaded. */
  readonly signatureOf = new Map<string, ModelSignature>();
  /** Set to make `signatures` fail. */
  unsigned: string | null = null;
  /** Set to make `plan` refuse. */
  planRefusal: string | null = null;
  /** Called before each mutation; may throw to play a crash, or answer in the plane's place. */
  beforeApply: ((step: Step, inverse: boolean) => ApplyOutcome | undefined) | null = null;
  /** Called after each mutation was carried out: throw to play a crash after the write. */
  afterApply: ((step: Step, inverse: boolean) => ApplyOutcome | undefined) | null = null;

  constructor(options: FakePlaneOptions) {
    this.#clock = options.clock;
    this.#options = options;
    for (const endpoint of options.endpoints ?? ['a', 'b']) {
      this.#servers.set(endpoint, { loaded: new Set([options.serving]), pendingLoads: new Map(), serving: options.serving, failed: new Map() });
    }
  }

  capabilities() {
    return { actuates: true, trafficSplit: false, compareAndSet: this.#options.compareAndSet ?? false, preSwitchSmoke: true, perVersionMetrics: false };
  }

  serving(): readonly string[] {
    this.#tick();
    return [...this.#servers.values()].map((server) => server.serving);
  }

  /** Somebody else loads it, and nobody gets it. */
  loadBehindTheBack(version: string): void {
    for (const server of this.#servers.values()) server.loaded.add(version);
  }

  /** Somebody else deploys. */
  switchBehindTheBack(version: string): void {
    for (const server of this.#servers.values()) {
      server.loaded.add(version);
      server.serving = version;
    }
  }

  async observe(_target: unknown, options: { thorough: boolean }): Promise<Observation> {
    await (this.hang ?? Promise.resolve());
    if (this.unreachable !== null) throw new PlaneError('transient', this.unreachable);
    this.#tick();
    const endpoints = [...this.#servers].map(([endpoint, server]) =>
      this.unreadable.has(endpoint)
        ? { endpoint, versions: [], serving: [], routes: {}, config: null, error: 'connection refused' }
        : {
            endpoint,
            versions: [...new Set([...server.loaded, ...server.pendingLoads.keys(), ...server.failed.keys()])].map((id) => ({
              id,
              state: stateOf(server, id),
              ...(server.failed.has(id) && { detail: server.failed.get(id) ?? '' }),
            })),
            serving: [{ version: server.serving, share: 1 }],
            routes: {},
            config: { loaded: [...server.loaded] },
          },
    );
    const shares = new Map<string, number>();
    for (const endpoint of endpoints) for (const { version } of endpoint.serving) shares.set(version, (shares.get(version) ?? 0) + 1 / endpoints.length);
    return {
      atMs: this.#clock.nowMs(),
      endpoints,
      versions: endpoints[0]?.versions ?? [],
      serving: [...shares].map(([version, share]) => ({ version, share })),
      token: JSON.stringify(endpoints),
      pinned: this.applied.length > 0,
      refusals: options.thorough ? this.refusals : [],
    };
  }

  plan(_target: unknown, observation: Observation, desired: Desired): PlanResult {
    if (desired.kind === 'unpin') return { kind: 'nothing' };
    if (this.planRefusal !== null) return { kind: 'refused', reason: this.planRefusal };
    const to = desired.shares[0]?.version ?? '';
    const from = mainVersion(observation) ?? '';
    const endpoints = observation.endpoints.filter((endpoint) => endpoint.serving[0]?.version !== to).map((endpoint) => endpoint.endpoint);
    if (endpoints.length === 0) return { kind: 'nothing' };
    const step = (phase: 'stage' | 'switch', endpoint: string, index: number): Step => ({
      name: `${phase} ${to} on ${endpoint}`,
      phase,
      endpoint,
      barrier: index === 0 ? 0 : 1,
      mutation: { phase, version: to },
      inverse: phase === 'stage' ? { phase: 'unstage', version: to, from } : null,
      expect: phase === 'stage' ? { available: to } : { serving: to },
    });
    return {
      kind: 'steps',
      steps: [...endpoints.map((endpoint, index) => step('stage', endpoint, index)), ...endpoints.map((endpoint, index) => step('switch', endpoint, index))],
    };
  }

  async apply(_target: unknown, step: Step, options: { inverse: boolean }, signal: AbortSignal): Promise<ApplyOutcome> {
    await Promise.resolve();
    signal.throwIfAborted();
    const instead = this.beforeApply?.(step, options.inverse);
    if (instead !== undefined) return instead;
    const server = this.#servers.get(step.endpoint);
    const to = String(step.mutation['version']);
    if (server === undefined) return { kind: 'rejected', detail: 'no such endpoint', class: 'permanent' };
    this.applied.push(`${options.inverse ? 'undo ' : ''}${step.name}`);
    if (options.inverse) {
      server.loaded.delete(to);
      server.pendingLoads.delete(to);
      server.failed.delete(to);
    } else if (step.phase === 'stage') {
      if (!server.loaded.has(to)) server.pendingLoads.set(to, this.#livedMs() + (this.#options.loadMs ?? 0));
      this.#tick();
    } else if (server.serving !== to) {
      this.switches.push(`${step.endpoint}: ${server.serving} -> ${to}`);
      server.serving = to;
    }
    return this.afterApply?.(step, options.inverse) ?? { kind: 'applied', remember: { [`${step.endpoint}/${step.phase}`]: to } };
  }

  check(step: Step, _before: Observation, now: Observation): StepCheck {
    const endpoint = now.endpoints.find((candidate) => candidate.endpoint === step.endpoint);
    const { available, serving } = step.expect;
    if (serving !== undefined)
      return endpoint?.serving[0]?.version === serving
        ? { kind: 'converged', detail: '' }
        : { kind: 'progressing', detail: `serves ${endpoint?.serving[0]?.version ?? 'nothing'}` };
    const version = endpoint?.versions.find((candidate) => candidate.id === available);
    if (version?.state === 'available') return { kind: 'converged', detail: '' };
    if (version?.state === 'failed') return { kind: 'failed', detail: version.detail ?? 'failed' };
    return { kind: 'progressing', detail: version?.state ?? 'absent' };
  }

  async signatures(_target: unknown, version: string): Promise<readonly EndpointSignature[]> {
    await Promise.resolve();
    if (this.unsigned !== null) throw new PlaneError('transient', this.unsigned);
    this.#tick();
    return [...this.#servers].map(([endpoint, { loaded }]) => ({ endpoint, signature: loaded.has(version) ? (this.signatureOf.get(version) ?? null) : null }));
  }

  async close(): Promise<void> {}

  /** Servers load in real time, whatever our clock shows. */
  #livedMs(): number {
    return this.#clock.livedMs?.() ?? this.#clock.nowMs();
  }

  #tick(): void {
    for (const server of this.#servers.values()) {
      for (const [version, dueMs] of server.pendingLoads) {
        if (dueMs > this.#livedMs()) continue;
        server.pendingLoads.delete(version);
        const reason = this.#options.broken?.[version];
        if (reason === undefined) server.loaded.add(version);
        else server.failed.set(version, reason);
      }
    }
  }
}

function stateOf(server: Server, version: string): VersionState {
  if (server.loaded.has(version)) return 'available';
  return server.failed.has(version) ? 'failed' : 'loading';
}
