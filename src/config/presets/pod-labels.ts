import { equals, type Preset } from './preset.ts';

/**
 * A server's own HTTP metrics, by OpenTelemetry's names, told apart by the labels of its pods: Prometheus carries them over when it finds the pods (`labelmap` of
 * `__meta_kubernetes_pod_label_(.+)`, or a PodMonitor's `podTargetLabels`), with `_` for what a label's name may not have. Buckets are those that OpenTelemetry
 * advises, up to 10 s.
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration and
 *   https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
 */
export const podLabels: Preset = {
  name: 'pod-labels',
  description: 'a server’s own HTTP metrics (OpenTelemetry’s names), the version by labels of its pods',
  signals: ({ name, plane }) => {
    const histogram = 'http_server_request_duration_seconds';
    const matchers = [
      equals('app_kubernetes_io_name', typeof plane['deployment'] === 'string' ? plane['deployment'] : name),
      ...(typeof plane['namespace'] === 'string' ? [equals('namespace', plane['namespace'])] : []),
    ];
    return {
      requests: { metric: `${histogram}_count`, matchers },
      errors: { metric: null, matchers: [{ label: 'http_response_status_code', op: '=~', value: '5..' }] },
      latency: { metric: histogram, matchers, unitSeconds: 1 },
    };
  },
  attribution: { kind: 'label', label: 'app_kubernetes_io_version' },
  highestBucketSeconds: 10,
  versionLabels: ['app_kubernetes_io_version', 'pod_template_hash', 'version'],
  attributionHint:
    'pods tell versions by app_kubernetes_io_version, pod_template_hash (with version_from: pod_template_hash on the plane) or version; have Prometheus carry the label over by relabel_configs, as docs/configuration.md shows',
};
