import type { Episode } from '../../domain/episode.ts';
import { type Html, html } from './html.ts';
import type { Page } from './layout.ts';
import { age, badge, type Column, modelLink, name, type Place, rollbackLink, segment, table, took, wordsOf } from './parts.ts';

/** The rollbacks of all models, or of one, newest first. */
export function rollbacksPage(episodes: readonly Episode[], filter: { readonly model?: string; readonly limit: number }, place: Place): Page {
  const { root } = place;
  const query = new URLSearchParams({ ...(filter.model === undefined ? {} : { model: filter.model }), limit: String(filter.limit) }).toString();
  return {
    title: filter.model === undefined ? 'Rollbacks' : `Rollbacks of ${filter.model}`,
    at: 'rollbacks',
    json: `api/v1/rollbacks?${query}`,
    main: html`${filter.model === undefined ? null : html`<p class="crumbs"><a href="${root}">Fleet</a> / <a href="${root}models/${segment(filter.model)}">${name(filter.model)}</a></p>`}
      <h1>Rollbacks${filter.model === undefined ? null : html` of ${name(filter.model)}`}</h1>
      ${rollbackTable(episodes, place, { none: 'None so far.', withModel: filter.model === undefined })}
      ${episodes.length < filter.limit ? null : html`<p class="fine">The newest ${filter.limit}. <a href="${root}rollbacks?${more(filter)}">Up to a thousand</a></p>`}`,
  };
}

function more({ model }: { readonly model?: string }): string {
  return new URLSearchParams({ ...(model === undefined ? {} : { model }), limit: '1000' }).toString();
}

export function rollbackTable(episodes: readonly Episode[], place: Place, options: { readonly none: string; readonly withModel?: boolean }): Html {
  const columns: readonly Column<Episode>[] = [
    { head: 'Detected', kind: 'head', cell: ({ id, detectedAtMs }) => rollbackLink(id, place, age(detectedAtMs, place.nowMs)) },
    ...(options.withModel === true ? [{ head: 'Model', cell: ({ model }: Episode) => modelLink(model, place) }] : []),
    { head: 'From → to', cell: ({ from, to }) => html`${name(from)} → ${name(to)}` },
    { head: 'State', cell: (episode) => stateBadge(episode) },
    {
      head: 'Because',
      kind: 'wide',
      cell: ({ rule, trigger, reason }) => html`${rule === null ? wordsOf(trigger) : name(rule)}<p class="reason">${reason}</p>`,
    },
    {
      head: 'Took',
      kind: 'number',
      cell: ({ detectedAtMs, finishedAtMs, mode }) => (finishedAtMs === null || mode === 'dry_run' ? null : took(finishedAtMs - detectedAtMs)),
    },
  ];
  return table('Rollbacks', episodes, columns, {
    none: options.none,
    tone: (episode) => (episode.finishedAtMs === null ? 'warn' : episode.outcome === 'failure' || episode.outcome === 'unknown' ? 'bad' : null),
  });
}

/** Where it stands, or how it ended. */
export function stateBadge({ state, outcome, finishedAtMs, mode }: Episode): Html {
  if (mode === 'dry_run') return badge('recorded', { words: 'dry run' });
  if (finishedAtMs === null) return badge(state, { glyph: state === 'pending_approval' ? '?' : '↩', tone: 'warn' });
  if (outcome === 'unknown') return badge('unknown', { words: `${wordsOf(state)}, outcome unknown` });
  return badge(state);
}
