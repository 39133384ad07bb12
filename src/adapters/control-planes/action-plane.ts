import { z } from 'zod';
import type { EndpointObservation, Observation, VersionObservation } from '../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../domain/step.ts';
import type { Action, ObservationAnswer } from './action-contract.ts';
import { actionPlaneKeys } from './action-contract.ts';
import { conflict, notSent, refused, rejected } from './answers.ts';
import { combine, describeServing, isServedAlone } from './observed.ts';

/** How the other side is reached. */
export interface ActionTransport {
  /** What people call it: a host, a program. */
  readonly endpoint: string;
  /** Which actions it takes besides `switch`. */
  readonly takes: ReadonlySet<Action['action']>;
  /** @throws {PlaneError} */
  observe(subject: ActionSubject, signal: AbortSignal): Promise<ObservationAnswer>;
  /** One try; its failures are answers. Not aborted when it is called. */
  act(action: Action, signal: AbortSignal): Promise<ApplyOutcome>;
  close(): void;
}
export type ActionSubject = { readonly model: string; readonly labels: Readonly<Record<string, string>> };

const mutationSchema = z.object({ op: z.enum(['stage', 'unstage', 'switch', 'persist']), from: z.string(), to: z.string() });
type Mutation = z.output<typeof mutationSchema>;

/** Beyond it what is seen cannot be from before the step any more. */
const graceMs = 2_000;

/** Observation and actions over a contract of our own: `webhook` and `exec` differ only in how they reach the other side. */
export class ActionPlane implements ControlPlane {
  readonly #transport: ActionTransport;
  readonly #deps: PlaneDeps;
  readonly #preSwitchSmoke: boolean;
  #isClosed = false;

  constructor(transport: ActionTransport, deps: PlaneDeps, options: { readonly preSwitchSmoke: boolean }) {
    this.#transport = transport;
    this.#deps = deps;
    this.#preSwitchSmoke = options.preSwitchSmoke;
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: false, compareAndSet: false, preSwitchSmoke: this.#preSwitchSmoke, perVersionMetrics: false };
  }

