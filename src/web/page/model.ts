import type { Decision } from '../../domain/decision.ts';
import { formatDuration } from '../../domain/duration.ts';
import type { Episode } from '../../domain/episode.ts';
import { count, percent } from '../../domain/words.ts';
import type { ModelDetailView, RuleGroupView, RuleView, VerdictView, VersionView } from '../api.ts';
import { modeOf, verdictBadge } from './fleet.ts';
import { type Html, html } from './html.ts';
import type { Page } from './layout.ts';
import { age, badge, type Column, facts, name, type Place, plural, rollbackLink, section, segment, table, when, wordsOf } from './parts.ts';
import { rollbackTable } from './rollbacks.ts';

export type ModelContent = {
  /** What is wrong around it. */
  readonly banner: Html;
  readonly model: ModelDetailView;
  /** Of this model. */
  readonly groups: readonly RuleGroupView[];
  readonly decisions: readonly Decision[];
  readonly rollbacks: readonly Episode[];
};

/** One model: its versions, what the rules say of them, what was decided and done. */
export function modelPage({ banner, model, groups, decisions, rollbacks }: ModelContent, place: Place): Page {
  const { root } = place;
  return {
    title: model.name,
    at: null,
    json: `api/v1/models/${segment(model.name)}`,
    gist: `${model.name}: ${model.error === null ? wordsOf(model.verdict ?? 'not judged yet') : 'not observed'}`,
    main: html`<p class="crumbs"><a href=${root}>Fleet</a></p>
      <h1>${name(model.name)} ${verdictBadge(model, place)}</h1>
      ${banner}
      ${model.error === null ? null : html`<div class="notice bad"><p>${badge('error', { words: 'The control plane could not be read' })} ${model.error}</p></div>`}
      ${facts([
        ['Mode', modeOf(model, place.nowMs)],
        [
          'Paused',
          model.paused === null
            ? null
            : html`by ${name(model.paused.by)} since ${when(model.paused.since)}${model.paused.until === null ? null : html`, until ${when(model.paused.until)}`}: ${model.paused.reason}`,
        ],
        ['Frozen', model.frozen.join('; ')],
        ['Pinned', model.pinned ? html`the control plane holds the version on rollbackd’s account; <code>rollbackd unpin</code> gives the policy back` : null],
        ['Source', model.source],
        ['Control plane', model.control_plane],
        ['Observed', model.observed_at === null ? 'not yet' : age(model.observed_at, place.nowMs)],
      ])}
      ${section('versions', 'Versions', versionTable(model.versions, place))}
      ${section('rules', 'Rules', ruleList(model, groups, place))}
      ${section('decisions', 'Decisions', decisionTable(decisions, place), html`<small>the last ${decisions.length}, newest first; also those not to act</small>`)}
      ${section('rollbacks', 'Rollbacks', rollbackTable(rollbacks, place, { none: 'None so far.' }), html`<a href="${root}rollbacks?model=${segment(model.name)}">all of this model</a>`)}`,
  };
}

function versionTable(versions: readonly VersionView[], { nowMs }: Place): Html {
  const columns: readonly Column<VersionView>[] = [
    { head: 'Version', kind: 'head', cell: ({ version }) => name(version) },
    { head: 'Role', cell: ({ role }) => (role === null ? null : badge(role, roleMarks[role])) },
    { head: 'State', cell: ({ state }) => (state === 'failed' ? badge(state) : wordsOf(state)) },
    { head: 'Traffic', kind: 'number', cell: ({ share }) => (share === 0 ? null : percent(share)) },
    {
      head: 'Known good',
      kind: 'wide',
      cell: ({ known_good, known_good_reason }) =>
        html`${badge(known_good ? 'ok' : 'no', { words: known_good ? 'yes' : 'no' })}<p class="reason">${known_good_reason}</p>`,
    },
    { head: 'Quarantined', cell: ({ quarantined_until: until }) => (until === null ? null : html`until ${when(until)}`) },
    { head: 'First seen', cell: ({ first_seen }) => age(first_seen, nowMs) },
  ];
  const sorted = versions.toSorted((a, b) => b.share - a.share || (b.first_seen ?? '').localeCompare(a.first_seen ?? ''));
  return table('Versions', sorted, columns, { none: 'No version was seen yet.', tone: ({ role }) => (role === 'quarantined' ? 'quiet' : null) });
}

const roleMarks = {
  active: { glyph: '▶', tone: 'good' },
  candidate: { glyph: '▷', tone: 'warn' },
  baseline: { glyph: '◆', tone: 'quiet' },
  quarantined: { glyph: '⊘', tone: 'warn' },
} as const;

