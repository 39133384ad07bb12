import { equals, type Preset, resourceName } from './preset.ts';

/**
 * KServe on Knative before its move to OpenTelemetry: the queue-proxy beside each pod. Durations in milliseconds. Revisions are told by the control plane to
 * be versions.
 * @see https://knative.dev/docs/serving/observability/metrics/serving-metrics/
 */
export const kserveKnative: Preset = {
  name: 'kserve-knative',
  description: 'KServe in Knative mode, by the queue-proxy of Knative before 1.20',
  signals: (subject) => {
    const matchers = [equals('service_name', `${resourceName(subject)}-predictor`)];
    return {
      requests: { metric: 'revision_request_count', matchers },
      errors: { metric: null, matchers: [equals('response_code_class', '5xx')] },
      latency: { metric: 'revision_request_latencies', matchers, unitSeconds: 1e-3 },
    };
  },
  attribution: { kind: 'label', label: 'revision_name' },
  highestBucketSeconds: 100,
  versionLabels: ['revision_name'],
  attributionHint: 'write version_label: revision_name; the control plane knows which version each revision is',
};
