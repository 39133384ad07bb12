import { equals, type Preset } from './preset.ts';

/**
 * TensorFlow Serving: no version label on any request metric. Errors leave out what the client caused. Latency is
 * recorded for inference calls under their name, gRPC's in capitals, REST's not; status and metadata requests over REST
 * carry `API=""` and would thin it out.
 * Buckets are TensorFlow's Exponential(10, 1.8, 33): bounds 10 × 1.8^k microseconds, k = 0 … 32.
 * @see https://github.com/tensorflow/serving/blob/master/tensorflow_serving/servables/tensorflow/util.cc
 */
export const tensorflowServing: Preset = {
  name: 'tensorflow-serving',
  description: 'TensorFlow Serving with its monitoring switched on',
  signals: ({ name }) => ({
    requests: { metric: ':tensorflow:serving:request_count', matchers: [equals('model_name', name)] },
    errors: { metric: null, matchers: [{ label: 'status', op: '!~', value: 'OK|CANCELLED|INVALID_ARGUMENT|NOT_FOUND' }] },
    latency: {
      metric: ':tensorflow:serving:request_latency',
      matchers: [equals('model_name', name), { label: 'API', op: '=~', value: 'Predict|predict|Classify|classify|Regress|regress' }],
      unitSeconds: 1e-6,
    },
  }),
  attribution: { kind: 'serving' },
  highestBucketSeconds: 10 * 1.8 ** 32 * 1e-6,
  bucketBoundsSeconds: Array.from({ length: 33 }, (_, k) => 10 * 1.8 ** k * 1e-6),
  versionLabels: [],
  attributionHint:
    'write attribution: serving, since TensorFlow Serving puts no version on its request metrics; or spell signals out where your scrape adds such a label',
};
