import type { Tone } from '../../domain/state-mark.ts';
import type { ModelView, StatusView } from '../api.ts';
import { type PartRow, partRows } from '../status-parts.ts';
import { type Html, html } from './html.ts';
import type { Page } from './layout.ts';
import { age, badge, type Column, facts, modelLink, name, type Place, plural, section, table, when } from './parts.ts';

/** What rollbackd talks to, whether that works, and what keeps it from acting. */
export function statusPage(status: StatusView, models: readonly ModelView[], place: Place): Page {
  const { leader, journal, config } = status;
  const parts = partRows(status);
  const down = parts.filter(isDown).length;
  return {
    title: down === 0 ? 'Status' : `(${down}) Status`,
    at: 'status',
    json: 'api/v1/status',
    gist: down === 0 ? 'nothing is down' : `${plural(down, 'part')} down`,
    main: html`<h1>Status</h1>
      ${troubleBanner(status, models, place)}
      ${facts([
        ['This process', leader.leads ? 'leads: it acts' : 'follows: it watches'],
        ['Known to lead', leader.holder === null ? null : name(leader.holder)],
        ['Journal', `${journal.kind}, epoch ${journal.epoch}${journal.size_bytes === null ? '' : `, ${spellBytes(journal.size_bytes)}`}`],
        ['Messages waiting', String(status.messages_waiting)],
        ['Settings loaded', when(config.loaded)],
        ['Started', when(status.started)],
        ['Hash of the settings', html`<code>${config.hash}</code>`],
      ])}
      ${section('parts', 'What it talks to', partTable(parts, place))}
      ${status.freeze_windows.length === 0 ? null : section('freezes', 'Freeze windows', freezeTable(status))}`,
  };
}

/** The settings are refused, not down. */
function isDown({ up, part }: PartRow): boolean {
  return up === false && part !== 'settings';
}

function partTable(parts: readonly PartRow[], { nowMs }: Place): Html {
  const columns: readonly Column<PartRow>[] = [
    { head: 'Name', kind: 'head', cell: (row) => name(row.name) },
    { head: 'Part', cell: ({ part }) => part },
    { head: 'Kind', cell: ({ kind }) => kind },
    { head: 'State', cell: stateOf },
    { head: 'Since', cell: ({ since }) => age(since, nowMs) },
    { head: 'Last success', cell: ({ last_success }) => age(last_success, nowMs) },
    { head: 'Last error', kind: 'wide', cell: ({ error }) => error },
  ];
  return table('What rollbackd talks to', parts, columns, { none: 'Nothing.', tone: ({ up }) => (up === false ? 'bad' : null) });
}

function stateOf({ up, part }: PartRow): Html {
  if (up === null) return badge('not asked yet', { glyph: '…' });
  const [good, bad] = part === 'settings' ? ['in force', 'refused'] : ['up', 'down'];
  return up ? badge('ok', { words: good }) : badge('failed', { words: bad });
}

function freezeTable({ freeze_windows: windows }: StatusView): Html {
  type Window = StatusView['freeze_windows'][number];
  const columns: readonly Column<Window>[] = [
    { head: 'Window', kind: 'head', cell: (window) => name(window.name) },
    { head: 'Now', kind: 'wide', cell: ({ active }) => (active ? badge('on', { glyph: '❄', tone: 'warn' }) : badge('off', { glyph: '·' })) },
  ];
  return table('Freeze windows', windows, columns, { none: '' });
}

/** Whatever keeps rollbackd from seeing, acting or telling; nothing while all is well. */
export function troubleBanner(status: StatusView, models: readonly ModelView[], place: Place): Html {
  const troubles = troublesOf(status, models, place);
  if (troubles.length === 0) return null;
  const isBad = troubles.some(({ tone }) => tone === 'bad');
  return html`<section class=${`notice ${isBad ? 'bad' : 'warn'}`} aria-label="What is wrong">
    <ul class="plain">${troubles.map(({ tone, glyph, words, detail }) => html`<li>${badge(words, { glyph, tone })} ${detail}</li>`)}</ul>
  </section>`;
}

