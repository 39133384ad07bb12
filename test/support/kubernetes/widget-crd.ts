import type { KubernetesObject } from './kubernetes-object.ts';

const schema = {
  openAPIV3Schema: {
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        'x-kubernetes-preserve-unknown-fields': true,
        properties: {
          size: { type: 'integer' },
          limits: { type: 'object', properties: { burst: { type: 'integer', default: 3 }, mode: { type: 'string', default: 'soft' } } },
          rules: {
            type: 'array',
            items: {
              type: 'object',
              'x-kubernetes-preserve-unknown-fields': true,
              properties: {
                backends: {
                  type: 'array',
                  items: { type: 'object', required: ['name'], properties: { name: { type: 'string' }, weight: { type: 'integer', minimum: 0 } } },
                },
              },
            },
          },
        },
      },
      status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    },
  },
};

/** A kind of the tests' own: with a status, lists in lists, a bound, and a part that is pruned and filled in. */
export const widgetCrd: KubernetesObject = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'widgets.wire.example.org' },
  spec: {
    group: 'wire.example.org',
    scope: 'Namespaced',
    names: { plural: 'widgets', singular: 'widget', kind: 'Widget', listKind: 'WidgetList' },
    versions: [{ name: 'v1', served: true, storage: true, subresources: { status: {} }, schema }],
  },
};
