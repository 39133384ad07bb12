import type { Decision } from '../../domain/decision.ts';
import type { Episode, EpisodeGroup, EpisodeStep, SmokeResult } from '../../domain/episode.ts';
import { percent, seconds, trimNumber } from '../../domain/words.ts';
import { type Html, html } from './html.ts';
import type { Page } from './layout.ts';
import { badge, type Column, facts, modelLink, name, outerLink, type Place, rollbackLink, section, segment, table, took, when, wordsOf } from './parts.ts';
import { stateBadge } from './rollbacks.ts';

/** One rollback, from what was seen to how it ended. `decision`: the one that opened it, where it is still kept. */
export function rollbackPage(episode: Episode, decision: Decision | null, place: Place): Page {
  const { root } = place;
  const past = episode.steps.filter(({ isPast }) => isPast === true);
  const present = episode.steps.filter(({ isPast }) => isPast !== true);
  const links = Object.entries(episode.links);
  const notes = episode.notes ?? [];
  const path = `rollbacks/${segment(episode.id)}`;
  return {
    title: `${episode.model} ${episode.from} → ${episode.to}`,
    at: null,
    json: `api/v1/${path}`,
    gist: `${episode.model}: ${wordsOf(episode.state)}`,
    main: html`<p class="crumbs"><a href="${root}rollbacks">Rollbacks</a> / ${modelLink(episode.model, place)}</p>
      <h1>${headline(episode)} ${stateBadge(episode)}</h1>
      <p class="lead">${sentence(episode)}</p>
      ${episode.detail === '' ? null : html`<p class="lead">${episode.detail}</p>`}
      ${notes.length === 0 && !episode.pinned ? null : html`<div class="notice warn"><ul class="plain">${notes.map((note) => html`<li>${badge('to do', { glyph: '!', tone: 'warn' })} ${note}</li>`)}${episode.pinned ? html`<li>${badge('pinned', { glyph: '⊙', tone: 'warn' })} The control plane holds version ${name(episode.to)}: newer ones are not served until <code>rollbackd unpin ${episode.model}</code>.</li>` : null}</ul></div>`}
      ${section('evidence', 'Evidence', evidence(episode))}
      ${episode.group === undefined ? null : section('group', `Group ${episode.group.name}`, group(episode, episode.group, place))}
      ${section('target', 'Why this version', target(episode, decision))}
      ${section('steps', 'Steps', stepTable('Steps', present, episode))}
      ${past.length === 0 ? null : section('past-steps', 'Steps of plans that were given up', stepTable('Steps of plans that were given up', past, episode))}
      ${section('smoke', 'Smoke test', smokeTable(episode.smokeTests))}
      ${section('course', 'Course', course(episode))}
      ${links.length === 0 ? null : section('links', 'Links', html`<ul class="links">${links.map(([label, url]) => html`<li>${outerLink(url, wordsOf(label))}</li>`)}</ul>`)}
      <p class="fine">The whole record: <a href="${root}api/v1/${path}">as JSON</a>, or <code>rollbackd describe rollback ${episode.id}</code></p>`,
  };
}

function headline({ model, from, to, mode, state }: Episode): Html {
  const verb = mode === 'dry_run' ? 'Would roll back' : state === 'succeeded' ? 'Rolled back' : state === 'rejected' ? 'Did not roll back' : 'Rollback of';
  return html`${verb} ${name(model)} ${name(from)} → ${name(to)}`;
}

/** What happened, in two sentences. */
function sentence({ rule, trigger, requestedBy, reason, detectedAtMs, switchedAtMs, finishedAtMs, mode }: Episode): Html {
  const byHand = html`${trigger === 'manual' ? 'By hand' : wordsOf(trigger)}${requestedBy === null ? null : html`, by ${name(requestedBy)}`}`;
  const since = (atMs: number): string => took(atMs - detectedAtMs);
  const course = [
    ...(switchedAtMs === null ? [] : [`the switch was confirmed ${since(switchedAtMs)}`]),
    ...(finishedAtMs === null || mode === 'dry_run' ? [] : [`the rollback ended ${since(finishedAtMs)}`]),
  ];
  return html`${rule === null ? byHand : html`<b>${name(rule)}</b>`}: ${reason}. Detected ${when(detectedAtMs)}${course.length === 0 ? '' : `; ${course.join(' and ')} after that`}.`;
}

const units: ReadonlyMap<string, (value: number) => string> = new Map([
  ['error_ratio', percent],
  ['slow_ratio', percent],
  ['latency', seconds],
  ['request_rate', (value: number) => `${trimNumber(value)}/s`],
]);

function evidence({ evidence: found, from }: Episode): Html {
  const show = (value: number | null): Html => (value === null ? null : (units.get(found.signal) ?? trimNumber)(value));
  return html`${facts([
    ['Signal', wordsOf(found.signal)],
    [`Version ${from}`, show(found.value) ?? 'no value'],
    ['Limit', show(found.threshold)],
    ['Requests', found.requests === null ? null : trimNumber(Math.round(found.requests))],
    ['Window', found.window],
    ['Compared to', found.baseline === null ? null : html`version ${name(found.baseline.version)}: ${show(found.baseline.value) ?? 'no data'}`],
  ])}
  ${found.series.length === 0 ? null : html`<p>Asked of the source:</p>${found.series.map((query) => html`<pre tabindex="0"><code>${query}</code></pre>`)}`}`;
}

