import { renderTemplate, type Template, type TemplateValues } from './template.ts';

/**
 * Why a template is no URL that may be asked, or `null`: scheme, host and port must stand there as they are, so that a label's
 * value can never choose who is asked.
 */
export function urlTemplateFault(template: Template): string | null {
  const [first, ...rest] = template.parts;
  if (
    first?.kind === 'text' &&
    /^https?:\/\/[^\s/?#\\]+(?:[/?#]|$)/i.test(first.text) &&
    (rest.length === 0 || /^https?:\/\/[^\s/?#\\]+[/?#]/i.test(first.text))
  )
    return null;
  if (first?.kind === 'text' && !/^https?:\/\//i.test(first.text)) return 'a URL starts with http:// or https://';
  return 'scheme, host and port must be written out, without templates; write http://host:port/… and put templates behind';
}

/**
 * Renders a URL. Each value is percent-encoded as one path segment or query value: it cannot add a `/`, a `?` or another parameter.
 * @throws {UrlTemplateError} when a value is `.` or `..` (a URL would climb by it), empty, half a character, or what a function could not work on
 */
export function renderUrl(template: Template, values: TemplateValues): string {
  return template.parts
    .map((part) => {
      if (part.kind === 'text') return part.text;
      const value = renderTemplate({ source: template.source, parts: [part] }, values);
      if (/^\.{0,2}$/.test(value) || !value.isWellFormed() || value.startsWith('<error expanding template'))
        throw new UrlTemplateError(`a template in the URL gives ${JSON.stringify(value)}, which cannot stand in one`);
      return encodeURIComponent(value);
    })
    .join('');
}

export class UrlTemplateError extends Error {
  override readonly name = 'UrlTemplateError';
}
