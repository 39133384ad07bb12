import { equals, type Preset, resourceName } from './preset.ts';

/**
 * MLServer, as Seldon Core 2 and KServe run it. Its label `version` is what the client asked for, and `None` where it asked for none: that is no version.
 * Durations are a summary without quantiles, whose count is that of all requests.
 * @see https://mlserver.readthedocs.io/en/latest/user-guide/metrics.html
 */
export const mlserver: Preset = {
  name: 'mlserver',
  description: 'MLServer',
  signals: (subject) => ({
    requests: { metric: 'model_infer_request_duration_count', matchers: [equals('model', resourceName(subject))] },
    errors: { metric: 'model_infer_request_failure_total', matchers: [equals('model', resourceName(subject))] },
    latency: null,
  }),
  attribution: { kind: 'serving' },
  highestBucketSeconds: null,
  // Where all clients name the version they ask for, `version` does tell.
  versionLabels: ['version'],
  attributionHint: 'write attribution: serving, or version_label: version where every client names the version it asks for',
  lacks: {
    latency: 'MLServer has only the mean per model (a summary without quantiles); write signals.latency with a histogram of the gateway or service mesh',
  },
};
