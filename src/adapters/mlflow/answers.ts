import { z } from 'zod';

// Only the fields that are used. Protobuf's JSON leaves out what is empty, and writes int64 as number or as text.
const millis = z.union([z.number(), z.string().regex(/^\d+$/).transform(Number)]);
/** A whole number from 1 on, as number or as text. */
const version = z.union([z.string().min(1), z.int().positive().transform(String)]);
const tags = z.array(z.object({ key: z.string(), value: z.string().default('') })).default([]);

const modelVersion = z.object({
  name: z.string(),
  version,
  creation_timestamp: millis.optional(),
  /** `models:/m-…` for models logged with MLflow 3; else where the artifacts lie. */
  source: z.string().default(''),
  run_id: z.string().default(''),
  status: z.string().default('READY'),
  status_message: z.string().default(''),
  current_stage: z.string().default('None'),
  tags,
});

export const registeredModelAnswer = z.object({
  registered_model: z.object({
    name: z.string(),
    aliases: z.array(z.object({ alias: z.string(), version })).default([]),
  }),
});
export const modelVersionAnswer = z.object({ model_version: modelVersion });
export const modelVersionsAnswer = z.object({ model_versions: z.array(modelVersion).default([]), next_page_token: z.string().default('') });

const run = z.object({
  info: z.object({ run_id: z.string(), experiment_id: z.string().default(''), status: z.string().default(''), lifecycle_stage: z.string().default('active') }),
  data: z
    .object({
      // Not a number is written "NaN".
      metrics: z
        .array(z.object({ key: z.string(), value: z.union([z.number(), z.string()]), timestamp: millis.default(0), step: millis.default(0) }))
        .default([]),
      tags,
    })
    .prefault({}),
});
export const runAnswer = z.object({ run });
export const runsAnswer = z.object({ runs: z.array(run).default([]), next_page_token: z.string().default('') });

/** Its `data.metrics` say which runs measured the model; their values are not used: not a number reads 0 there. */
export const loggedModelAnswer = z.object({
  model: z.object({
    data: z.object({ metrics: z.array(z.object({ key: z.string(), run_id: z.string().default(''), timestamp: millis.default(0) })).default([]) }).prefault({}),
  }),
});

/** Every failure of the API. */
export const failureAnswer = z.object({ error_code: z.union([z.string(), z.number().transform(String)]), message: z.string().default('') });

/** Nothing, or what nobody reads. */
export const emptyAnswer = z.object({});

export type MlflowVersion = z.output<typeof modelVersion>;
export type MlflowRun = z.output<typeof run>;
