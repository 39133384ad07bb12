import { equals, type Preset, resourceName } from './preset.ts';

/**
 * Model servers of KServe's Python SDK (sklearn, xgboost, lightgbm, Hugging Face, custom ones): histograms by `model_name` and nothing else. Requests are those
 * that came to prediction.
 * @see https://github.com/kserve/kserve/blob/master/python/kserve/kserve/metrics.py
 */
export const kserve: Preset = {
  name: 'kserve',
  description: 'model servers of the KServe Python SDK',
  signals: (subject) => ({
    requests: { metric: 'request_predict_seconds_count', matchers: [equals('model_name', resourceName(subject))] },
    errors: null,
    latency: { metric: 'request_predict_seconds', matchers: [equals('model_name', resourceName(subject))], unitSeconds: 1 },
  }),
  attribution: { kind: 'serving' },
  highestBucketSeconds: 10,
  versionLabels: [],
  attributionHint: 'write attribution: serving, since its metrics carry only model_name',
  lacks: {
    errors:
      "KServe's model servers count no failures; use preset kserve-knative or kserve-knative-otel, or write signals.errors with a counter of the gateway or service mesh",
  },
};
