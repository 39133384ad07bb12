import { lookUp } from '../../../domain/lookup.ts';
import type { EndpointObservation, Observation } from '../../../domain/observation.ts';
import type { Desired, PlanResult, Step } from '../../../domain/step.ts';
import { compareVersions, isSameState, type ModelState, namedVersions, policyText, sortVersions, specific } from './model-state.ts';
import { inverted, type Mutation } from './mutation.ts';
import { type EndpointTruth, truthOf } from './observed.ts';
import { isVersionNumber } from './schema.ts';

/** Endpoint name of the step that writes the file. */
export function fileEndpoint(path: string): string {
  return `file:${path}`;
}

type Planned = { readonly endpoint: EndpointObservation; readonly truth: EndpointTruth & { truth: ModelState; base: ModelState } };
type Expect = Step['expect'];

/**
 * The order in which one version becomes the only one, without a moment in which the model does not serve
 * (reference control-planes-serving 1.9): stage beside what serves, move labels, unload the rest, write the file.
 * @param writeBack path of the file to write, `null` for none
 */
export function planSteps(observation: Observation, desired: Desired, writeBack: string | null): PlanResult {
  const endpoints = knownEndpoints(observation);
  if (typeof endpoints === 'string') return refuse(endpoints);
  if (desired.kind === 'unpin') return planUnpin(endpoints, writeBack);
  const [only, ...others] = desired.shares.filter((share) => share.share > 0);
  if (only === undefined || others.length > 0) return refuse('TensorFlow Serving cannot split traffic: expected one version with 100 %');
  return planServe(endpoints, only.version, writeBack);
}

function refuse(reason: string): PlanResult {
  return { kind: 'refused', reason };
}

/** The endpoints with their truth, or why there is no safe plan. */
function knownEndpoints(observation: Observation): readonly Planned[] | string {
  const unreadable = observation.endpoints.find((endpoint) => endpoint.error !== undefined);
  if (unreadable !== undefined)
    return `${unreadable.endpoint} cannot be read (${unreadable.error}); every replica must be told, or clients would get either version`;
  if (observation.endpoints.length === 0) return 'no endpoint is known';
  const planned: Planned[] = [];
  for (const endpoint of observation.endpoints) {
    const config = truthOf(endpoint);
    if (config.truth === null || config.base === null) return `${endpoint.endpoint}: what the server's list says is not known: ${config.problem ?? 'no list'}`;
    planned.push({ endpoint, truth: { ...config, truth: config.truth, base: config.base } });
  }
  return planned;
}

function availableOn({ endpoint }: Planned): readonly string[] {
  return sortVersions(endpoint.versions.filter((version) => version.state === 'available').map((version) => version.id));
}

/**
 * Versions that stay loaded beside the target: older ones that a label points to everywhere. They get no unversioned
 * traffic (that goes to the highest), and whoever set the label wants them. Newer ones cannot stay: they would be the default.
 */
function keptBeside(endpoints: readonly Planned[], to: string): string[] {
  const labelled = new Set(endpoints.flatMap(({ truth }) => Object.values(truth.truth.labels)));
  return [...labelled].filter((id) => compareVersions(id, to) < 0 && endpoints.every((planned) => availableOn(planned).includes(id)));
}

function isAtGoal(planned: Planned, to: string, kept: readonly string[]): boolean {
  const { endpoint, truth } = planned;
  const isServing = endpoint.serving.length === 1 && endpoint.serving[0]?.version === to;
  const isNewerComing = endpoint.versions.some((version) => compareVersions(version.id, to) > 0 && ['available', 'loading', 'pending'].includes(version.state));
  const isRouted =
    Object.values(truth.truth.labels).every((version) => version === to || kept.includes(version)) &&
    Object.values(endpoint.routes).every((version) => version === to || kept.includes(version));
  const asksForNewer = (namedVersions(truth.truth.policy) ?? []).some((id) => compareVersions(id, to) > 0);
  return isServing && !isNewerComing && isRouted && !asksForNewer;
}

