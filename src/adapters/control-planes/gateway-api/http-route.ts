import { z } from 'zod';
import type { KubernetesObject } from '../../kubernetes/object.ts';
import { resourcePath } from '../../kubernetes/object.ts';
import { versionNames } from '../version-names.ts';
import type { Applied, Entry, RouteConfig } from '../weighted-route.ts';
import type { Route } from '../weighted-route-plane.ts';
import type { GatewayApiKeys } from './schema.ts';

const parentRef = z.object({
  group: z.string().optional(),
  kind: z.string().optional(),
  namespace: z.string().optional(),
  name: z.string(),
  sectionName: z.string().optional(),
  port: z.number().optional(),
});
type ParentRef = z.output<typeof parentRef>;

const condition = z.object({
  type: z.string(),
  status: z.string(),
  reason: z.string().optional(),
  message: z.string().optional(),
  observedGeneration: z.number().optional(),
});
type Condition = z.output<typeof condition>;

const backendRef = z.looseObject({
  group: z.string().optional(),
  kind: z.string().optional(),
  name: z.string().min(1),
  namespace: z.string().optional(),
  port: z.number().optional(),
  weight: z.int().min(0).optional(),
});

const httpRoute = z.object({
  spec: z.object({
    parentRefs: z.array(parentRef).optional(),
    rules: z.array(z.object({ name: z.string().optional(), backendRefs: z.array(backendRef).optional() })).optional(),
  }),
  status: z
    .object({ parents: z.array(z.object({ parentRef, controllerName: z.string().optional(), conditions: z.array(condition).optional() })).optional() })
    .optional(),
});
type HttpRoute = z.output<typeof httpRoute>;

export const httpRoutes = { group: 'gateway.networking.k8s.io', version: 'v1', resource: 'httproutes' };

export function routePath({ namespace, http_route }: GatewayApiKeys, model: string): string {
  return resourcePath(httpRoutes, namespace, http_route ?? model);
}

/** Where the ready endpoints of a destination are looked for. */
export type Backend = { readonly namespace: string; readonly service: string };

/** JSON pointers below a backendRef that name it. A rule's list is one atomic value: nothing but these tells its entries apart. */
const identifying = ['group', 'kind', 'namespace', 'name', 'port'] as const;

/** @returns why there is no route for this model when it is a text */
export function readHttpRoute(object: KubernetesObject, keys: GatewayApiKeys, controllerName: string | null): Route | string {
  const parsed = httpRoute.safeParse(object);
  if (!parsed.success) return `this is no HTTPRoute that rollbackd can read: ${z.prettifyError(parsed.error)}`;
  const { spec } = parsed.data;
  const index = ruleIndex(spec.rules ?? [], keys.rule);
  if (typeof index === 'string') return index;
  const rule = spec.rules?.[index];
  const names = versionNames(keys);
  const refusals: string[] = [];
  const entries = (rule?.backendRefs ?? []).map((ref): Entry => {
    if ((ref.group ?? '') !== '' || (ref.kind ?? 'Service') !== 'Service')
      refusals.push(
        `backend ${ref.name} is a ${ref.kind ?? 'Service'} of group ${JSON.stringify(ref.group ?? '')}; whether it can take traffic is known of Services only`,
      );
    return {
      version: names.versionOf(ref.name),
      label: ref.name,
      identity: Object.fromEntries(identifying.filter((key) => ref[key] !== undefined).map((key) => [`/${key}`, ref[key] as string | number])),
      weight: ref.weight ?? null,
    };
  });
  return {
    list: `/spec/rules/${index}/backendRefs`,
    guards: rule?.name === undefined ? {} : { [`/spec/rules/${index}/name`]: rule.name },
    entries,
    addable: addable(rule?.backendRefs ?? [], keys),
    applied: appliedState(parsed.data, object.metadata.generation ?? 0, object.metadata.namespace ?? keys.namespace, controllerName),
    refusals,
  };
}

function ruleIndex(rules: NonNullable<HttpRoute['spec']['rules']>, wanted: string | undefined): number | string {
  const known = rules.map((rule, index) => (rule.name === undefined ? String(index) : `${index} (${rule.name})`)).join(', ') || 'none';
  if (wanted === undefined)
    return rules.length === 1 ? 0 : `it has ${rules.length} rules, which one serves the model is not known; write plane.rule, one of ${known}`;
  const named = rules.findIndex((rule) => rule.name === wanted);
  if (named >= 0) return named;
  const index = /^\d+$/.test(wanted) ? Number(wanted) : -1;
  return index >= 0 && index < rules.length ? index : `it has no rule ${JSON.stringify(wanted)}; there are: ${known}`;
}