/** Who moves with it, in their order, and who stays. */
function group({ id }: Episode, { kind, leader, members, stays }: EpisodeGroup, place: Place): Html {
  const moving = members.map(
    ({ model, episode }) =>
      html`<li>${episode === id ? name(model) : rollbackLink(episode, place, name(model))}${episode === leader ? ' began it' : null}</li>`,
  );
  const staying = stays.map(({ model, reason }) => html`<li>${name(model)} stays, ${reason}</li>`);
  return html`<p>${kind === 'ordered' ? 'One after the other, in this order' : 'Together'}:</p><ul class="plain">${moving}${staying}</ul>`;
}

function target({ to, policy, triedTargets, refusedTargets }: Episode, decision: Decision | null): Html {
  const rule =
    policy.to.kind === 'last_known_good'
      ? 'the newest version with a good record that was not refused'
      : policy.to.kind === 'version'
        ? 'the version that the settings name'
        : `the version under the label ${policy.to.label}`;
  const others = [...triedTargets.map((version) => ({ version, reason: 'was tried before, and gave up' })), ...refusedTargets];
  const held = (decision?.held ?? []).filter(({ reason }) => reason !== 'go');
  return html`<p>Version ${name(to)}: ${rule}.</p>
    ${decision === null ? null : html`<p>Decided: ${decision.detail}${held.length === 0 ? '' : `; guards that held: ${held.map(({ reason }) => wordsOf(reason)).join(', ')}`}.</p>`}
    ${
      others.length === 0
        ? null
        : table(
            'Versions that were no target',
            others,
            [
              { head: 'Not version', kind: 'head', cell: ({ version }) => name(version) },
              { head: 'Because', kind: 'wide', cell: ({ reason }) => reason },
            ],
            { none: '' },
          )
    }`;
}

const stepMarks = {
  pending: { glyph: '…', tone: 'quiet' },
  started: { glyph: '↻', tone: 'warn' },
  done: { glyph: '✔', tone: 'good' },
  failed: { glyph: '✖', tone: 'bad' },
  inverting: { glyph: '↶', tone: 'warn' },
  inverted: { glyph: '↶', tone: 'quiet' },
} as const;

function stepTable(caption: string, steps: readonly EpisodeStep[], episode: Episode): Html {
  const columns: readonly Column<EpisodeStep>[] = [
    { head: 'Step', kind: 'head', cell: (step) => name(step.name) },
    { head: 'State', cell: ({ state }) => badge(state, { ...stepMarks[state], ...(state === 'inverted' ? { words: 'taken back' } : {}) }) },
    {
      head: 'Began',
      kind: 'number',
      cell: ({ startedAtMs }) =>
        startedAtMs === null ? null : html`<time datetime=${new Date(startedAtMs).toISOString()}>+${took(startedAtMs - episode.detectedAtMs)}</time>`,
    },
    {
      head: 'Took',
      kind: 'number',
      cell: ({ startedAtMs, finishedAtMs }) => (startedAtMs === null || finishedAtMs === null ? null : took(finishedAtMs - startedAtMs)),
    },
    { head: 'Detail', kind: 'wide', cell: ({ detail, attempts }) => html`${detail}${attempts > 1 ? html` <small>(sent ${attempts} times)</small>` : null}` },
  ];
  return table(caption, steps, columns, {
    none: episode.mode === 'dry_run' ? 'A dry run takes none.' : 'None was planned.',
    tone: ({ state }) => (state === 'failed' ? 'bad' : null),
  });
}

function smokeTable(tests: readonly SmokeResult[]): Html {
  const columns: readonly Column<SmokeResult>[] = [
    { head: 'Request', kind: 'head', cell: (test) => name(test.name) },
    { head: 'Outcome', cell: ({ outcome }) => badge(outcome) },
    { head: 'When', cell: ({ when: moment }) => (moment === 'staged' ? 'before traffic moved' : 'when it served') },
    { head: 'Took', kind: 'number', cell: ({ durationMs }) => `${Math.round(durationMs)} ms` },
    { head: 'Detail', kind: 'wide', cell: ({ detail }) => detail },
  ];
  return table('Smoke test', tests, columns, { none: 'None was run.', tone: ({ outcome }) => (outcome === 'failed' ? 'bad' : null) });
}

function course(episode: Episode): Html {
  const moment = (atMs: number | null): Html =>
    atMs === null ? null : html`${when(atMs)}${atMs === episode.detectedAtMs ? null : ` (+${took(atMs - episode.detectedAtMs)})`}`;
  return facts([
    ['Id', html`<code>${episode.id}</code>`],
    ['Mode', wordsOf(episode.mode)],
    ['State', wordsOf(episode.state)],
    ['Outcome', episode.outcome === null ? null : wordsOf(episode.outcome)],
    ['Control plane', episode.controlPlane],
    ['Detected', moment(episode.detectedAtMs)],
    ['Started', moment(episode.startedAtMs)],
    ['Switched', moment(episode.switchedAtMs)],
    ['Recovered', moment(episode.recoveredAtMs)],
    ['Finished', moment(episode.finishedAtMs)],
    ['Corrected', episode.corrected ? 'the switch was taken back by somebody, and made again once' : null],
  ]);
}