function planServe(endpoints: readonly Planned[], to: string, writeBack: string | null): PlanResult {
  if (!isVersionNumber(to)) return refuse(`version ${JSON.stringify(to)}: TensorFlow Serving numbers versions 1, 2, 3 …`);
  const missing = endpoints.find(
    ({ truth, endpoint }) =>
      truth.on_disk !== null && !truth.on_disk.includes(to) && !endpoint.versions.some((version) => version.id === to && version.state === 'available'),
  );
  if (missing !== undefined)
    return refuse(
      `version ${to} has no folder under base_path (found ${missing.truth.on_disk?.join(', ') || 'none'}); a list with it alone would take the model down`,
    );

  const kept = keptBeside(endpoints, to);
  const plans = new Map<Planned, EndpointPlan>();
  if (endpoints.some((planned) => !isAtGoal(planned, to, kept))) {
    for (const planned of endpoints) {
      const plan = planEndpoint(planned, to, kept);
      if (typeof plan === 'string') return refuse(plan);
      plans.set(planned, plan);
    }
  }
  const steps = arrange([...plans.values()]);
  const final = plans.size > 0 ? ([...plans.values()][0] as EndpointPlan).final : (endpoints[0] as Planned).truth.truth;
  return withPersist(steps, endpoints, final, writeBack);
}

type EndpointPlan = { readonly clear: Step | null; readonly stage: Step | null; readonly switches: readonly Step[]; readonly final: ModelState };

/** Steps for one endpoint, or why there are none. */
function planEndpoint(planned: Planned, to: string, kept: readonly string[]): EndpointPlan | string {
  const { endpoint, truth } = planned;
  const available = availableOn(planned);
  const serving = endpoint.serving[0]?.version;
  const known = sortVersions(new Set([...available, to]));
  const target = endpoint.versions.find((version) => version.id === to);
  let state = truth.truth;
  const advance = (op: Mutation['op'], phase: Step['phase'], verb: string, after: ModelState, expect: Expect): Step => {
    const step = stepFor(endpoint.endpoint, phase, `${verb} on ${endpoint.endpoint}`, { op, model: truth.model, before: state, after, known }, expect);
    state = after;
    return step;
  };

  let clear: Step | null = null;
  const named = namedVersions(state.policy);
  if (target?.state === 'failed' && (named === null || named.includes(to))) {
    // The server never tries again while the version stays listed: a list without it must come between.
    if (available.length === 0)
      return `version ${to} failed to load on ${endpoint.endpoint} (${target.detail ?? 'no reason given'}) and nothing else is loaded there; restart that server`;
    clear = advance(
      'clear',
      'stage',
      `take failed ${to} off the list`,
      { policy: specific(available), labels: state.labels },
      { ...(serving === undefined ? {} : { available: serving }) },
    );
  }
  const stage = available.includes(to)
    ? null
    : advance('policy', 'stage', `stage ${to}`, { policy: specific([...available, to]), labels: state.labels }, { available: to });

  const switches: Step[] = [];
  const labels = Object.fromEntries(Object.entries(state.labels).map(([label, version]) => [label, kept.includes(version) ? version : to]));
  const moved = Object.entries(labels).flatMap(([label, version]) => {
    const leadsTo = lookUp(endpoint.routes, label);
    return version !== lookUp(state.labels, label) || (leadsTo !== undefined && leadsTo !== version) ? [label] : [];
  });
  if (moved.length > 0) {
    switches.push(
      advance(
        'policy',
        'switch',
        `move ${moved.length === 1 ? 'label' : 'labels'} ${moved.join(', ')} to ${to}`,
        { policy: specific([...available, to]), labels },
        { routes: Object.fromEntries(moved.map((label) => [label, to])) },
      ),
    );
  }
  const final: ModelState = { policy: specific([...kept, to]), labels };
  const gone = available.filter((id) => id !== to && !kept.includes(id));
  const bad = serving !== undefined && gone.includes(serving) ? serving : gone.at(-1);
  // A list that says so already while others are still loaded was overwritten by a late write: then it is sent once more.
  if (!isSameState(state, final) || gone.length > 0) {
    const verb = gone.length === 0 ? `pin ${to}` : `unload ${gone.join(', ')}`;
    switches.push(advance('policy', 'switch', verb, final, { serving: to, ...(bad === undefined ? {} : { gone: bad }) }));
  }
  return { clear, stage, switches, final };
}

