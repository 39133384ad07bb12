import { z } from 'zod';
import { parseDuration } from '../domain/duration.ts';

/** Custom issue text convention: `found …` is added by the diagnostics, these say only what was expected and how to mend. */
const durationHint = 'a duration in Prometheus\'s grammar, biggest unit first; write 30s, 5m or 1h30m';

/** Duration string → milliseconds. `options.min` in ms, inclusive. */
export function duration(options: { minMs?: number; minText?: string } = {}): z.ZodType<number, string | number> {
  return z
    .union([z.string(), z.literal(0)])
    .meta({ description: 'Duration as in Prometheus: 15s, 5m, 1h30m', pattern: '^(0|([0-9]+(y|w|d|h|m|s|ms))+)$' })
    .transform((value, context) => {
      const parsed = value === 0 ? 0 : parseDuration(value);
      if (parsed === null) {
        context.addIssue({ code: 'custom', message: `expected ${durationHint}` });
        return z.NEVER;
      }
      if (options.minMs !== undefined && parsed < options.minMs) {
        context.addIssue({ code: 'custom', message: `expected at least ${options.minText ?? `${options.minMs}ms`}` });
        return z.NEVER;
      }
      return parsed;
    });
}

/** `5%` or `0.05` → 0..1. */
export function ratio(): z.ZodType<number, string | number> {
  return z
    .union([z.string(), z.number()])
    .meta({ description: 'Ratio, 0..1, as 0.05 or 5%' })
    .transform((value, context) => {
      const percent = typeof value === 'string' ? /^(\d+(?:\.\d+)?)\s*%$/.exec(value) : null;
      const parsed = typeof value === 'number' ? value : percent === null ? Number.NaN : Number(percent[1]) / 100;
      if (!(parsed >= 0 && parsed <= 1)) {
        context.addIssue({ code: 'custom', message: 'expected a ratio between 0 and 1; write 5% or 0.05' });
        return z.NEVER;
      }
      return parsed;
    });
}

/**
 * Version id: always a string. The file loader hands numbers over as their source text (`1.10` must not become `1.1`).
 */
export function versionId(): z.ZodType<string, string | number> {
  return z
    .union([z.string().min(1), z.number()])
    .meta({ description: 'Version id, plane-native, always a string' })
    .transform((value) => String(value));
}
