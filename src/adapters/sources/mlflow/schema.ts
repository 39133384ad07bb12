import { z } from 'zod';
import { httpConfigSchema } from '../../../config/http-config.ts';
import { duration, httpUrl, text } from '../../../config/scalars.ts';

const tagKey = (description: string, key: string) =>
  text({ min: 1, expected: 'the key of a tag' })
    .default(key)
    .meta({ description: `${description} Default: ${key}.` });

/** Settings of an MLflow source, under `sources[].mlflow`. */
export const mlflowSchema = z.strictObject({
  url: httpUrl().meta({ description: 'Address of the MLflow server, without /api/2.0. Required.' }),
  timeout: duration({ minMs: 100, minText: '100ms' }).default(10_000).meta({ description: 'Limit of one call. Default: 10s.', default: '10s' }),
  refresh: duration({ minMs: 1000, minText: '1s' })
    .default(60_000)
    .meta({ description: 'How often a version’s metrics are looked up anew; between, the last answer counts. Default: 1m.', default: '1m' }),
  evaluation_tags: z
    .strictObject({
      model: tagKey('Tag of an evaluation run that names the registered model.', 'rollbackd.model'),
      version: tagKey('Tag of an evaluation run that names the version.', 'rollbackd.version'),
    })
    .prefault({})
    .meta({ description: 'How evaluation runs of a version are found where no logged model links them, in the experiment of the version’s own run.' }),
  http_config: httpConfigSchema.optional().meta({ description: 'Authentication, TLS and headers. Default: none.' }),
});

export type MlflowSourceConfig = z.output<typeof mlflowSchema>;
