import { equals, type Preset } from './preset.ts';

/**
 * Istio's standard metrics, as the clients' side (gateways and sidecars) counts them: there a target that cannot be reached is seen, too.
 * Left out of the errors: code 0, a client that hung up; failures that gRPC hides behind status 200. Buckets are Envoy's: up to an hour.
 * @see https://istio.io/latest/docs/reference/config/metrics/
 */
export const istio: Preset = {
  name: 'istio',
  description: 'Istio: standard metrics of gateways and sidecars (reporter source)',
  signals: ({ name, plane }) => {
    const matchers = [
      equals('reporter', 'source'),
      equals('destination_service_name', typeof plane['service'] === 'string' ? plane['service'] : name),
      ...(typeof plane['namespace'] === 'string' ? [equals('destination_service_namespace', plane['namespace'])] : []),
    ];
    return {
      requests: { metric: 'istio_requests_total', matchers },
      errors: { metric: null, matchers: [{ label: 'response_code', op: '=~', value: '5..' }] },
      latency: { metric: 'istio_request_duration_milliseconds', matchers, unitSeconds: 1e-3 },
    };
  },
  attribution: { kind: 'label', label: 'destination_version' },
  highestBucketSeconds: 3_600,
  versionLabels: ['destination_version', 'destination_workload', 'destination_canonical_revision'],
  attributionHint:
    'istio tells versions by destination_version (the pods’ label version), destination_canonical_revision or destination_workload; others must be added to its metrics by the Telemetry API',
};
