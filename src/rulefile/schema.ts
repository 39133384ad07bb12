import { z } from 'zod';
import { always, exactlyOneOf, type IssueParams } from '../config/key-rules.ts';
import { rollbackSchema } from '../config/policy-schema.ts';
import { duration, labelName, positiveNumber, ratio, text, wholeNumber } from '../config/scalars.ts';
import { template } from '../config/template-schema.ts';
import { formatDuration } from '../domain/duration.ts';
import { annotationVariables } from '../domain/template.ts';
import { checkPromql } from './promql.ts';

/** Requests in the window below which a condition says `no_data`. */
export const defaultMinRequests = 100;

const window = duration({ minMs: 1000, minText: '1s' }).meta({ description: 'How far back the numbers are taken, such as 5m. Required.' });
const minRequests = wholeNumber(0).default(defaultMinRequests).meta({ description: 'Fewer requests than this in the window are no data. Default: 100.' });

const errorRatio = z.strictObject({
  window,
  above: ratio()
    .refine((value) => value < 1, 'expected a ratio below 1; above 100% can never fire')
    .meta({ description: 'Breach when the share of failed requests is above it: 5% or 0.05. Required.' }),
  min_requests: minRequests,
});

const latency = z.strictObject({
  quantile: z
    .number({ error: 'expected a quantile between 0 and 1; write 0.99' })
    .min(0, 'expected a quantile between 0 and 1; write 0.99')
    .max(1, 'expected a quantile between 0 and 1; write 0.99')
    .meta({ description: 'Quantile of the request duration, 0..1, such as 0.99. Required.' }),
  window,
  above: duration({ minMs: 1, minText: '1ms' }).meta({ description: 'Breach when the quantile is above it, such as 250ms. Required.' }),
  min_requests: minRequests,
});

const requestRate = z
  .strictObject({
    window,
    above: positiveNumber().optional().meta({ description: 'Breach when there are more requests per second. Exactly one of above, below.' }),
    below: z
      .number({ error: 'expected a number of requests per second above 0' })
      .gt(0, 'expected a number of requests per second above 0; below 0 can never fire')
      .optional()
      .meta({ description: 'Breach when there are fewer requests per second. Exactly one of above, below.' }),
    min_requests: wholeNumber(0)
      .default(0)
      .meta({ description: 'Fewer requests than this in the window are no data. Default: 0 (here the number of requests is itself the signal).' }),
  })
  .check(
    exactlyOneOf(['above', 'below'], {
      none: 'needs a limit, found none; add above or below, in requests per second',
      both: 'found above and below, expected one of them; write two rules',
    }),
    always((value, refuse) => {
      const { below, window: windowMs, min_requests: least } = value;
      if (typeof below !== 'number' || typeof windowMs !== 'number' || typeof least !== 'number' || below <= 0 || (below * windowMs) / 1000 > least) return;
      refuse(
        'min_requests',
        `found ${least}, but below ${below} per second there are fewer than that in ${formatDuration(windowMs)}: it could never fire; lower it`,
      );
    }),
  );

const signals = ['error_ratio', 'latency', 'request_rate'] as const;

const condition = z
  .strictObject({
    error_ratio: errorRatio.optional().meta({ description: 'Share of failed requests, 0..1.' }),
    latency: latency.optional().meta({ description: 'Quantile of the request duration.' }),
    request_rate: requestRate.optional().meta({ description: 'Requests per second.' }),
  })
  .check(
    exactlyOneOf(signals, {
      none: `needs one signal, found none; write one of ${signals.join(', ')}`,
      both: 'found a second signal, expected one; write two rules',
    }),
  );

const expr = text({ min: 1, expected: 'a PromQL expression' }).transform((given, context) => {
  const facts = checkPromql(given);
  for (const fault of facts.faults) {
    const params: IssueParams = { within: { offset: fault.offset, length: fault.length }, code: 'promql' };
    context.addIssue({ code: 'custom', message: `PromQL: ${fault.message}`, params });
  }
  return { text: given, facts };
});

const alertLabelName = labelName().refine((name) => name !== '__name__', 'expected a label name; __name__ is reserved');
const missingData = z.enum(['hold', 'alert']).default('hold');

