import type { Matcher } from '../../domain/model.ts';
import { equals, type Preset, type PresetSubject } from './preset.ts';

/**
 * NGINX with the VTS module (nginx-module-vts), by its upstreams: open-source NGINX's own `stub_status` counts all requests of the server as one, so there is no
 * preset for that. `code="total"` would count every request twice. The histogram is there with `vhost_traffic_status_histogram_buckets` only, whose bounds are
 * the operator's. `backend` is a server's address, which Prometheus can make a version of: docs/configuration.md.
 * @see https://github.com/vozlt/nginx-module-vts/blob/master/src/ngx_http_vhost_traffic_status_display_prometheus.h
 */
export const nginx: Preset = {
  name: 'nginx',
  description: 'NGINX with the VTS module: requests by upstream; the version by a label that Prometheus makes of backend, or by upstream',
  signals: (subject) => {
    const upstream = upstreamOf(subject);
    return {
      requests: { metric: 'nginx_vts_upstream_requests_total', matchers: [upstream, { label: 'code', op: '=~', value: '[1-5]xx' }] },
      errors: { metric: 'nginx_vts_upstream_requests_total', matchers: [upstream, equals('code', '5xx')] },
      latency: { metric: 'nginx_vts_upstream_response_duration_seconds', matchers: [upstream], unitSeconds: 1 },
    };
  },
  attribution: { kind: 'label', label: 'version' },
  highestBucketSeconds: null,
  versionLabels: ['version', 'upstream', 'backend'],
  attributionHint:
    'the VTS module knows upstream and backend (a server’s address): make a label version of backend by metric_relabel_configs, as docs/configuration.md shows, or write version_label: upstream where each version is an upstream of its own',
};

/** The upstream of the plane; with `split_clients` or `map` those its versions lead to. */
function upstreamOf({ name, plane }: PresetSubject): Matcher {
  const values = [plane['split_clients'], plane['map']].flatMap((block) => Object.values(recordOf(recordOf(block)['versions'])));
  const names = [recordOf(plane['upstream'])['name'], ...values].filter((value) => typeof value === 'string');
  const [only = name, ...others] = names;
  if (others.length === 0) return equals('upstream', only);
  return { label: 'upstream', op: '=~', value: names.map((each) => each.replaceAll(/[^\w-]/g, '\\$&')).join('|') };
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}
