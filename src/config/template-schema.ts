import type { z } from 'zod';
import { parseTemplate, type TemplateVariable } from '../domain/template.ts';
import type { IssueParams } from './key-rules.ts';
import { text } from './scalars.ts';

/** Text with `{{ … }}` in it, parsed at load; faults are shown where they stand inside the text. */
export function template(variables: readonly TemplateVariable[], options: { min?: number } = {}): z.ZodType<string, string | number | boolean> {
  return text({ expected: 'text, a template may stand in it', ...options }).superRefine((value, context) => {
    const { fault } = parseTemplate(value, variables);
    if (fault === undefined) return;
    const params: IssueParams = { within: { offset: fault.offset, length: fault.length }, code: 'template' };
    context.addIssue({ code: 'custom', message: `template: ${fault.message}`, params });
  });
}
