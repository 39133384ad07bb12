import { z } from 'zod';
import { always } from '../config/key-rules.ts';
import { duration, ratio, wholeNumber } from '../config/scalars.ts';
import { formatDuration } from '../domain/duration.ts';

const windowText = 'a duration, biggest unit first; write 30s, 5m or 1h30m';
const betweenRatios = (message: string) => ratio().refine((value) => value > 0 && value < 1, message);

const falseAlarms = z.strictObject({
  ratio: betweenRatios('expected a ratio above 0 and below 1, such as 1%')
    .default(0.01)
    .meta({ description: 'Probability of a false alarm per that time. Default: 1%.', default: '1%' }),
  per: duration({ minMs: 3_600_000, minText: '1h' }).default(86_400_000).meta({ description: 'The time it is per, 1h or more. Default: 1d.', default: '1d' }),
});

const severe = z.strictObject({
  above: betweenRatios('expected a ratio above 0 and below 1, such as 25%').meta({ description: 'Share of bad requests that is severe. Required.' }),
  for: duration().default(0).meta({ description: 'It must be at least this old. Default: 0s.', default: '0s' }),
});

const detect = z.enum(['threshold', 'sequential']).default('threshold').meta({
  description:
    'threshold: the value over a window, as Prometheus has it. sequential: decided from the counts, as soon as the evidence allows. Default: threshold.',
});

/** Keys of error_ratio and latency that say how it is judged. */
export const detectKeys = {
  detect,
  window: duration({ minMs: 1000, minText: '1s' })
    .optional()
    .meta({ description: 'How far back the numbers are taken, such as 5m. Required; with detect: sequential there is none.' }),
  min_requests: wholeNumber(0).optional().meta({
    description:
      'Fewer requests than this in the window are no data; with above_baseline, of each side. With detect: sequential, fewer counted ones are no breach. Default: 100, with detect: sequential 0 (the evidence itself asks for enough).',
  }),
  healthy: ratio().optional().meta({
    description:
      'Share of bad requests up to which a version is healthy, below the limit: the promise about false alarms is then about such versions, and the rule is faster near its limit. Beside above. Default: the limit.',
  }),
  false_alarms: falseAlarms.optional().meta({
    description:
      'How often a version within the limit may be taken for a bad one, at the worst, by all acting rules of the model with detect: sequential together. Default: 1% per 1d.',
  }),
  burst: z
    .union([z.enum(['auto', 'any']), z.number().min(0).lt(1)], { error: 'expected auto, any, or a correlation from 0 to below 1' })
    .optional()
    .meta({
      description:
        'How bursty errors are. auto learns it, a number fixes the correlation between requests of a poll (0: independent), any assumes nothing and is slow. Default: auto.',
    }),
  severe: severe
    .optional()
    .meta({ description: 'A fast way for severe degradations, with half of the false alarms and a for of its own. Beside above. Default: none.' }),
};

const sequentialOnly = ['healthy', 'false_alarms', 'burst', 'severe', 'bound'];

/**
 * What may stand together.
 * @param limitOf share of bad requests that the rule allows; `null`: not fixed, or not readable
 */
export function detectChecks(limitOf: (value: Readonly<Record<string, unknown>>) => number | null) {
  return always((value, refuse) => {
    const { detect: how } = value;
    // A slip is told by its own fault, and nobody knows what was meant to stand beside it.
    if (how !== 'threshold' && how !== 'sequential') return;
    if (how === 'threshold') {
      for (const key of sequentialOnly) if (value[key] !== undefined) refuse(key, 'stands beside detect: sequential only; add it, or remove this');
      if (value['window'] === undefined) refuse('window', `missing, expected ${windowText}; add "window: …"`, { code: 'missing_key' });
      return;
    }
    const { window, above_baseline: baseline, healthy, severe: fast } = value;
    if (typeof window === 'number')
      refuse('window', `found ${formatDuration(window)}, but with detect: sequential there is no window: it counts since the change; remove it`);
    for (const key of ['healthy', 'severe'] as const)
      if (baseline !== undefined && value[key] !== undefined) refuse(key, 'stands beside above only, found above_baseline; remove it');
    const limit = limitOf(value);
    if (limit === null || baseline !== undefined) return;
    const shown = `${Number((limit * 100).toPrecision(4))}%`;
    if (typeof healthy === 'number' && !(healthy > 0 && healthy < limit)) refuse('healthy', `expected a ratio above 0 and below the limit (${shown})`);
    const severeAbove = typeof fast === 'object' && fast !== null ? (fast as { above?: unknown }).above : undefined;
    if (typeof severeAbove === 'number' && severeAbove <= limit) refuse('severe', `found above ${severeAbove}, expected more than the limit (${shown})`);
  });
}
