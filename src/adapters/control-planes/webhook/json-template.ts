import { renderTemplate, type Template, type TemplateValues } from '../../../domain/template.ts';

/**
 * Renders a JSON text: each value stands inside a string and is escaped as one, so that it can neither end it nor add a key.
 * `null` when what comes out is no JSON.
 */
export function renderJson(template: Template, values: TemplateValues): string | null {
  const rendered = template.parts
    .map((part) => (part.kind === 'text' ? part.text : JSON.stringify(renderTemplate({ source: template.source, parts: [part] }, values)).slice(1, -1)))
    .join('');
  try {
    JSON.parse(rendered);
    return rendered;
  } catch {
    return null;
  }
}
