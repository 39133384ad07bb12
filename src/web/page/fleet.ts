import { percent } from '../../domain/words.ts';
import type { ModelView, VersionView } from '../api.ts';
import { type Html, html } from './html.ts';
import type { Page } from './layout.ts';
import { age, badge, modelLink, name, type Place, plural, rollbackLink, table, wordsOf } from './parts.ts';

/** Models on one page. */
const pageLength = 200;

/** What is looked for: a part of the name; whether only models that need a look are shown; which page of them, from 1. */
export type FleetQuery = { readonly name: string; readonly show: 'all' | 'look'; readonly page: number };

/** Gravest first: what a model is at, whatever its mode. */
type Concern = 'breach' | 'error' | 'rolling_back' | 'pending' | 'no_data' | 'fine';
const concerns: readonly Concern[] = ['breach', 'error', 'rolling_back', 'pending', 'no_data', 'fine'];

/** All models, those that need a look first. */
export function fleetPage(models: readonly ModelView[], query: FleetQuery, banner: Html, place: Place): Page {
  const wanted = query.name.toLowerCase();
  const sorted = models
    .filter((model) => model.name.toLowerCase().includes(wanted) && (query.show === 'all' || needsLook(model)))
    .toSorted((a, b) => concerns.indexOf(concernOf(a)) - concerns.indexOf(concernOf(b)) || (a.name < b.name ? -1 : 1));
  const pages = Math.max(1, Math.ceil(sorted.length / pageLength));
  const page = Math.min(query.page, pages);
  const shown = sorted.slice((page - 1) * pageLength, page * pageLength);
  const looks = models.filter(needsLook).length;
  const gist = looks === 0 ? 'no model needs a look' : `${plural(looks, 'model needs', 'models need')} a look`;
  return {
    title: looks === 0 ? 'Fleet' : `(${looks}) Fleet`,
    at: 'fleet',
    gist,
    json: 'api/v1/models',
    search: searchForm(query, place),
    main: html`<h1>Fleet</h1>
      ${banner}
      <p class="lead">${plural(models.length, 'model')}, ${gist}.</p>
      ${table('Models', shown, fleetColumns(place), {
        none: models.length === 0 ? 'The settings name no model.' : 'No model fits what you look for.',
        tone: (model) => toneOf(concernOf(model)),
      })}
      ${pages === 1 ? null : pageLinks(query, page, pages, place)}`,
  };
}

function fleetColumns(place: Place) {
  return [
    { head: 'Model', kind: 'head' as const, cell: (model: ModelView) => modelLink(model.name, place) },
    { head: 'Serving', cell: serving },
    { head: 'Candidate', cell: candidates },
    { head: 'Verdict', kind: 'wide' as const, cell: (model: ModelView) => verdict(model, place) },
    { head: 'Last rollback', cell: (model: ModelView) => lastRollback(model, place) },
    { head: 'Mode', cell: (model: ModelView) => modeOf(model, place.nowMs) },
  ];
}

/** `7`, or with shares where several have traffic; a star where the version is known good. */
function serving({ versions }: ModelView): Html {
  const shares = versions.filter(({ share }) => share > 0).toSorted((a, b) => b.share - a.share);
  if (shares.length === 0) return null;
  return html`<ul class="plain">${shares.map((version) => html`<li>${versionName(version)}${shares.length === 1 ? null : ` ${percent(version.share)}`}</li>`)}</ul>`;
}

function candidates({ versions }: ModelView): Html {
  const found = versions.filter(({ role }) => role === 'candidate');
  if (found.length === 0) return null;
  return html`<ul class="plain">${found.map((version) => html`<li>${name(version.version)}<small> ${version.known_good_reason}</small></li>`)}</ul>`;
}

function versionName(version: VersionView): Html {
  return version.known_good
    ? html`${name(version.version)}<span class="good" title=${version.known_good_reason}> ✔<span class="hidden"> known good</span></span>`
    : name(version.version);
}

function verdict(model: ModelView, place: Place): Html {
  return html`<div class="verdict"><div>${verdictBadge(model, place)}</div>${reasonOf(model)}</div>`;
}

/** The gravest that is to be said of it. */
export function verdictBadge(model: ModelView, place: Place): Html {
  const rolling =
    model.rollback_in_progress === null ? null : rollbackLink(model.rollback_in_progress, place, badge('rolling back', { glyph: '↩', tone: 'warn' }));
  const judged = model.verdict === null ? badge('not judged yet', { glyph: '…' }) : badge(model.verdict);
  return html`${rolling} ${model.error === null ? judged : badge('error', { words: 'not observed' })}`;
}

function reasonOf({ error, reason }: ModelView): Html {
  const words = [error, reason].filter((text) => text !== null && text !== '');
  return words.map((text) => html`<p class="reason">${text}</p>`);
}

function lastRollback({ last_rollback: last }: ModelView, place: Place): Html {
  if (last === null) return null;
  return html`${rollbackLink(last.id, place, badge(last.outcome ?? 'open'))}<small> ${age(last.at, place.nowMs)}</small>`;
}

/** Mode, and what holds it back. */
export function modeOf({ mode, paused, frozen, pinned }: ModelView, nowMs: number): Html {
  return html`<span class="mode">${wordsOf(mode)}</span>${
    paused === null
      ? null
      : html` ${badge('paused', { glyph: '‖', tone: 'warn' })}${paused.until === null ? null : html`<small> ends ${age(paused.until, nowMs)}</small>`}`
  }${frozen.length === 0 ? null : html` ${badge('frozen', { glyph: '❄', tone: 'warn' })}`}${pinned ? html` ${badge('pinned', { glyph: '⊙', tone: 'quiet' })}` : null}`;
}

function concernOf({ verdict: kind, error, rollback_in_progress: rolling }: ModelView): Concern {
  if (kind === 'breach') return 'breach';
  if (error !== null || kind === 'error') return 'error';
  if (rolling !== null) return 'rolling_back';
  return kind === 'pending' || kind === 'no_data' ? kind : 'fine';
}

/** Few requests are no concern by themselves: at night every model is without data. */
function needsLook(model: ModelView): boolean {
  const concern = concernOf(model);
  return concern !== 'fine' && concern !== 'no_data';
}

function toneOf(concern: Concern) {
  return concern === 'breach' || concern === 'error' ? ('bad' as const) : concern === 'pending' || concern === 'rolling_back' ? ('warn' as const) : null;
}

function searchForm(query: FleetQuery, { root }: Place): Html {
  return html`<search>
    <form action=${root} method="get">
      <label><span class="hidden">Model’s name contains</span><input type="search" name="name" value=${query.name} placeholder="Model’s name" autocomplete="off" /></label>
      <label class="check"><input type="checkbox" name="show" value="look" checked=${query.show === 'look'} /> only what needs a look</label>
      <button>Show</button>
    </form>
  </search>`;
}

function pageLinks(query: FleetQuery, page: number, pages: number, { root }: Place): Html {
  const to = (other: number, rel: string, label: string): Html => {
    const asked = new URLSearchParams({
      ...(query.name === '' ? {} : { name: query.name }),
      ...(query.show === 'all' ? {} : { show: query.show }),
      page: String(other),
    });
    return html`<a href="${root}?${asked.toString()}" rel=${rel}>${label}</a>`;
  };
  return html`<nav class="pages" aria-label="More models">
    ${page > 1 ? to(page - 1, 'prev', '← Before') : null} <span>Page ${page} of ${pages}</span> ${page < pages ? to(page + 1, 'next', 'Next →') : null}
  </nav>`;
}
