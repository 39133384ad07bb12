import { lookUp } from '../domain/lookup.ts';
import type { Model } from '../domain/model.ts';
import type { ControlPlane } from '../domain/ports.ts';
import type { Rule } from '../domain/rule.ts';
import { annotationVariables, linkVariables, parseTemplate, renderTemplate, type TemplateValues, type TemplateVariable } from '../domain/template.ts';

/** Values a rule's labels, annotations and a model's links are filled with. */
export type TextValues = TemplateValues & { readonly model: string; readonly version: string };

/** Labels and annotations of an alert; `model` and `version` join the labels, as Prometheus would have them. */
export function renderRuleTexts(
  rule: Rule | null,
  values: TextValues,
): { readonly labels: Readonly<Record<string, string>>; readonly annotations: Readonly<Record<string, string>> } {
  const own = { model: values.model, version: values.version };
  if (rule === null) return { labels: own, annotations: {} };
  const labels = { ...renderAll(rule.labels, { ...values, labels: own }, annotationVariables), ...own, alertname: rule.alert };
  return { labels, annotations: renderAll(rule.annotations, { ...values, labels }, annotationVariables) };
}

/** A model's links, filled for one version. */
export function renderLinks(links: Readonly<Record<string, string>>, values: TextValues): Readonly<Record<string, string>> {
  return renderAll(links, values, linkVariables);
}

/** Links of one version: the plane's and the model's; the file's beat the plane's. */
export function renderVersionLinks(model: Model, plane: ControlPlane | undefined, version: string): Readonly<Record<string, string>> {
  return { ...plane?.origin?.({ model: model.name, plane: model.plane }, version), ...renderLinks(model.links, { model: model.name, version }) };
}

/**
 * Links of an episode: the plane's and the model's for the version that is left, and as `<name>_to` those that lead elsewhere for the target.
 * A name of the file's own is kept.
 */
export function renderEpisodeLinks(
  model: Model,
  plane: ControlPlane | undefined,
  { from, to }: { readonly from: string; readonly to: string },
): Readonly<Record<string, string>> {
  const left = renderVersionLinks(model, plane, from);
  const target = Object.entries(renderVersionLinks(model, plane, to))
    .filter(([name, url]) => url !== lookUp(left, name))
    .map(([name, url]) => [`${name}_to`, url] as const);
  return Object.fromEntries([...Object.entries(left), ...target.filter(([name]) => !Object.hasOwn(left, name))]);
}

/** Templates were parsed at load; one that does not parse after all is shown as it stands rather than lost. */
function renderAll(texts: Readonly<Record<string, string>>, values: TemplateValues, variables: readonly TemplateVariable[]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(texts).map(([key, text]) => {
      const parsed = parseTemplate(text, variables);
      return [key, parsed.template === undefined ? text : renderTemplate(parsed.template, values)];
    }),
  );
}
