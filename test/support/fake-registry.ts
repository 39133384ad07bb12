import type { Observation } from '../../src/domain/observation.ts';
import { type Clock, type ControlPlane, type EndpointSignature, PlaneError, type PlaneTarget } from '../../src/domain/ports.ts';
import type { ModelSignature } from '../../src/domain/signature.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../src/domain/step.ts';

/** A registry in memory that moves no traffic: one alias, and notes on versions. */
export class FakeRegistry implements ControlPlane {
  alias: string;
  readonly notes = new Map<string, string>();
  /** Set to make it fail, whatever is asked. */
  unreachable: string | null = null;
  /** What it is told by plans: share and reason. */
  readonly wishes: Desired[] = [];
  /** Per version, loaded or not. */
  readonly signatureOf = new Map<string, ModelSignature>();
  readonly #clock: Clock;

  constructor(clock: Clock, alias: string) {
    this.#clock = clock;
    this.alias = alias;
  }

  capabilities() {
    return { actuates: false, trafficSplit: false, compareAndSet: false, preSwitchSmoke: false, perVersionMetrics: false };
  }

  origin(target: PlaneTarget, version: string): Readonly<Record<string, string>> {
    return { registry: `https://registry.example.org/${target.model}/${version}` };
  }

  async signatures(_target: unknown, version: string): Promise<readonly EndpointSignature[]> {
    await Promise.resolve();
    if (this.unreachable !== null) throw new PlaneError('transient', this.unreachable);
    return [{ endpoint: 'registry.test', signature: this.signatureOf.get(version) ?? null }];
  }

  async observe(): Promise<Observation> {
    if (this.unreachable !== null) throw new PlaneError('transient', this.unreachable);
    const serving = [{ version: this.alias, share: 1 }];
    const endpoint = { endpoint: 'registry.test', versions: [], serving, routes: { champion: this.alias }, config: null };
    return { atMs: this.#clock.nowMs(), endpoints: [endpoint], versions: [], serving, token: this.alias, pinned: false, refusals: [] };
  }

  plan(_target: unknown, observation: Observation, desired: Desired): PlanResult {
    this.wishes.push(desired);
    if (desired.kind === 'unpin') return { kind: 'nothing' };
    const from = observation.serving[0]?.version ?? '';
    const to = desired.shares[0]?.version ?? '';
    const step = (name: string, barrier: number, mutation: Step['mutation']): Step => ({
      name,
      phase: 'record',
      endpoint: 'registry.test',
      barrier,
      mutation,
      inverse: null,
      expect: {},
    });
    return { kind: 'steps', steps: [step(`note ${from}`, 1, { note: from }), step('move champion', 0, { from, to })] };
  }

  async apply(_target: unknown, { mutation }: Step, options: { opId: string }): Promise<ApplyOutcome> {
    await Promise.resolve();
    if (this.unreachable !== null) return { kind: 'rejected', class: 'transient', detail: this.unreachable };
    const note = mutation['note'];
    if (typeof note === 'string') {
      this.notes.set(note, options.opId);
      return { kind: 'applied' };
    }
    if (this.alias === mutation['to']) return { kind: 'already' };
    if (this.alias !== mutation['from']) return { kind: 'conflict', class: 'permanent', detail: `champion points to ${this.alias}: left alone` };
    this.alias = String(mutation['to']);
    return { kind: 'applied' };
  }

  check({ mutation }: Step, _before: Observation, now: Observation): StepCheck {
    const to = mutation['to'];
    if (typeof to !== 'string' || now.endpoints[0]?.routes['champion'] === to) return { kind: 'converged', detail: '' };
    return { kind: 'progressing', detail: 'not there yet' };
  }

  async close(): Promise<void> {}
}