/** Versions named by hand whose Service is not listed: it is added as a copy of the first, with another name. */
function addable(refs: readonly z.output<typeof backendRef>[], keys: GatewayApiKeys): RouteConfig['addable'] {
  const names = versionNames(keys);
  const [first] = refs;
  if (first === undefined) return {};
  const { weight: _weight, filters: _filters, ...copied } = first;
  return Object.fromEntries(
    names.named
      .filter((version) => !refs.some((ref) => names.versionOf(ref.name) === version))
      .map((version) => {
        const value = { ...copied, name: names.nameOf(version) ?? version };
        const identity = Object.fromEntries(identifying.filter((key) => value[key] !== undefined).map((key) => [`/${key}`, value[key] as string | number]));
        return [version, { entry: { version, label: value.name, identity, weight: 0 }, value }];
      }),
  );
}

export function backendOf(entry: Entry, namespace: string): Backend {
  return { namespace: String(entry.identity['/namespace'] ?? namespace), service: String(entry.identity['/name']) };
}

/**
 * Taken only when every parent of the route says so, of this generation. It says «programmed», not «in every proxy».
 * @see https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus
 */
function appliedState({ spec, status }: HttpRoute, generation: number, namespace: string, controllerName: string | null): Applied {
  const told = (status?.parents ?? []).filter((parent) => controllerName === null || parent.controllerName === controllerName);
  const wanted = spec.parentRefs ?? [];
  if (wanted.length === 0) return { kind: 'refused', detail: 'the route has no parentRefs, so no Gateway serves it' };
  for (const ref of wanted) {
    const statuses = told.filter((parent) => isSameParent(parent.parentRef, ref, namespace));
    if (statuses.length === 0)
      return {
        kind: 'pending',
        detail: `${parentName(ref)} has not said anything of it yet${controllerName === null ? '' : ` (controller ${controllerName})`}`,
      };
    for (const { conditions = [] } of statuses) {
      const verdict = parentState(conditions, generation, parentName(ref));
      if (verdict !== null) return verdict;
    }
  }
  return { kind: 'confirmed', detail: `taken by ${wanted.map(parentName).join(', ')}` };
}

/** `null`: this parent took it. */
function parentState(conditions: readonly Condition[], generation: number, name: string): Applied | null {
  const accepted = conditions.find(({ type }) => type === 'Accepted');
  if (accepted === undefined) return { kind: 'pending', detail: `${name} has not said whether it accepts the route` };
  const stale = conditions.find((entry) => (entry.observedGeneration ?? 0) < generation);
  if (stale !== undefined) return { kind: 'pending', detail: `${name} has not looked at the newest change yet (${stale.type} is of an older generation)` };
  const isPending = accepted.status === 'Unknown' || (accepted.status === 'False' && accepted.reason === 'Pending');
  if (isPending) return { kind: 'pending', detail: `${name}: ${wordsOf(accepted)}` };
  const refs = conditions.find(({ type }) => type === 'ResolvedRefs');
  const partial = conditions.find(({ type, status }) => type === 'PartiallyInvalid' && status === 'True');
  for (const entry of [accepted, refs]) if (entry?.status === 'False') return { kind: 'refused', detail: `${name}: ${wordsOf(entry)}` };
  if (refs?.status === 'Unknown') return { kind: 'pending', detail: `${name}: ${wordsOf(refs)}` };
  if (partial !== undefined) return { kind: 'refused', detail: `${name}: ${wordsOf(partial)}` };
  return null;
}

function wordsOf({ type, status, reason, message }: Condition): string {
  return `${type} is ${status} (${reason ?? 'no reason'})${message === undefined || message === '' ? '' : `: ${message}`}`;
}

function isSameParent(a: ParentRef, b: ParentRef, namespace: string): boolean {
  const full = (ref: ParentRef): readonly unknown[] => [
    ref.group ?? 'gateway.networking.k8s.io',
    ref.kind ?? 'Gateway',
    ref.namespace ?? namespace,
    ref.name,
    ref.sectionName ?? '',
    ref.port ?? 0,
  ];
  return full(a).join(' ') === full(b).join(' ');
}

function parentName(ref: ParentRef): string {
  return `${(ref.kind ?? 'Gateway').toLowerCase()} ${ref.name}${ref.sectionName === undefined ? '' : ` (${ref.sectionName})`}`;
}
