import type { Matcher } from '../../domain/model.ts';
import { equals, type Preset } from './preset.ts';

/**
 * Envoy Gateway: Envoy's own cluster metrics. All backends of a rule are one cluster (`httproute/NAMESPACE/NAME/rule/0`), which tells no versions; it makes one of
 * each (`…/rule/0/backend/1`) only where a backendRef has filters, zones are preferred, or protocols differ. The index is the place in the list, not a
 * version, so Prometheus must make the label: docs/configuration.md. Buckets are Envoy's: up to an hour.
 * @see https://github.com/envoyproxy/gateway/blob/main/internal/ir/xds.go (NeedsClusterPerSetting)
 */
export const envoyGateway: Preset = {
  name: 'envoy-gateway',
  description: 'Envoy Gateway: cluster metrics of one HTTPRoute; the version by a label that Prometheus makes of the cluster',
  signals: ({ name, plane }) => {
    const route = typeof plane['http_route'] === 'string' ? plane['http_route'] : name;
    const cluster: Matcher =
      typeof plane['namespace'] === 'string'
        ? { label: 'envoy_cluster_name', op: '=~', value: `httproute/${plane['namespace']}/${route}/rule/.+` }
        : { label: 'envoy_cluster_name', op: '=~', value: `httproute/[^/]+/${route}/rule/.+` };
    return {
      requests: { metric: 'envoy_cluster_upstream_rq_xx', matchers: [cluster] },
      errors: { metric: null, matchers: [equals('envoy_response_code_class', '5')] },
      latency: { metric: 'envoy_cluster_upstream_rq_time', matchers: [cluster], unitSeconds: 1e-3 },
    };
  },
  attribution: { kind: 'label', label: 'version' },
  highestBucketSeconds: 3_600,
  versionLabels: ['version', 'backend'],
  attributionHint:
    'all backends of a rule are one cluster, so envoy_cluster_name tells no versions: give each backendRef a filter (then each is a cluster) and make a label version of its index by metric_relabel_configs, as docs/configuration.md shows; or read the model servers’ own metrics',
};