function stepFor(endpoint: string, phase: Step['phase'], name: string, mutation: Mutation, expect: Expect): Step {
  return { name, phase, endpoint, barrier: 0, mutation, inverse: inverted(mutation), expect };
}

/** One endpoint first, the rest after it took: barriers per phase. */
function arrange(plans: readonly EndpointPlan[]): Step[] {
  const steps: Step[] = [];
  const stagers = plans.filter((plan) => plan.stage !== null || plan.clear !== null);
  for (const [index, plan] of stagers.entries()) {
    const base = index === 0 ? 0 : 2;
    if (plan.clear !== null) steps.push({ ...plan.clear, barrier: base });
    if (plan.stage !== null) steps.push({ ...plan.stage, barrier: base + 1 });
  }
  const switchers = plans.filter((plan) => plan.switches.length > 0);
  const longest = Math.max(0, ...switchers.map((plan) => plan.switches.length));
  for (const [index, plan] of switchers.entries()) {
    for (const [position, step] of plan.switches.entries()) steps.push({ ...step, barrier: (index === 0 ? 0 : longest) + position });
  }
  const phases = ['stage', 'switch', 'persist'];
  return steps.toSorted((a, b) => phases.indexOf(a.phase) - phases.indexOf(b.phase) || a.barrier - b.barrier);
}

function withPersist(steps: readonly Step[], endpoints: readonly Planned[], final: ModelState, writeBack: string | null): PlanResult {
  const { truth } = endpoints[0] as Planned;
  const needsFile =
    writeBack !== null && !isSameState(truth.base, final) && (steps.length > 0 || endpoints.every((planned) => isSameState(planned.truth.truth, final)));
  if (!needsFile || writeBack === null) return steps.length === 0 ? { kind: 'nothing' } : { kind: 'steps', steps };
  const persist = stepFor(
    fileEndpoint(writeBack),
    'persist',
    `write ${policyText(final.policy)} to ${writeBack}`,
    { op: 'persist', model: truth.model, before: truth.base, after: final },
    {},
  );
  return { kind: 'steps', steps: [...steps, persist] };
}

/** Back to the policy (and labels) from before the first pin; the server keeps serving while it follows. */
function planUnpin(endpoints: readonly Planned[], writeBack: string | null): PlanResult {
  const original = endpoints.map(({ truth }) => truth.original).find((state) => state !== null) ?? null;
  if (original === null) return { kind: 'nothing' };
  const plans: EndpointPlan[] = endpoints.map((planned) => unpinEndpoint(planned, original));
  return withPersist(arrange(plans), endpoints, original, writeBack);
}

function unpinEndpoint(planned: Planned, original: ModelState): EndpointPlan {
  const { endpoint, truth } = planned;
  if (isSameState(truth.truth, original)) return { clear: null, stage: null, switches: [], final: original };
  const available = availableOn(planned);
  let state = truth.truth;
  const advance = (phase: Step['phase'], verb: string, after: ModelState, expect: Expect): Step => {
    const step = stepFor(endpoint.endpoint, phase, `${verb} on ${endpoint.endpoint}`, { op: 'policy', model: truth.model, before: state, after }, expect);
    state = after;
    return step;
  };
  const moved = Object.entries(original.labels).filter(([label, version]) => lookUp(state.labels, label) !== version);
  const dropped = Object.keys(state.labels).filter((label) => lookUp(original.labels, label) === undefined);
  const needed = sortVersions(new Set([...moved.map(([, version]) => version), ...(namedVersions(original.policy) ?? [])])).filter(
    (id) => !available.includes(id),
  );
  const both = specific([...available, ...needed]);
  let stage: Step | null = null;
  if (needed.length > 0) stage = advance('stage', `stage ${needed.join(', ')}`, { policy: both, labels: state.labels }, { available: needed.at(-1) as string });
  const switches: Step[] = [];
  if (moved.length > 0 || dropped.length > 0) {
    switches.push(
      advance(
        'switch',
        `give labels ${[...moved.map(([label]) => label), ...dropped].join(', ')} back`,
        { policy: both, labels: original.labels },
        { routes: Object.fromEntries(moved) },
      ),
    );
  }
  if (!isSameState(state, original)) {
    switches.push(advance('switch', `give policy ${policyText(original.policy)} back`, original, {}));
  }
  return { clear: null, stage, switches, final: original };
}
