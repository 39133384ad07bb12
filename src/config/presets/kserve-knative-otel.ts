import { equals, type Preset, resourceName } from './preset.ts';

/**
 * KServe on Knative since its move to OpenTelemetry. The names of service and revision are attributes of the resource: whoever collects must make labels of
 * them (`resource_to_telemetry_conversion`, `promote_resource_attributes`).
 * @see https://knative.dev/docs/serving/observability/metrics/serving-metrics/
 */
export const kserveKnativeOtel: Preset = {
  name: 'kserve-knative-otel',
  description: 'KServe in Knative mode, by the OpenTelemetry metrics of Knative since 1.20',
  signals: (subject) => {
    const matchers = [equals('kn_service_name', `${resourceName(subject)}-predictor`)];
    const histogram = 'kn_serving_invocation_duration_seconds';
    return {
      requests: { metric: `${histogram}_count`, matchers },
      errors: { metric: null, matchers: [{ label: 'http_response_status_code', op: '=~', value: '5..' }] },
      latency: { metric: histogram, matchers, unitSeconds: 1 },
    };
  },
  attribution: { kind: 'label', label: 'kn_revision_name' },
  highestBucketSeconds: 10,
  versionLabels: ['kn_revision_name'],
  attributionHint: 'write version_label: kn_revision_name; the control plane knows which version each revision is',
};
