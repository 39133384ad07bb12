import htm from 'htm';
import { h, type VNode } from 'preact';
import { renderToString } from 'preact-render-to-string';

/** What a template holds and becomes: texts are escaped when they are rendered, `null` and `false` show nothing. */
export type Html = VNode | string | number | null | false | readonly Html[];

type Attributes = Readonly<Record<string, string | boolean | undefined>>;
type Template = (strings: TemplateStringsArray, ...values: readonly (Exclude<Html, false> | Attributes | boolean | undefined)[]) => Html;

/**
 * Markup as Preact's elements. Values go where text and attributes go, never into names of tags or attributes.
 * @see https://github.com/developit/htm
 */
// Its types are those of its CommonJS build.
export const html = (htm as unknown as { bind(create: typeof h): Template }).bind(h);

/** What would turn or hide text (bidirectional overrides, control characters), and is no markup of ours. */
const steering = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** A whole document. */
export function renderDocument(document: Html): string {
  return `<!doctype html>\n${renderToString(document as VNode)}`.replaceAll(steering, '\ufffd');
}
