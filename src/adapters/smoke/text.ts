import type { SmokeContext } from '../../domain/ports.ts';
import { parseTemplate, renderTemplate, smokeVariables, type Template } from '../../domain/template.ts';

/** A template that does not parse; files are checked at load, so this is seen only when a test is built otherwise. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

/** @throws {TemplateError} */
export function parseText(place: string, source: string): Template {
  const { template, fault } = parseTemplate(source, smokeVariables);
  if (fault !== undefined) throw new TemplateError(`${place}: ${fault.message}`);
  return template;
}

/** @throws {TemplateError} */
export function renderText(place: string, source: string, context: SmokeContext): string {
  return renderTemplate(parseText(place, source), context);
}

/** Replaces each secret by `<secret>`; very short ones would blank half the text and are no secrets. */
export function redact(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets.filter((each) => each.length >= 4).toSorted((a, b) => b.length - a.length)) clean = clean.replaceAll(secret, '<secret>');
  return clean;
}
