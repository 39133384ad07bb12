import { z } from 'zod';
import { always, exactlyOneOf } from '../config/key-rules.ts';
import { matcher } from '../config/matchers.ts';
import { duration, positiveNumber, ratio, text, wholeNumber } from '../config/scalars.ts';
import { formatDuration } from '../domain/duration.ts';
import { detectChecks, detectKeys } from './sequential-schema.ts';

/** Requests in the window below which a condition says `no_data`. */
export const defaultMinRequests = 100;

const window = duration({ minMs: 1000, minText: '1s' }).meta({ description: 'How far back the numbers are taken, such as 5m. Required.' });
const { window: _window, min_requests: _minRequests, ...sequentialKeys } = detectKeys;

const times = z
  .number({ error: 'expected a factor, 1 or more; write 2' })
  .min(1, 'expected a factor, 1 or more; below 1 a version as good as the baseline would be worse')
  .default(1)
  .meta({ description: 'The baseline’s value is taken this many times, 1 or more. Default: 1.' });

const oneLimit = exactlyOneOf(['above', 'above_baseline'], {
  none: 'needs a limit, found none; add above or above_baseline',
  both: 'found above and above_baseline, expected one of them; write two rules, or all',
});

const ratioOfBaseline = z
  .strictObject({
    times,
    by_at_least: ratio().default(0).meta({ description: 'And this much is added: 2% is two points. Default: 0.' }),
    and_above: ratio().default(0).meta({ description: 'No breach at or below this share, whatever the baseline. Default: 0.' }),
  })
  .check(
    always((value, refuse) => {
      if (value['by_at_least'] === 1) refuse('by_at_least', 'expected a ratio below 1; by 100% more can never fire');
      if (value['and_above'] === 1) refuse('and_above', 'expected a ratio below 1; above 100% can never fire');
    }),
  );

const errorRatio = z
  .strictObject({
    window: detectKeys.window,
    above: ratio()
      .refine((value) => value < 1, 'expected a ratio below 1; above 100% can never fire')
      .optional()
      .meta({ description: 'Breach when the share of failed requests is above it: 5% or 0.05. Exactly one of above, above_baseline.' }),
    above_baseline: ratioOfBaseline.optional().meta({
      description: 'Breach when it is above times × that of the baseline version + by_at_least, and above and_above. Exactly one of above, above_baseline.',
    }),
    min_requests: detectKeys.min_requests,
    ...sequentialKeys,
  })
  .check(
    oneLimit,
    detectChecks(({ above }) => (typeof above === 'number' ? above : null)),
    always(({ detect, above }, refuse) => {
      if (detect === 'sequential' && above === 0) refuse('above', 'expected a ratio above 0; of no errors at all nothing can be counted');
    }),
  );

const durationOfBaseline = z.strictObject({
  times,
  by_at_least: duration().default(0).meta({ description: 'And this much is added. Default: 0s.', default: '0s' }),
  and_above: duration().default(0).meta({ description: 'No breach at or below this, whatever the baseline. Default: 0s.', default: '0s' }),
});

const latency = z
  .strictObject({
    quantile: z
      .number({ error: 'expected a quantile between 0 and 1; write 0.99' })
      .min(0, 'expected a quantile between 0 and 1; write 0.99')
      .max(1, 'expected a quantile between 0 and 1; write 0.99')
      .meta({ description: 'Quantile of the request duration, 0..1, such as 0.99. Required.' }),
    window: detectKeys.window,
    above: duration({ minMs: 1, minText: '1ms' })
      .optional()
      .meta({ description: 'Breach when the quantile is above it, such as 250ms. Exactly one of above, above_baseline.' }),
    above_baseline: durationOfBaseline.optional().meta({
      description: 'Breach when it is above times × that of the baseline version + by_at_least, and above and_above. Exactly one of above, above_baseline.',
    }),
    min_requests: detectKeys.min_requests,
    ...sequentialKeys,
    bound: z.enum(['conservative', 'interpolate']).optional().meta({
      description:
        'Of latency, for a limit inside a bucket: conservative counts what is certainly slower, interpolate what Prometheus would show (outside the promise about false alarms). Default: conservative.',
    }),
  })
  .check(
    oneLimit,
    detectChecks(({ quantile }) => (typeof quantile === 'number' && quantile > 0 && quantile < 1 ? 1 - quantile : null)),
    always(({ detect, quantile }, refuse) => {
      if (detect === 'sequential' && (quantile === 0 || quantile === 1))
        refuse('quantile', 'expected a quantile above 0 and below 1 beside detect: sequential');
    }),
  );

