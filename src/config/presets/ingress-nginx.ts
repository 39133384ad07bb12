import { equals, type Preset } from './preset.ts';

/**
 * ingress-nginx (retired in 2026): its label `canary` names the canary's upstream and is empty for the primary's requests, and `service` is the primary's for
 * both. So no label names the version of every request, and Prometheus must make one: docs/configuration.md. Buckets are those of client_golang, up to 10 s.
 * @see https://github.com/kubernetes/ingress-nginx/blob/main/internal/ingress/metric/collectors/socket.go
 */
export const ingressNginx: Preset = {
  name: 'ingress-nginx',
  description: 'ingress-nginx: requests of one Ingress; the version by a label that Prometheus makes of canary and service',
  signals: ({ name, plane }) => {
    const matchers = [
      equals('ingress', typeof plane['ingress'] === 'string' ? plane['ingress'] : name),
      ...(typeof plane['namespace'] === 'string' ? [equals('namespace', plane['namespace'])] : []),
    ];
    return {
      requests: { metric: 'nginx_ingress_controller_requests', matchers },
      errors: { metric: null, matchers: [{ label: 'status', op: '=~', value: '5..' }] },
      latency: { metric: 'nginx_ingress_controller_request_duration_seconds', matchers, unitSeconds: 1 },
    };
  },
  attribution: { kind: 'label', label: 'backend' },
  highestBucketSeconds: 10,
  versionLabels: ['backend', 'version'],
  attributionHint:
    'canary is empty for the primary, and service is the primary’s for both: make a label backend (or version) of the two by metric_relabel_configs, as docs/configuration.md shows',
};
