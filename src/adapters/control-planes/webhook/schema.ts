import { z } from 'zod';
import { httpConfigSchema } from '../../../config/http-config.ts';
import { exactlyOneOf, type IssueParams } from '../../../config/key-rules.ts';
import { duration, filePath, text } from '../../../config/scalars.ts';
import { parseTemplate, type TemplateVariable } from '../../../domain/template.ts';
import { urlTemplateFault } from '../../../domain/url-template.ts';
import { actionPlaneKeys, smokeBeforeSwitch } from '../action-contract.ts';
import { renderJson } from './json-template.ts';

const observeVariables: readonly TemplateVariable[] = ['model', 'labels'];
export const actionVariables: readonly TemplateVariable[] = ['to', 'from', 'model', 'labels'];

/** A URL in which values may stand, but never in scheme, host or port. */
function urlTemplate(variables: readonly TemplateVariable[]): z.ZodType<string, string> {
  return z.string({ error: 'expected a URL; write https://host/path' }).superRefine((value, context) => {
    const { template, fault } = parseTemplate(value, variables);
    if (fault !== undefined) {
      const params: IssueParams = { within: { offset: fault.offset, length: fault.length }, code: 'template' };
      context.addIssue({ code: 'custom', message: `template: ${fault.message}`, params });
      return;
    }
    const urlFault = urlTemplateFault(template);
    if (urlFault !== null) context.addIssue({ code: 'custom', message: `expected a URL: ${urlFault}` });
    else if (/^https?:\/\/[^/?#]*@/i.test(value))
      context.addIssue({ code: 'custom', message: 'expected a URL without user and password; put them under http_config' });
  });
}

/** A JSON text in which values may stand inside strings. */
const jsonBody = text({ expected: 'a JSON text, a template may stand in its strings' }).superRefine((value, context) => {
  const { template, fault } = parseTemplate(value, actionVariables);
  if (fault !== undefined) {
    context.addIssue({
      code: 'custom',
      message: `template: ${fault.message}`,
      params: { within: { offset: fault.offset, length: fault.length }, code: 'template' },
    });
    return;
  }
  const sample = renderJson(template, { to: '6"', from: '7"', model: 'm"', labels: {} });
  if (sample === null) context.addIssue({ code: 'custom', message: 'expected a JSON text, with templates inside its strings only: {"version": "{{ $to }}"}' });
});

const action = z.strictObject({
  url: urlTemplate(actionVariables).meta({
    description: 'Where the action is sent; {{ $to }}, {{ $from }}, {{ $model }}, {{ $labels.x }} may stand behind the host. Required.',
  }),
  method: z.enum(['POST', 'PUT', 'PATCH']).default('POST').meta({ description: 'HTTP method: POST, PUT or PATCH. Default: POST.', default: 'POST' }),
  body: jsonBody.optional().meta({ description: 'JSON sent; templates may stand in its strings. Default: the whole action (see the plane’s README).' }),
});
export type WebhookAction = z.output<typeof action>;

/** What stands under `webhook` of a control plane. */
export const webhookConfig = z
  .strictObject({
    observe: z
      .strictObject({
        url: urlTemplate(observeVariables).meta({ description: 'Answers what serves; {{ $model }}, {{ $labels.x }} may stand behind the host. Required.' }),
      })
      .meta({ description: 'GET that tells what serves. Required.' }),
    switch: action.meta({ description: 'Moves all traffic to a version. Required.' }),
    stage: action.optional().meta({ description: 'Makes a version able to serve, before traffic moves. Default: none.' }),
    unstage: action.optional().meta({ description: 'Takes a staging back. Default: none, what was staged stays.' }),
    persist: action.optional().meta({ description: 'Makes a switch survive a restart. Default: none.' }),
    signing_secret: text({ min: 1, expected: 'a secret' })
      .optional()
      .meta({ description: 'Secret of the signature; better: signing_secret_file. Default: none.' }),
    signing_secret_file: filePath()
      .optional()
      .meta({ description: 'File that holds the secret of the signature, read at each use and trimmed. Default: none.' }),
    http_config: httpConfigSchema.optional().meta({ description: 'Authentication, TLS and headers. Redirects are never followed. Default: none.' }),
    timeout: duration({ minMs: 1, minText: '1ms' }).prefault('10s').meta({ description: 'Longest time one call may take. Default: 10s.' }),
    poll_timeout: duration({ minMs: 1, minText: '1ms' })
      .prefault('1m')
      .meta({ description: 'How long the Location of a 202 is asked for the end; then it counts as unknown, and what serves is looked at. Default: 1m.' }),
    smoke_before_switch: smokeBeforeSwitch(),
  })
  .check(
    exactlyOneOf(['signing_secret', 'signing_secret_file'], {
      none: 'expected signing_secret_file: the receiver must be able to tell who sends',
      both: 'expected only one of signing_secret and signing_secret_file',
    }),
  );
export type WebhookConfig = z.output<typeof webhookConfig>;

/** What stands under `models[].plane`. */
export const webhookKeys = actionPlaneKeys;
