import { equals, type Preset, resourceName, serverFaults } from './preset.ts';

/**
 * Seldon Core v1: the executor beside each predictor (`/prometheus`). `service` is the name of the call over HTTP and the full method over gRPC; feedback,
 * status and metadata are left out. Predictors are the versions. With `seldon.io/no-engine` there is no executor, hence none of these metrics.
 * @see https://github.com/SeldonIO/seldon-core/blob/master/executor/api/metric/constants.go (names, buckets)
 */
export const seldonV1: Preset = {
  name: 'seldon-v1',
  description: 'Seldon Core v1, by its executor',
  signals: (subject) => {
    const matchers = [equals('deployment_name', resourceName(subject)), { label: 'service', op: '=~', value: 'predictions|/.+/(Predict|ModelInfer)' }] as const;
    const histogram = 'seldon_api_executor_server_requests_seconds';
    return {
      requests: { metric: `${histogram}_count`, matchers },
      errors: { metric: null, matchers: [{ label: 'code', op: '=~', value: serverFaults }] },
      latency: { metric: histogram, matchers, unitSeconds: 1 },
    };
  },
  attribution: { kind: 'label', label: 'predictor_name' },
  highestBucketSeconds: 10,
  versionLabels: ['predictor_name'],
  attributionHint: 'write version_label: predictor_name, since predictors are the versions',
};