const rateLimits = {
  window,
  above: positiveNumber().optional().meta({ description: 'Breach when there are more requests per second. Exactly one of above, below.' }),
  below: z
    .number({ error: 'expected a number of requests per second above 0' })
    .gt(0, 'expected a number of requests per second above 0; below 0 can never fire')
    .optional()
    .meta({ description: 'Breach when there are fewer requests per second. Exactly one of above, below.' }),
};

const oneRate = exactlyOneOf(['above', 'below'], {
  none: 'needs a limit, found none; add above or below, in requests per second',
  both: 'found above and below, expected one of them; write two rules',
});

const requestRate = z
  .strictObject({
    ...rateLimits,
    min_requests: wholeNumber(0)
      .default(0)
      .meta({ description: 'Fewer requests than this in the window are no data. Default: 0 (here the number of requests is itself the signal).' }),
  })
  .check(
    oneRate,
    always((value, refuse) => {
      const { below, window: windowMs, min_requests: least } = value;
      if (typeof below !== 'number' || typeof windowMs !== 'number' || typeof least !== 'number' || below <= 0 || (below * windowMs) / 1000 > least) return;
      refuse(
        'min_requests',
        `found ${least}, but below ${below} per second there are fewer than that in ${formatDuration(windowMs)}: it could never fire; lower it`,
      );
    }),
  );

const whileOthers = z.strictObject({
  request_rate: z.strictObject(rateLimits).check(oneRate).meta({ description: 'Requests per second of all other versions together. Required.' }),
});

const burnRateWindow = z
  .strictObject({
    long: window.meta({ description: 'Long window: it shows that the loss is large. Required.' }),
    short: window.meta({ description: 'Short window: it shows that the loss goes on. Required.' }),
    above: z
      .number({ error: 'expected a burn rate above 0; write 14.4' })
      .gt(0, 'expected a burn rate above 0; write 14.4')
      .meta({ description: 'Breach when both burn rates are above it; 1 just uses the budget up. Required.' }),
  })
  .check(
    always(({ long, short }, refuse) => {
      if (typeof long === 'number' && typeof short === 'number' && short >= long)
        refuse('short', `found ${formatDuration(short)}, expected less than long (${formatDuration(long)})`);
    }),
  );

const burnRate = z
  .strictObject({
    objective: ratio()
      .refine((value) => value > 0 && value < 1, 'expected a ratio between 0 and 1, such as 99.9%; an objective of 100% has no budget')
      .meta({ description: 'Share of requests that must succeed: 99.9% or 0.999. Required.' }),
    windows: z
      .array(burnRateWindow, { error: 'expected a list of {long, short, above}' })
      .min(1, 'expected at least one {long, short, above}')
      .meta({ description: 'Pairs of windows; any pair is enough. Required.' }),
    min_requests: wholeNumber(0).default(defaultMinRequests).meta({ description: 'Fewer requests than this in the long window are no data. Default: 100.' }),
  })
  .check(
    always(({ objective, windows }, refuse) => {
      if (typeof objective !== 'number' || !(objective > 0 && objective < 1) || !Array.isArray(windows)) return;
      const highest = 1 / (1 - objective);
      const never = windows.find((pair: { above?: unknown }) => typeof pair?.above === 'number' && pair.above >= highest);
      if (never !== undefined)
        refuse(
          'windows',
          `found above: ${never.above}, but when every request fails the burn rate is ${Number(highest.toPrecision(4))}: it could never fire; lower it`,
        );
    }),
  );