/** Each rule with what it says of each version. */
function ruleList(model: ModelDetailView, groups: readonly RuleGroupView[], place: Place): Html {
  const rules = groups.flatMap((group) => group.rules.map((rule) => ({ group, rule })));
  if (rules.length === 0) return html`<p class="empty">No rule watches this model: nothing would ever be rolled back.</p>`;
  return html`<div class="rules">${rules.map(({ group, rule }) => ruleCard(group, rule, verdictsOf(model, group, rule), place))}</div>`;
}

/** Several rules of a group may have one name; the journal then numbers them. */
function verdictsOf(model: ModelDetailView, group: RuleGroupView, rule: RuleView): readonly VerdictView[] {
  const alike = group.rules.filter((other) => other.name === rule.name);
  const id = `${group.name}/${rule.name}`;
  const nth = alike.indexOf(rule);
  return model.verdicts.filter((verdict) => verdict.rule === (nth === 0 ? id : `${id}#${nth + 1}`));
}

function ruleCard(group: RuleGroupView, rule: RuleView, verdicts: readonly VerdictView[], { nowMs }: Place): Html {
  const columns: readonly Column<VerdictView>[] = [
    { head: 'Version', kind: 'head', cell: ({ version }) => name(version) },
    { head: 'Verdict', cell: ({ verdict }) => badge(verdict) },
    { head: 'Arithmetic', kind: 'wide', cell: ({ reason }) => reason },
    { head: 'Requests', kind: 'number', cell: ({ requests }) => (requests === null ? null : count(requests)) },
    { head: 'Value / limit', cell: ({ value, threshold }) => gauge(value, threshold) },
    { head: 'Judged', cell: ({ at }) => age(at, nowMs) },
  ];
  return html`<article class="rule">
    <div class="heading">
      <h3>${name(rule.name)}</h3>
      ${rule.state === 'inactive' ? null : badge(rule.state)}
      <small>${rule.mode === null ? 'only tells' : rule.mode === 'enforce' ? 'rolls back' : `rolls back (${wordsOf(rule.mode)})`}${rule.duration === 0 ? '' : `, for ${formatDuration(rule.duration * 1000)}`}</small>
    </div>
    <p class="query"><code>${rule.query}</code></p>
    ${table(`What ${rule.name} says of each version`, verdicts, columns, { none: 'Not judged yet.', tone: ({ verdict }) => (verdict === 'breach' ? 'bad' : verdict === 'pending' ? 'warn' : null) })}
    <p class="fine">${group.file}, group ${name(group.name)}, every ${formatDuration(group.interval * 1000)}</p>
  </article>`;
}

/** A small bar: the value against its limit, which stands at two thirds. For the eye only; the numbers are in the sentence. */
function gauge(value: number | null, threshold: number | null): Html {
  if (value === null || threshold === null || threshold <= 0 || !Number.isFinite(value)) return null;
  const width = Math.max(1, Math.min(72, (value / threshold) * 48));
  return html`<svg class=${`gauge ${value > threshold ? 'over' : 'under'}`} viewBox="0 0 72 10" width="72" height="10" aria-hidden="true">
    <rect class="track" x="0" y="2" width="72" height="6" rx="3" />
    <rect class="fill" x="0" y="2" width=${width.toFixed(1)} height="6" rx="3" />
    <rect class="limit" x="47.5" y="0" width="1.5" height="10" />
  </svg>`;
}

function decisionTable(decisions: readonly Decision[], place: Place): Html {
  const columns: readonly Column<Decision>[] = [
    { head: 'When', cell: ({ atMs }) => age(atMs, place.nowMs) },
    { head: 'Decision', cell: ({ decision }) => badge(decision, decisionMarks[decision]) },
    { head: 'Version', cell: ({ version, target }) => html`${name(version)}${target === null ? null : html` → ${name(target)}`}` },
    { head: 'Rule', cell: ({ rule, trigger }) => (rule === null ? wordsOf(trigger) : name(rule)) },
    {
      head: 'Why',
      kind: 'wide',
      cell: ({ reason, detail, held }) =>
        html`<b>${wordsOf(reason)}</b>${detail === '' ? null : html`: ${detail}`}${held.length < 2 ? null : html`<p class="reason">Held: ${held.map((guard) => wordsOf(guard.reason)).join(', ')}</p>`}`,
    },
    { head: 'Rollback', cell: ({ episode }) => (episode === null ? null : rollbackLink(episode, place, 'the rollback')) },
  ];
  return table(plural(decisions.length, 'decision'), decisions, columns, { none: 'Nothing had to be decided so far.' });
}

const decisionMarks = {
  rollback: { glyph: '↩', tone: 'warn' },
  dry_run: { glyph: '○', tone: 'quiet' },
  hold: { glyph: '‖', tone: 'quiet' },
  approval: { glyph: '?', tone: 'warn' },
  notify: { glyph: '✉', tone: 'quiet' },
} as const;