  async observe(target: PlaneTarget, _options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    if (this.#isClosed) throw new PlaneError('permanent', 'the control plane is closed');
    const answer = await this.#transport.observe(subjectOf(target), signal);
    signal.throwIfAborted();
    return combine(this.#deps.clock.nowMs(), [endpointOf(this.#transport.endpoint, answer)], false, answer.refusals);
  }

  plan(_target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    if (desired.kind === 'unpin') return { kind: 'nothing' };
    const [only, ...others] = desired.shares.filter((share) => share.share > 0);
    if (only === undefined || others.length > 0) return refused('this plane moves all traffic to one version: expected one with 100 %');
    const endpoint = observation.endpoints[0];
    if (endpoint === undefined || endpoint.error !== undefined) return refused(`what serves is not known: ${endpoint?.error ?? 'nothing was observed'}`);
    return this.#steps(endpoint, only.version);
  }

  #steps(endpoint: EndpointObservation, to: string): PlanResult {
    const { takes } = this.#transport;
    const from = endpoint.serving.toSorted((a, b) => b.share - a.share).find((share) => share.version !== to)?.version ?? to;
    const steps: Step[] = [];
    const add = (phase: Step['phase'], op: Mutation['op'], words: string, inverse: Mutation | null, expect: Step['expect']): void => {
      const mutation: Mutation = { op, from, to };
      steps.push({ name: `${words} on ${endpoint.endpoint}`, phase, endpoint: endpoint.endpoint, barrier: 0, mutation, inverse, expect });
    };
    const facts = factsOf(endpoint);
    const target = endpoint.versions.find((version) => version.id === to);
    if (!isServedAlone(endpoint, to)) {
      const isMissing = facts.lists && target?.state !== 'available';
      if (isMissing && !takes.has('stage'))
        return refused(`version ${to} is ${target?.state ?? 'not there'}, and no stage is configured that would bring it up`);
      if (takes.has('stage') && target?.state !== 'available')
        add('stage', 'stage', `stage ${to}`, takes.has('unstage') ? { op: 'unstage', from, to } : null, { available: to });
      add('switch', 'switch', `switch to ${to}`, { op: 'switch', from: to, to: from }, { serving: to });
    }
    if (takes.has('persist') && facts.durable !== to)
      add('persist', 'persist', `make ${to} last`, facts.durable === null ? null : { op: 'persist', from: to, to: facts.durable }, {});
    return steps.length === 0 ? { kind: 'nothing' } : { kind: 'steps', steps };
  }

  async apply(target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    const raw = options.inverse ? step.inverse : step.mutation;
    if (raw === null) return { kind: 'already', detail: 'there is nothing to take back' };
    try {
      const mutation = mutationSchema.parse(raw);
      const subject = subjectOf(target);
      if (signal.aborted) return rejected('transient', 'aborted before anything was sent');
      if (this.#isClosed) return rejected('permanent', 'the control plane is closed');
      const answer = await this.#transport.observe(subject, signal);
      const verdict = judge(mutation, endpointOf(this.#transport.endpoint, answer));
      if (verdict !== null) return verdict;
      signal.throwIfAborted();
      const { op, from, to } = mutation;
      return await this.#transport.act({ action: op, action_id: `${options.opId}:${op}:${to}`, ...subject, from, to, expect: answer.generation }, signal);
    } catch (cause) {
      // `act` answers; what is thrown was thrown before it.
      if (signal.aborted) return rejected('transient', 'aborted before anything was sent');
      if (cause instanceof PlaneError) return notSent(cause);
      return rejected('permanent', cause instanceof Error ? cause.message : String(cause));
    }
  }

  check(step: Step, before: Observation, now: Observation, sinceMs: number): StepCheck {
    const parsed = mutationSchema.safeParse(step.mutation);
    const endpoint = now.endpoints.find((candidate) => candidate.endpoint === step.endpoint);
    if (!parsed.success) return { kind: 'failed', detail: `${step.name}: no mutation of this plane` };
    if (endpoint === undefined) return { kind: 'failed', detail: `${step.endpoint} is not an endpoint any more` };
    const { op, to } = parsed.data;
    if (op === 'stage') return checkStaged(endpoint, to);
    if (op === 'persist') {
      const { durable } = factsOf(endpoint);
      if (durable === null || durable === to) return { kind: 'converged', detail: durable === null ? 'told to last' : `a restart would bring ${to}` };
      return sinceMs < graceMs
        ? { kind: 'progressing', detail: `a restart would still bring ${durable}` }
        : { kind: 'failed', detail: `a restart would bring ${durable}` };
    }
    if (isServedAlone(endpoint, to)) return { kind: 'converged', detail: `${to} serves alone on ${step.endpoint}` };
    const then = before.endpoints.find((candidate) => candidate.endpoint === step.endpoint);
    const detail = `${step.endpoint} serves ${describeServing(endpoint)}`;
    if (then !== undefined && isServedAlone(then, to)) return { kind: 'reverted', detail: `it had taken, and was taken back: ${detail}` };
    return { kind: sinceMs < graceMs ? 'stale' : 'progressing', detail };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#transport.close();
  }
}

/** `EndpointObservation.config` of these planes. */
type Facts = { readonly durable: string | null; readonly lists: boolean };

function factsOf(endpoint: EndpointObservation): Facts {
  return endpoint.config as Facts;
}

function endpointOf(endpoint: string, answer: ObservationAnswer): EndpointObservation {
  const listed = (answer.versions ?? []).map(
    ({ version, state, detail }): VersionObservation => ({ id: version, state, ...(detail === undefined ? {} : { detail }) }),
  );
  const serving = answer.serving.filter((share) => share.share > 0);
  const unlisted = serving.filter(({ version }) => !listed.some(({ id }) => id === version));
  const config: Facts = { durable: answer.durable, lists: answer.versions !== null };
  return {
    endpoint,
    versions: [...listed, ...unlisted.map(({ version }): VersionObservation => ({ id: version, state: 'available' }))],
    serving,
    routes: answer.routes,
    config,
  };
}

function subjectOf(target: PlaneTarget): ActionSubject {
  const keys = actionPlaneKeys.parse(target.plane);
  return { model: keys.model ?? target.model, labels: keys.labels };
}

/** What is said without asking for anything: it is there already, or the world is not the plan's any more. `null`: go on. */
function judge(mutation: Mutation, endpoint: EndpointObservation): ApplyOutcome | null {
  const { op, from, to } = mutation;
  const state = endpoint.versions.find((version) => version.id === to);
  const facts = factsOf(endpoint);
  switch (op) {
    case 'stage':
      return state?.state === 'available' ? { kind: 'already', detail: `${to} is available` } : null;
    case 'unstage':
      if (endpoint.serving.some((share) => share.version === to))
        return conflict(`${endpoint.endpoint} serves ${describeServing(endpoint)}: ${to} is not taken away`);
      return facts.lists && (state === undefined || state.state === 'absent' || state.state === 'unloaded')
        ? { kind: 'already', detail: `${to} is gone` }
        : null;
    case 'persist':
      return facts.durable === to ? { kind: 'already', detail: `a restart would bring ${to}` } : null;
    case 'switch':
      if (isServedAlone(endpoint, to)) return { kind: 'already', detail: `${to} serves alone` };
      if (endpoint.serving.length > 0 && !endpoint.serving.some((share) => share.version === from || share.version === to))
        return conflict(`${endpoint.endpoint} serves ${describeServing(endpoint)}, expected ${from}: somebody changed it`);
      if (facts.lists && state?.state === 'failed') return rejected('target_will_not_load', `${to} failed to load: ${state.detail ?? 'no reason given'}`);
      if (facts.lists && state?.state !== 'available') return rejected('staging_needed', `${to} is ${state?.state ?? 'not there'}: traffic is not moved to it`);
      return null;
  }
}

function checkStaged(endpoint: EndpointObservation, to: string): StepCheck {
  const state = endpoint.versions.find((version) => version.id === to);
  if (state?.state === 'available') return { kind: 'converged', detail: `${to} is available on ${endpoint.endpoint}` };
  if (state?.state === 'failed') return { kind: 'failed', detail: `${to} failed to load on ${endpoint.endpoint}: ${state.detail ?? 'no reason given'}` };
  return { kind: 'progressing', detail: `${to} is ${state?.state ?? 'not there yet'} on ${endpoint.endpoint}` };
}