const qualityLimit = z.number({ error: 'expected a number; write 0.9' });
const quality = z
  .strictObject({
    metric: text({ min: 1, expected: 'the name of a metric' }).optional().meta({
      description: 'Metric that was logged in the model’s registry (MLflow) on the version’s run or on a newer evaluation of it. Exactly one of metric, gauge.',
    }),
    gauge: z
      .string({ error: 'expected the name of a gauge' })
      .regex(/^[a-zA-Z_:][a-zA-Z0-9_:]*$/, 'expected the name of a gauge, without selector and function')
      .optional()
      .meta({ description: 'Gauge of the model’s source; the mean of its series. Exactly one of metric, gauge.' }),
    matchers: z
      .array(matcher('required'), { error: 'expected a list of matchers; write [\'model="fraud"\']' })
      .optional()
      .meta({ description: 'Beside gauge: matchers in PromQL that select this model. Default: none.' }),
    below: qualityLimit.optional().meta({ description: 'Breach when the value is below it (accuracy, AUC). Exactly one of below, above.' }),
    above: qualityLimit.optional().meta({ description: 'Breach when the value is above it (loss, drift). Exactly one of below, above.' }),
    max_age: duration({ minMs: 1000, minText: '1s' })
      .optional()
      .meta({ description: 'An older value is no data. Default: of a gauge 5m, of a metric none: it may be days old and valid.' }),
  })
  .check(
    exactlyOneOf(['metric', 'gauge'], {
      none: 'needs metric or gauge, found neither',
      both: 'found metric and gauge, expected one of them; write two rules, or all or any',
    }),
    exactlyOneOf(['below', 'above'], {
      none: 'needs a limit, found none; add below (accuracy) or above (loss)',
      both: 'found below and above, expected one of them; write two rules, or any',
    }),
    always((value, refuse) => {
      if (value['matchers'] !== undefined && value['gauge'] === undefined) refuse('matchers', 'stands beside gauge only');
    }),
  );

/** What stands under exactly one key of a condition. */
const signals = ['error_ratio', 'latency', 'request_rate', 'burn_rate', 'quality', 'all', 'any'] as const;

/** A condition as the schema gives it. */
export type ParsedCondition = {
  readonly error_ratio?: z.output<typeof errorRatio> | undefined;
  readonly latency?: z.output<typeof latency> | undefined;
  readonly request_rate?: z.output<typeof requestRate> | undefined;
  readonly while_others?: z.output<typeof whileOthers> | undefined;
  readonly burn_rate?: z.output<typeof burnRate> | undefined;
  readonly quality?: z.output<typeof quality> | undefined;
  readonly all?: readonly ParsedCondition[] | undefined;
  readonly any?: readonly ParsedCondition[] | undefined;
};

const several = (): z.ZodType<readonly ParsedCondition[]> =>
  z
    .array(
      z.lazy((): z.ZodType<ParsedCondition> => conditionSchema),
      { error: 'expected a list of conditions' },
    )
    .min(2, 'expected at least two conditions in this list');

/** One signal with its limit, or several conditions. */
export const conditionSchema: z.ZodType<ParsedCondition> = z
  .strictObject({
    error_ratio: errorRatio.optional().meta({ description: 'Share of failed requests, 0..1.' }),
    latency: latency.optional().meta({ description: 'Quantile of the request duration.' }),
    request_rate: requestRate.optional().meta({ description: 'Requests per second.' }),
    while_others: whileOthers.optional().meta({ description: 'Beside request_rate: a breach only while all other versions together get this much.' }),
    burn_rate: burnRate.optional().meta({ description: 'Error budget spent too fast, over a long and a short window alike.' }),
    quality: quality.optional().meta({ description: 'How good the answers are: a metric of the registry, or a gauge.' }),
    all: several().optional().meta({ description: 'Breach when every one of these conditions is in breach.' }),
    any: several().optional().meta({ description: 'Breach when one of these conditions is in breach.' }),
  })
  .check(
    exactlyOneOf(signals, {
      none: `needs one signal, found none; write one of ${signals.join(', ')}`,
      both: 'found a second signal, expected one; write two rules, or all or any',
    }),
    always((value, refuse) => {
      if (value['while_others'] !== undefined && value['request_rate'] === undefined) refuse('while_others', 'stands beside request_rate only');
    }),
  )
  .meta({ id: 'condition' });
