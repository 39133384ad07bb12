import { z } from 'zod';
import { httpConfigSchema } from '../../../config/http-config.ts';
import { duration, flag, labels, wholeNumber } from '../../../config/scalars.ts';

const targetPattern = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/?#[\]@]+)(?::\d{1,5})?$/;

const staticConfig = z.strictObject({
  targets: z
    .array(z.string({ error: 'expected host:port' }).regex(targetPattern, 'expected host:port, without scheme and path (those are scheme and metrics_path)'), {
      error: 'expected a list of host:port',
    })
    .min(1, 'expected at least one target')
    .meta({ description: 'Servers as host:port. Required.' }),
  labels: labels().default({}).meta({ description: 'Labels added to every series of these targets, as model_version. Default: none.' }),
});

const units = { B: 1, KB: 2 ** 10, KIB: 2 ** 10, MB: 2 ** 20, MIB: 2 ** 20, GB: 2 ** 30, GIB: 2 ** 30 } as const;

/** Size as in Prometheus (`50MB`, powers of 1024) → bytes. */
function size(): z.ZodType<number, string> {
  const expected = 'expected a size; write 16MB';
  return z.string({ error: expected }).transform((value, context) => {
    const match = /^(\d+)(B|[KMG]i?B)$/i.exec(value);
    const bytes = match === null ? 0 : Number(match[1]) * units[(match[2] ?? 'B').toUpperCase() as keyof typeof units];
    if (bytes > 0) return bytes;
    context.addIssue({ code: 'custom', message: expected });
    return z.NEVER;
  });
}

/** Settings of the source that reads the servers' metrics pages itself, in Prometheus's words; under `sources[].scrape`. */
export const scrapeSchema = z
  .strictObject({
    job_name: z
      .string({ error: 'expected a name' })
      .min(1, 'expected a name')
      .default('rollbackd')
      .meta({ description: 'Value of the label "job". Default: rollbackd.' }),
    scrape_interval: duration({ minMs: 100, minText: '100ms' })
      .default(15_000)
      .meta({ description: 'How often each target is read. Default: 15s.', default: '15s' }),
    scrape_timeout: duration({ minMs: 50, minText: '50ms' })
      .optional()
      .meta({ description: 'Limit of one read. Default: 10s, or scrape_interval if that is shorter.' }),
    metrics_path: z
      .string({ error: 'expected a path' })
      .startsWith('/', 'expected a path that begins with /')
      .default('/metrics')
      .meta({ description: 'Path of the metrics page. Default: /metrics.' }),
    scheme: z.enum(['http', 'https'], { error: 'expected http or https' }).default('http').meta({ description: 'http or https. Default: http.' }),
    honor_labels: flag()
      .default(false)
      .meta({ description: "Where a page has a label that the target has too: keep the page's (true), or rename it to exported_… (false). Default: false." }),
    static_configs: z
      .array(staticConfig, { error: 'expected a list of static_configs' })
      .min(1, 'expected at least one static_config')
      .meta({ description: 'The targets. Required.' }),
    http_config: httpConfigSchema.optional().meta({ description: 'Authentication, TLS and headers. Default: none.' }),
    body_size_limit: size()
      .default(16 * 2 ** 20)
      .meta({ description: 'Largest page, decompressed; a larger one is a failed scrape. Default: 16MB.', default: '16MB' }),
    sample_limit: wholeNumber(1).default(200_000).meta({ description: 'Most samples on a page; with more the scrape has failed. Default: 200000.' }),
    label_limit: wholeNumber(1).default(64).meta({ description: 'Most labels of a series; with more the scrape has failed. Default: 64.' }),
    series_limit: wholeNumber(1).default(50_000).meta({
      description: 'Most series kept in memory over all targets; with more the scrape has failed. Only series that rules ask for are kept. Default: 50000.',
    }),
  })
  .superRefine((config, context) => {
    if (config.scrape_timeout !== undefined && config.scrape_timeout > config.scrape_interval) {
      context.addIssue({ code: 'custom', path: ['scrape_timeout'], message: 'expected no more than scrape_interval' });
    }
    const seen = new Set<string>();
    for (const [index, { targets }] of config.static_configs.entries()) {
      for (const [position, target] of targets.entries()) {
        if (seen.has(target))
          context.addIssue({
            code: 'custom',
            path: ['static_configs', index, 'targets', position],
            message: 'expected each target once: read twice, its requests would count twice',
          });
        seen.add(target);
      }
    }
  });

export type ScrapeConfig = z.infer<typeof scrapeSchema>;
