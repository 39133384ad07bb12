import { z } from 'zod';
import { always, exactlyOneOf, type IssueParams } from '../config/key-rules.ts';
import { rollbackSchema } from '../config/policy-schema.ts';
import { duration, labelName, text, wholeNumber } from '../config/scalars.ts';
import { template } from '../config/template-schema.ts';
import { annotationVariables } from '../domain/template.ts';
import { conditionSchema } from './condition-schema.ts';
import { checkPromql } from './promql.ts';

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
    condition: conditionSchema.optional().meta({ description: '+ One signal with its limit, or all or any of conditions. Exactly one of expr, condition.' }),
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
