import { mlflowSchema } from './mlflow/schema.ts';
import { prometheusSchema } from './prometheus/schema.ts';
import { scrapeSchema } from './scrape/schema.ts';
import { defineSource } from './source-plugin.ts';

/** Every kind of source, by its key under `sources[]`: the schema at once, the code when it is used. */
export const sourcePlugins = {
  mlflow: defineSource({
    kind: 'mlflow',
    schema: mlflowSchema,
    hasPromql: false,
    isRegistry: true,
    create: async (config, deps) => (await import('./mlflow/index.ts')).createMlflowSource(config, deps),
  }),
  prometheus: defineSource({
    kind: 'prometheus',
    schema: prometheusSchema,
    hasPromql: true,
    create: async (config, deps) => (await import('./prometheus/index.ts')).createPrometheusSource(config, deps),
  }),
  scrape: defineSource({
    kind: 'scrape',
    schema: scrapeSchema,
    hasPromql: false,
    create: async (config, deps) => (await import('./scrape/index.ts')).startScrapeSource(config, deps),
  }),
} as const;