export const ruleSchema = z
  .strictObject({
    alert: text({ min: 1, expected: 'the name of the alert' }).meta({ description: 'Name of the alert, CamelCase by custom. Required.' }),
    expr: expr.optional().meta({ description: 'PromQL; every element of the answer is one version in breach. Exactly one of expr, condition.' }),
    min_requests: wholeNumber(0).optional().meta({
      description:
        '+ Beside expr: fewer requests than this (of the model’s requests signal, over the longest range of the expression or 5m) are no data. Required when the rule may act. Default: not asked for.',
    }),
    condition: condition.optional().meta({ description: '+ One signal with its limit. Exactly one of expr, condition.' }),
    for: duration().default(0).meta({ description: 'A breach must last this long. Default: 0s.', default: '0s' }),
    keep_firing_for: duration().default(0).meta({ description: 'The alert is kept firing this long after the breach ended. Default: 0s.', default: '0s' }),
    labels: z
      .record(alertLabelName, template(annotationVariables), { error: 'expected a map of label names to values' })
      .default({})
      .meta({ description: 'Labels of the alert; templates may be used. Default: none.' }),
    annotations: z
      .record(labelName(), template(annotationVariables), { error: 'expected a map of names to texts' })
      .default({})
      .meta({ description: 'Texts of the alert: summary, runbook_url …; templates may be used. Default: none.' }),
    on_no_data: missingData.meta({ description: '+ When the numbers are missing: hold (nothing) or alert (tell). Never a rollback. Default: hold.' }),
    on_error: missingData.meta({ description: '+ When the source failed: hold (nothing) or alert (tell). Never a rollback. Default: hold.' }),
    rollback: rollbackSchema
      .optional()
      .meta({ description: '+ The rule acts: {} with the model’s defaults, or keys that override them. Default: absent, the rule only tells.' }),
  })
  .check(
    exactlyOneOf(['expr', 'condition'], { none: 'needs expr or condition, found neither', both: 'found expr and condition, expected one of them' }),
    always((value, refuse) => {
      if (value['condition'] !== undefined && value['min_requests'] !== undefined && value['expr'] === undefined)
        refuse('min_requests', 'stands beside expr only; put it into the condition');
      const { expr: written, rollback } = value;
      if (written === undefined || typeof rollback !== 'object' || rollback === null) return;
      const mode = (rollback as { mode?: unknown }).mode;
      if (mode !== 'dry_run' && mode !== 'off' && value['min_requests'] === undefined)
        refuse('expr', 'needs min_requests beside it, since the rule may act in enforce; add min_requests: 100 (or rollback: {mode: dry_run})', {
          code: 'missing_key',
        });
      const absent = (written as { facts?: ReturnType<typeof checkPromql> }).facts?.absent ?? null;
      if (absent !== null)
        refuse(
          'expr',
          `${absent.message}() says something because numbers are missing, and a rule that acts must not; remove rollback or ${absent.message}()`,
          { within: absent, code: 'promql' },
        );
    }),
  );

/** A rule as the schema gives it. */
export type ParsedRule = z.output<typeof ruleSchema>;

export const groupSchema = z.strictObject({
  name: text({ min: 1, expected: 'the name of the group' }).meta({ description: 'Name of the group, unique in its file. Required.' }),
  model: text({ min: 1, expected: 'the name of a model of the daemon’s file' }).meta({
    description: '+ Model that the rules judge, as the daemon’s file names it. Required.',
  }),
  interval: duration({ minMs: 1000, minText: '1s' })
    .optional()
    .meta({ description: 'How often the rules are judged, 1s or more. Default: global.evaluation_interval.' }),
  labels: z
    .record(alertLabelName, template(annotationVariables), { error: 'expected a map of label names to values' })
    .default({})
    .meta({ description: 'Labels added to every rule of the group; a rule’s own win. Default: none.' }),
  rules: z.array(ruleSchema, { error: 'expected a list of rules' }).meta({ description: 'Rules of the group. Required.' }),
});

const groups = z
  .array(groupSchema.meta({ id: 'group', description: 'Rules of one model that are judged together.' }), { error: 'expected a list of groups' })
  .meta({ description: 'Groups of rules that are judged together. Required.' });

/** `groups:` at the top, as in Prometheus. */
export const ruleFileSchema = z.strictObject({ groups });

/** The shape of the operator's PrometheusRule; `metadata.name` joins the group's name. */
export const prometheusRuleSchema = z.strictObject({
  apiVersion: z.literal('monitoring.coreos.com/v1').meta({ description: 'Always monitoring.coreos.com/v1. Required.' }),
  kind: z.literal('PrometheusRule').meta({ description: 'Always PrometheusRule. Required.' }),
  metadata: z
    .looseObject({ name: text({ min: 1, expected: 'a name' }).meta({ description: 'Stands before each group’s name. Required.' }) })
    .meta({ description: 'Kubernetes metadata; only the name is used. Required.' }),
  spec: ruleFileSchema.meta({ description: 'The rules. Required.' }),
});