/** What of it concerns one model, but for what the model's own page says anyway: its control plane, pauses and freezes. */
export function modelBanner(status: StatusView, model: ModelView, place: Place): Html {
  const { sources, flap_locked: flapping } = status;
  return troubleBanner(
    {
      ...status,
      sources: sources.filter(({ name: source }) => source === model.source),
      control_planes: [],
      receivers: [],
      paused: [],
      flap_locked: flapping.filter((name) => name === model.name),
    },
    [],
    place,
  );
}

/** One line of the banner. */
type Trouble = { readonly tone: Tone; readonly glyph: string; readonly words: string; readonly detail: Html };

function troublesOf(status: StatusView, models: readonly ModelView[], place: Place): readonly Trouble[] {
  const since = (at: string | null): Html => (at === null ? null : html` since ${when(at)} (${age(at, place.nowMs)})`);
  return [
    ...followingTrouble(status),
    ...partRows(status)
      .filter(isDown)
      .map((row): Trouble => ({ tone: 'bad', glyph: '✖', words: `${row.part} down`, detail: html`<b>${name(row.name)}</b>${since(row.since)}: ${row.error}` })),
    ...refusedTrouble(status),
    ...status.breakers.map(
      (breaker): Trouble => ({
        tone: 'bad',
        glyph: '‖',
        words: 'breaker open',
        detail: html`<b>${breaker.name}</b>${since(breaker.since)}, nothing is rolled back until it has closed: ${breaker.detail}`,
      }),
    ),
    ...freezeTrouble(models),
    ...status.paused.map((pause): Trouble => {
      const who = pause.model === null ? 'all models' : modelLink(pause.model, place);
      return {
        tone: 'warn',
        glyph: '‖',
        words: 'paused',
        detail: html`${who} by ${name(pause.by)}${since(pause.since)}${pause.until === null ? null : html`, ends ${age(pause.until, place.nowMs)}`}: ${pause.reason}`,
      };
    }),
    ...status.flap_locked.map(
      (model): Trouble => ({
        tone: 'warn',
        glyph: '⟳',
        words: 'flap lock',
        detail: html`${modelLink(model, place)} went back and forth, and is not rolled back until somebody has looked: <code>rollbackd resume</code>`,
      }),
    ),
  ];
}

function followingTrouble({ leader }: StatusView): readonly Trouble[] {
  if (leader.leads) return [];
  const who = leader.holder === null ? 'nobody is known to lead' : html`${name(leader.holder)} leads`;
  return [{ tone: 'warn', glyph: '○', words: 'not leader', detail: html`this process watches and does not act; ${who}` }];
}

function refusedTrouble({ config }: StatusView): readonly Trouble[] {
  if (config.last_reload_successful) return [];
  const faults = html`<ul>${config.faults.map((fault) => html`<li><code>${fault}</code></li>`)}</ul>`;
  return [{ tone: 'bad', glyph: '!', words: 'settings refused', detail: html`those loaded ${when(config.loaded)} stay in force${faults}` }];
}

/** One line for all models that the same windows freeze. */
function freezeTrouble(models: readonly ModelView[]): readonly Trouble[] {
  const byWords = Map.groupBy(
    models.filter(({ frozen }) => frozen.length > 0),
    ({ frozen }) => frozen.join('; '),
  );
  return [...byWords].map(([words, frozen]) => ({
    tone: 'warn',
    glyph: '❄',
    words: 'frozen',
    detail: `${frozen.length === models.length ? 'all models' : plural(frozen.length, 'model')}: ${words}`,
  }));
}

/** `116 KiB`, `1.2 GiB` */
function spellBytes(bytes: number): string {
  const index = Math.min(3, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const amount = bytes / 1024 ** index;
  return `${amount >= 10 ? Math.round(amount) : Math.round(amount * 10) / 10} ${['B', 'KiB', 'MiB', 'GiB'][index] ?? ''}`;
}
