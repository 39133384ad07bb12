import { anything, customResource, labels, list, object, text, whole } from './custom-resource.ts';

const destination = object({ host: text(), subset: text(), port: object({ number: whole() }) }, { required: ['host'] });
const group = 'networking.istio.io';
const versions = ['v1', 'v1beta1', 'v1alpha3'] as const;
/** Istio leaves it open. */
const status = object(
  { observedGeneration: { 'x-kubernetes-int-or-string': true }, conditions: list(anything), validationMessages: list(anything) },
  { open: true },
);

/** @see https://istio.io/latest/docs/reference/config/networking/virtual-service/ */
export const virtualServiceCrd = customResource({
  group,
  versions,
  plural: 'virtualservices',
  kind: 'VirtualService',
  shortNames: ['vs'],
  spec: object({
    hosts: list(text()),
    gateways: list(text()),
    exportTo: list(text()),
    http: list(
      object({
        name: text(),
        match: list(anything),
        route: list(object({ destination, weight: whole(), headers: anything }, { required: ['destination'] })),
        mirror: destination,
        mirrorPercentage: object({ value: { type: 'number' } }),
        rewrite: anything,
        retries: anything,
        headers: anything,
        timeout: text(),
        delegate: object({ name: text(), namespace: text() }),
      }),
    ),
    tcp: list(anything),
    tls: list(anything),
  }),
  status,
});

/** @see https://istio.io/latest/docs/reference/config/networking/destination-rule/ */
export const destinationRuleCrd = customResource({
  group,
  versions,
  plural: 'destinationrules',
  kind: 'DestinationRule',
  shortNames: ['dr'],
  spec: object(
    {
      host: text(),
      exportTo: list(text()),
      trafficPolicy: anything,
      subsets: list(object({ name: text(), labels, trafficPolicy: anything }, { required: ['name'] })),
    },
    { required: ['host'] },
  ),
  status,
});
