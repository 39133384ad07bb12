import { z } from 'zod';
import { httpConfigSchema } from '../../../config/http-config.ts';
import { duration, httpUrl } from '../../../config/scalars.ts';

/** Settings of a Prometheus-compatible source, under `sources[].prometheus`. */
export const prometheusSchema = z.strictObject({
  url: httpUrl().meta({ description: 'Address of the HTTP API without /api/v1: Prometheus, Thanos, Mimir (with its /prometheus), VictoriaMetrics. Required.' }),
  timeout: duration({ minMs: 100, minText: '100ms' })
    .default(10_000)
    .meta({ description: 'Limit of one query, whole answer included. Default: 10s.', default: '10s' }),
  http_config: httpConfigSchema.optional().meta({ description: 'Authentication, TLS and headers. Default: none.' }),
});

export type PrometheusConfig = z.infer<typeof prometheusSchema>;
