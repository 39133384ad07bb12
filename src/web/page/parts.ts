import { formatAge } from '../../domain/duration.ts';
import { stateMark, type Tone } from '../../domain/state-mark.ts';
import { trimNumber } from '../../domain/words.ts';
import { type Html, html } from './html.ts';

/** Where a page stands: all its links are relative, so that a proxy may put them under any path. */
export type Place = {
  /** From the page to the root: `./`, `../`. */
  readonly root: string;
  readonly nowMs: number;
};

/** Words of a state: `dry_run` → `dry run`. */
export function wordsOf(state: string): string {
  return state.replaceAll('_', ' ');
}

/** Glyph, word and colour. */
export function badge(state: string, options: { readonly words?: string; readonly tone?: Tone; readonly glyph?: string } = {}): Html {
  const mark = stateMark(state);
  const tone = options.tone ?? mark?.tone ?? 'quiet';
  const glyph = options.glyph ?? mark?.glyph ?? '·';
  return html`<span class="badge ${tone}"><span class="glyph" aria-hidden="true">${glyph}</span> ${options.words ?? wordsOf(state)}</span>`;
}

/** A name from elsewhere: whatever direction its letters have, it stays in its place. */
export function name(text: string): Html {
  return html`<bdi class="name">${text}</bdi>`;
}

export function modelLink(model: string, { root }: Place): Html {
  return html`<a href="${root}models/${segment(model)}">${name(model)}</a>`;
}

export function rollbackLink(id: string, { root }: Place, text: Html = id): Html {
  return html`<a href="${root}rollbacks/${segment(id)}">${text}</a>`;
}

/** One segment of a path. */
export function segment(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

/** A link to elsewhere; text alone when the address is none that may be followed: only http and https, and no password in it. */
export function outerLink(url: string, text: string): Html {
  const parsed = URL.parse(url);
  const isWeb = parsed !== null && (parsed.protocol === 'http:' || parsed.protocol === 'https:') && parsed.username === '' && parsed.password === '';
  return isWeb ? html`<a href=${parsed.href} rel="noreferrer noopener">${text}</a>` : html`<span>${text}</span>`;
}

const clock = new Intl.DateTimeFormat('en-GB', {
  timeZone: 'UTC',
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

/** `22 Nov 2026, 12:00:04 UTC` */
function spellInstant(atMs: number): string {
  return `${clock.format(atMs)} UTC`;
}

/** An instant, ms since 1970 or RFC 3339. */
export function when(at: number | string): Html {
  const instant = new Date(at);
  return html`<time datetime=${instant.toISOString()}>${spellInstant(instant.getTime())}</time>`;
}

/** How long ago (or until then), with the instant behind it. */
export function age(at: number | string | null, nowMs: number): Html {
  const atMs = typeof at === 'string' ? Date.parse(at) : at;
  if (atMs === null || Number.isNaN(atMs)) return null;
  return html`<time datetime=${new Date(atMs).toISOString()} title=${spellInstant(atMs)}>${ageOf(atMs, nowMs)}</time>`;
}

function ageOf(atMs: number, nowMs: number): string {
  return atMs > nowMs ? `in ${formatAge(atMs - nowMs)}` : `${formatAge(nowMs - atMs)} ago`;
}

/** `85 ms`, `12.5 s`, `3m20s`. */
export function took(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.round(durationMs)} ms`;
  return durationMs < 60_000 ? `${trimNumber(Math.round(durationMs / 100) / 10)} s` : formatAge(durationMs);
}

function dash(): Html {
  return html`<span class="none"><span aria-hidden="true">–</span><span class="hidden">none</span></span>`;
}

/** `1 model`, `3 models`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

export type Column<Row> = {
  readonly head: string;
  readonly cell: (row: Row) => Html;
  /** `wide`: takes what is left; `number`: right-aligned; `head`: names its row. */
  readonly kind?: 'wide' | 'number' | 'head';
};

/** A table that becomes a list of cards on a narrow screen; the roles are written out, since its looks take them away there. */
export function table<Row>(
  caption: string,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: { readonly none: string; readonly tone?: (row: Row) => Tone | null },
): Html {
  if (rows.length === 0) return html`<p class="empty">${options.none}</p>`;
  return html`<table role="table">
    <caption class="hidden">${caption}</caption>
    <thead role="rowgroup"><tr role="row">${columns.map(({ head, kind }) => html`<th role="columnheader" scope="col" class=${kind}>${head}</th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map(
      (row) => html`<tr role="row" class=${options.tone?.(row) ?? undefined}>${columns.map((column) => cellOf(column, row))}</tr>`,
    )}</tbody>
  </table>`;
}

/** A cell without content is a dash; among cards it is left out. */
function cellOf<Row>({ head, cell, kind }: Column<Row>, row: Row): Html {
  const content = cell(row);
  if (kind === 'head') return html`<th role="rowheader" scope="row" class="head" data-head=${head}>${content}</th>`;
  const isEmpty = content === null || content === '' || (Array.isArray(content) && content.length === 0);
  return html`<td role="cell" class=${isEmpty ? `${kind ?? ''} void` : kind} data-head=${head}><div>${isEmpty ? dash() : content}</div></td>`;
}

/** Names and values; what has no value is left out. */
export function facts(entries: readonly (readonly [term: string, value: Html])[]): Html {
  const shown = entries.filter(([, value]) => value !== null && value !== '' && value !== false);
  return html`<dl class="facts">${shown.map(([term, value]) => html`<div><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** A part of a page under its heading. */
export function section(id: string, heading: string, content: Html, aside: Html = null): Html {
  return html`<section aria-labelledby=${id}><div class="heading"><h2 id=${id}>${heading}</h2>${aside}</div>${content}</section>`;
}
