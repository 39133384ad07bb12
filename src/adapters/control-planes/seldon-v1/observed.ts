import { z } from 'zod';
import type { EndpointObservation, Observation, VersionObservation } from '../../../domain/observation.ts';
import type { Entry } from './mutation.ts';
import type { Deployment, Mapping, SeldonDeployment, VirtualService } from './objects.ts';
import { readinessOf } from './readiness.ts';
import { appliedRouting } from './routing.ts';

/** Everything one observation reads. */
export type Found = {
  readonly sdep: SeldonDeployment;
  readonly deployments: readonly Deployment[];
  readonly virtualServices: readonly VirtualService[];
  readonly mappings: readonly Mapping[];
};

const truth = z.object({
  /** The wish: `spec.predictors`. */
  predictors: z.array(z.object({ name: z.string(), traffic: z.number(), shadow: z.boolean() })),
  router: z.enum(['istio', 'ambassador', 'none']),
  /** Predictors whose Deployments the operator's gate waits for, each with why. */
  waiting: z.record(z.string(), z.string()),
});
/** `EndpointObservation.config` of this plane. */
export type Truth = z.output<typeof truth>;

export function truthOf(endpoint: EndpointObservation): Truth {
  return truth.parse(endpoint.config);
}

/** The wish as the operator reads it: a lone predictor without `traffic` has 100. */
export function entriesOf(sdep: SeldonDeployment): Entry[] {
  const { predictors } = sdep.spec;
  const lone = predictors.filter((predictor) => predictor.shadow !== true).length === 1;
  return predictors.map(({ name, traffic, shadow }) => ({ name, traffic: shadow !== true && lone ? 100 : (traffic ?? 0), shadow: shadow === true }));
}

export function endpointName(namespace: string, name: string): string {
  return `seldondeployment ${namespace}/${name}`;
}

/** Pure: objects to observation. */
export function toObservation(atMs: number, endpoint: string, found: Found, written: Pick<EndpointObservation, 'writer'>): Observation {
  const { sdep } = found;
  const readiness = readinessOf(sdep, found.deployments);
  const versions: VersionObservation[] = [];
  const waiting: [string, string][] = [];
  for (const { name, shadow } of sdep.spec.predictors) {
    const own = readiness.filter((entry) => entry.predictor === name);
    const late = own.find((entry) => !entry.ready);
    if (own.length === 0) waiting.push([name, 'has no Deployment yet']);
    else if (late !== undefined) waiting.push([name, `Deployment ${late.name}: ${late.detail}`]);
    // A shadow answers nobody: it is no version to go to.
    if (shadow === true) continue;
    if (own.length === 0) versions.push({ id: name, state: 'pending', detail: 'has no Deployment yet' });
    else
      versions.push(late === undefined ? { id: name, state: 'available' } : { id: name, state: late.state, detail: `Deployment ${late.name}: ${late.detail}` });
  }
  const routing = appliedRouting(sdep, found.virtualServices, found.mappings);
  const config: Truth = { predictors: entriesOf(sdep), router: routing.router, waiting: Object.fromEntries(waiting) };
  return {
    atMs,
    endpoints: [{ endpoint, versions, serving: routing.shares, routes: {}, config, ...written }],
    versions,
    serving: routing.shares,
    token: `${sdep.metadata.uid}/${sdep.metadata.generation}`,
    pinned: false,
    refusals: [],
  };
}
