import { anything, conditions, customResource, list, object, type Schema, text, whole } from './custom-resource.ts';

const name = text({ minLength: 1, maxLength: 253 });
const port = whole({ minimum: 1, maximum: 65_535 });

const parentReference: Schema = object(
  {
    group: text({ default: 'gateway.networking.k8s.io' }),
    kind: text({ default: 'Gateway' }),
    namespace: text(),
    name,
    sectionName: text(),
    port,
  },
  { required: ['name'] },
);

/** Empty group: core. The server fills in what is not said, the weight of 1 among it. */
const backendReference: Schema = object(
  {
    group: text({ default: '' }),
    kind: text({ default: 'Service' }),
    namespace: text(),
    name,
    port,
    weight: whole({ minimum: 0, maximum: 1_000_000, default: 1 }),
    filters: list(anything),
  },
  { required: ['name'] },
);

const everyPath = [{ path: { type: 'PathPrefix', value: '/' } }];
const rule: Schema = object({
  name: text({ minLength: 1 }),
  matches: list(
    object({
      path: object({ type: text({ default: 'PathPrefix', enum: ['Exact', 'PathPrefix', 'RegularExpression'] }), value: text({ default: '/' }) }),
      headers: list(anything),
      queryParams: list(anything),
      method: text(),
    }),
    { default: everyPath },
  ),
  filters: list(anything),
  backendRefs: list(backendReference, { maxItems: 16, 'x-kubernetes-list-type': 'atomic' }),
  timeouts: object({ request: text(), backendRequest: text() }),
});

/** @see https://gateway-api.sigs.k8s.io/reference/spec/#httproute */
export const httpRouteCrd = customResource({
  group: 'gateway.networking.k8s.io',
  versions: ['v1', 'v1beta1'],
  plural: 'httproutes',
  kind: 'HTTPRoute',
  // The server takes no kind of a *.k8s.io group without it.
  annotations: { 'api-approved.kubernetes.io': 'https://github.com/kubernetes-sigs/gateway-api/pull/2466' },
  required: ['spec'],
  spec: object({
    parentRefs: list(parentReference, { maxItems: 32, 'x-kubernetes-list-type': 'atomic' }),
    hostnames: list(text(), { 'x-kubernetes-list-type': 'atomic' }),
    rules: list(rule, { default: [{ matches: everyPath }], minItems: 1, maxItems: 16, 'x-kubernetes-list-type': 'atomic' }),
  }),
  status: object(
    {
      parents: list(
        object(
          { parentRef: parentReference, controllerName: text({ pattern: '^[a-z0-9.-]+/[A-Za-z0-9/._-]+$' }), conditions },
          { required: ['controllerName', 'parentRef'] },
        ),
      ),
    },
    { required: ['parents'] },
  ),
});
