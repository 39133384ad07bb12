import type { ModelServer } from '../model-server.ts';
import type { GatewayMetrics } from './gateway-metrics.ts';
import type { TensorFlowMetrics } from './tensorflow-metrics.ts';

/** What both APIs work on. */
export interface ApiContext {
  server: ModelServer;
  metrics: TensorFlowMetrics;
  /** `undefined` unless `--extra_versioned_metrics` was given. */
  gatewayMetrics: GatewayMetrics | undefined;
}
