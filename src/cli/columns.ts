import { formatAge } from '../domain/duration.ts';
import type { DecisionView, EpisodeView } from '../domain/episode-view.ts';
import { stateMark, type Tone } from '../domain/state-mark.ts';
import { percent } from '../domain/words.ts';
import type { AlertView, ModelView, VersionView } from '../web/api.ts';
import type { PartRow } from '../web/status-parts.ts';
import type { Column, Style } from './table.ts';

const styles: Readonly<Record<Tone, Style>> = { good: 'green', warn: 'yellow', bad: 'red', quiet: 'dim' };

/** `✔ ok`, `● no data`; a state without a mark stands alone. */
export function markOf(state: string): string {
  const words = state.replaceAll('_', ' ');
  const mark = stateMark(state);
  return mark === null ? words : `${mark.glyph} ${words}`;
}

export function styleOf(state: string | null): Style | null {
  const mark = state === null ? null : stateMark(state);
  return mark === null ? null : styles[mark.tone];
}

const ageOf = (instant: string | null, nowMs: number): string | null => (instant === null ? null : formatAge(nowMs - Date.parse(instant)));

export function modelColumns(nowMs: number): readonly Column<ModelView>[] {
  return [
    { header: 'MODEL', value: (model) => model.name },
    { header: 'SERVING', value: (model) => servingOf(model) },
    {
      header: 'MODE',
      value: ({ mode, paused, frozen }) => (paused !== null ? `${mode} (paused)` : frozen.length > 0 ? `${mode} (frozen)` : mode),
      style: ({ paused, frozen }) => (paused === null && frozen.length === 0 ? null : 'yellow'),
    },
    { header: 'VERDICT', value: (model) => verdictOf(model), style: (model) => styleOf(model.error === null ? model.verdict : 'error') },
    {
      header: 'LAST ROLLBACK',
      value: (model) => (model.last_rollback === null ? null : `${model.last_rollback.outcome ?? 'open'} ${ageOf(model.last_rollback.at, nowMs)} ago`),
    },
    { header: 'PINNED', value: (model) => (model.pinned ? 'yes' : null), wide: true },
    { header: 'SOURCE', value: (model) => model.source, wide: true },
    { header: 'CONTROL PLANE', value: (model) => model.control_plane, wide: true },
    { header: 'REASON', value: (model) => model.error ?? model.reason, wide: true },
  ];
}

export type VersionRow = VersionView & { readonly model: string };

export function versionColumns(nowMs: number): readonly Column<VersionRow>[] {
  return [
    { header: 'MODEL', value: (row) => row.model },
    { header: 'VERSION', value: (row) => row.version },
    { header: 'ROLE', value: (row) => row.role, style: (row) => (row.role === 'quarantined' ? 'yellow' : null) },
    { header: 'STATE', value: (row) => row.state },
    { header: 'SHARE', value: (row) => percent(row.share) },
    { header: 'KNOWN GOOD', value: (row) => (row.known_good ? 'yes' : 'no'), style: (row) => (row.known_good ? 'green' : null) },
    { header: 'AGE', value: (row) => ageOf(row.first_seen, nowMs) },
    { header: 'WHY', value: (row) => row.known_good_reason, wide: true },
    { header: 'QUARANTINED UNTIL', value: (row) => row.quarantined_until, wide: true },
  ];
}

export function rollbackColumns(nowMs: number): readonly Column<EpisodeView>[] {
  return [
    { header: 'ID', value: (row) => row.id },
    { header: 'MODEL', value: (row) => row.model },
    { header: 'FROM', value: (row) => row.from },
    { header: 'TO', value: (row) => row.to },
    { header: 'STATE', value: (row) => markOf(row.state), style: (row) => styleOf(row.state) },
    { header: 'OUTCOME', value: (row) => row.outcome, style: (row) => styleOf(row.outcome) },
    { header: 'TRIGGER', value: (row) => row.rule ?? row.trigger },
    { header: 'AGE', value: (row) => ageOf(row.detected_at, nowMs) },
    { header: 'MODE', value: (row) => row.mode, wide: true },
    {
      header: 'TOOK',
      value: (row) => (row.started_at === null || row.finished_at === null ? null : formatAge(Date.parse(row.finished_at) - Date.parse(row.started_at))),
      wide: true,
    },
    { header: 'REASON', value: (row) => row.reason, wide: true },
  ];
}

export function decisionColumns(nowMs: number): readonly Column<DecisionView>[] {
  return [
    { header: 'AGE', value: (row) => ageOf(row.at, nowMs) },
    { header: 'MODEL', value: (row) => row.model },
    { header: 'VERSION', value: (row) => row.version },
    { header: 'DECISION', value: (row) => row.decision.replaceAll('_', ' '), style: (row) => (row.decision === 'rollback' ? 'bold' : null) },
    { header: 'REASON', value: (row) => row.reason.replaceAll('_', ' ') },
    { header: 'RULE', value: (row) => row.rule ?? row.trigger },
    { header: 'TARGET', value: (row) => row.target },
    { header: 'DETAIL', value: (row) => row.detail },
    { header: 'ROLLBACK', value: (row) => row.episode, wide: true },
    { header: 'VERDICT', value: (row) => row.verdict, wide: true },
  ];
}

export function alertColumns(nowMs: number): readonly Column<AlertView>[] {
  return [
    { header: 'ALERT', value: (row) => row.labels['alertname'] ?? null },
    { header: 'MODEL', value: (row) => row.labels['model'] ?? null },
    { header: 'VERSION', value: (row) => row.labels['version'] ?? null },
    { header: 'STATE', value: (row) => markOf(row.state), style: (row) => styleOf(row.state) },
    { header: 'VALUE', value: (row) => row.value },
    { header: 'ACTIVE', value: (row) => ageOf(row.activeAt, nowMs) },
    { header: 'SUMMARY', value: (row) => row.annotations['summary'] ?? null, wide: true },
  ];
}

export function partColumns(nowMs: number): readonly Column<PartRow>[] {
  const stateOf = ({ up }: PartRow): string => (up === null ? 'not asked yet' : markOf(up ? 'ok' : 'error'));
  return [
    { header: 'PART', value: (row) => row.part },
    { header: 'NAME', value: (row) => row.name },
    { header: 'KIND', value: (row) => row.kind },
    { header: 'STATE', value: stateOf, style: ({ up }) => (up === null ? null : styleOf(up ? 'ok' : 'error')) },
    { header: 'SINCE', value: (row) => ageOf(row.since, nowMs) },
    { header: 'LAST SUCCESS', value: (row) => ageOf(row.last_success, nowMs), wide: true },
    { header: 'ERROR', value: (row) => row.error },
  ];
}

/** `7`, or `7 90%, 6 10%` when several have traffic. */
function servingOf(model: ModelView): string | null {
  const serving = model.versions.filter((version) => version.share > 0).toSorted((a, b) => b.share - a.share);
  return serving.length === 1 ? (serving[0]?.version ?? null) : serving.map((version) => `${version.version} ${percent(version.share)}`).join(', ');
}

function verdictOf(model: ModelView): string | null {
  if (model.error !== null) return markOf('error');
  if (model.rollback_in_progress !== null) return `↩ rolling back`;
  return model.verdict === null ? null : markOf(model.verdict);
}
