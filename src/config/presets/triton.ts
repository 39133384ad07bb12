import { equals, type Preset, resourceName } from './preset.ts';

/**
 * Triton: two counters, successes and failures, and none of all requests. Successes alone would make a model that only fails look like one without traffic,
 * so there is no error signal here.
 * @see https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html
 */
export const triton: Preset = {
  name: 'triton',
  description: 'Triton Inference Server',
  signals: (subject) => ({
    requests: { metric: 'nv_inference_request_success', matchers: [equals('model', resourceName(subject))] },
    errors: null,
    latency: null,
  }),
  attribution: { kind: 'label', label: 'version' },
  highestBucketSeconds: null,
  versionLabels: ['version'],
  attributionHint: 'write version_label: version',
  lacks: {
    errors:
      'Triton counts successes and failures apart and all requests nowhere; record their sum (nv_inference_request_success + nv_inference_request_failure) and write it as signals.requests, with nv_inference_request_failure as signals.errors',
    latency: 'Triton has only sums of durations; write signals.latency with a histogram of the gateway or service mesh',
  },
};
