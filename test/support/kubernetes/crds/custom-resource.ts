import type { JsonMap, KubernetesObject } from '../kubernetes-object.ts';

/** A structural schema, as a CustomResourceDefinition has it: what it does not name is pruned. */
export type Schema = JsonMap;

/** Anything, kept as it is. */
export const anything: Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
/** Names and texts. */
export const labels: Schema = { type: 'object', additionalProperties: { type: 'string' } };

/** @param facts.open keeps what is not named, as Pods' specs do inside the platforms' own kinds */
export function object(properties: Readonly<Record<string, Schema>>, facts: { required?: readonly string[]; open?: boolean } = {}): Schema {
  return {
    type: 'object',
    properties,
    ...(facts.required === undefined ? {} : { required: facts.required }),
    ...(facts.open === true ? { 'x-kubernetes-preserve-unknown-fields': true } : {}),
  };
}

export function list(items: Schema, rules: Schema = {}): Schema {
  return { type: 'array', items, ...rules };
}

/** @param rules `minLength`, `pattern`, `enum`, `default` */
export function text(rules: Schema = {}): Schema {
  return { type: 'string', ...rules };
}

/** @param rules `minimum`, `maximum`, `default` */
export function whole(rules: Schema = {}): Schema {
  return { type: 'integer', format: 'int32', ...rules };
}

export function generation(rules: Schema = {}): Schema {
  return { type: 'integer', format: 'int64', ...rules };
}

export const flag: Schema = { type: 'boolean' };

/** As Knative's packages have it, which Seldon and KServe use, too: only `type` and `status` must be there. */
export const knativeConditions: Schema = list(
  object({ type: text(), status: text(), reason: text(), message: text(), severity: text(), lastTransitionTime: text() }, { required: ['type', 'status'] }),
);

/** As `metav1.Condition` has it. */
export const conditions: Schema = list(
  object(
    {
      type: text({ maxLength: 316 }),
      status: text({ enum: ['True', 'False', 'Unknown'] }),
      reason: text({ minLength: 1, maxLength: 1_024 }),
      message: text({ maxLength: 32_768 }),
      lastTransitionTime: text({ format: 'date-time' }),
      observedGeneration: generation({ minimum: 0 }),
    },
    { required: ['lastTransitionTime', 'message', 'reason', 'status', 'type'] },
  ),
  { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] },
);

/** A namespaced kind with a status of its own. `versions`: the stored one first; all are alike, as they are in most projects but for the name. */
export function customResource(facts: {
  readonly group: string;
  readonly versions: readonly [string, ...string[]];
  readonly plural: string;
  readonly kind: string;
  readonly shortNames?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec: Schema;
  readonly status: Schema;
  /** Of the object itself. Default: nothing. */
  readonly required?: readonly string[];
}): KubernetesObject {
  const schema = object({ spec: facts.spec, status: facts.status }, facts.required === undefined ? {} : { required: facts.required });
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${facts.plural}.${facts.group}`, ...(facts.annotations === undefined ? {} : { annotations: { ...facts.annotations } }) },
    spec: {
      group: facts.group,
      scope: 'Namespaced',
      names: {
        plural: facts.plural,
        singular: facts.kind.toLowerCase(),
        kind: facts.kind,
        listKind: `${facts.kind}List`,
        ...(facts.shortNames === undefined ? {} : { shortNames: facts.shortNames }),
      },
      versions: facts.versions.map((name, index) => ({
        name,
        served: true,
        storage: index === 0,
        subresources: { status: {} },
        schema: { openAPIV3Schema: schema },
      })),
    },
  };
}
