import type { Episode, Evidence } from '../domain/episode.ts';
import { formatInstant } from '../domain/episode-view.ts';
import type { Impact, VersionHistory } from '../domain/version-history.ts';
import { count, percent, spell } from '../domain/words.ts';

/** A CHANGELOG.md with a section per version. Texts of others stand in code spans, where Markdown and HTML mean nothing. */
export function renderChangelog(model: string, versions: readonly VersionHistory[]): string {
  const head = `# Changelog of ${word(model)}\n\nEvery version that rollbackd's journal knows, newest first. Times are in UTC.\n`;
  return [head, ...versions.map(section)].join('\n');
}

function section(history: VersionHistory): string {
  const links = Object.entries(history.links).map(([name, url]) => link(name, url));
  const { quarantine, departures, returns, held } = history;
  const lines = [
    ...serviceLines(history),
    ...(departures.length === 0 ? ['Not rolled back.'] : departures.flatMap(({ episode, impact }) => departureLines(episode, impact))),
    ...returns
      .filter(({ switchedAtMs }) => switchedAtMs !== null)
      .map((episode) => `Restored ${at(episode.switchedAtMs)} in place of ${word(episode.from)} (${word(episode.id)}).`),
    ...(held === null ? [] : [`Last breach that was not acted on: ${at(held.atMs)}, \`${held.reason}\`: ${code(held.detail)}.`]),
    ...(quarantine === null ? [] : [`No target of a rollback until ${at(quarantine.untilMs)}: ${code(quarantine.reason)}.`]),
    ...(links.length === 0 ? [] : [`Links: ${links.join(', ')}`]),
  ];
  return `## ${word(history.version)}\n\n${lines.map((line) => (line.startsWith('  ') ? line : `* ${line}`)).join('\n')}\n`;
}

function serviceLines({ record }: VersionHistory): string[] {
  if (record === null) return ['Served: no record.'];
  const served =
    record.lastServedMs === null
      ? `Not seen serving; first seen ${at(record.firstSeenMs)}.`
      : record.servingSinceMs === null
        ? `Served: first seen ${at(record.firstSeenMs)}, last served ${at(record.lastServedMs)}.`
        : `Serves since ${at(record.servingSinceMs)}; first seen ${at(record.firstSeenMs)}, last seen serving ${at(record.lastServedMs)}.`;
  const since = record.lastBreachMs === undefined ? '' : `; last breach ${at(record.lastBreachMs)}, health before that does not count`;
  return [served, `In good health: ${spell(record.healthyMs)} on about ${count(record.healthyRequests)} requests${since}.`];
}

function departureLines(episode: Episode, impact: Impact | null): string[] {
  const by = episode.rule === null ? `by hand (${code(episode.requestedBy ?? 'unknown')})` : `by rule ${word(episode.rule)}`;
  return [
    `${fateOf(episode)} (${by}): ${code(episode.reason)}.`,
    ...(impact === null ? [] : [`  * Impact: ${spellImpact(episode.evidence, impact)}.`]),
    `  * Episode ${word(episode.id)}, detected ${at(episode.detectedAtMs)}, ${episode.outcome ?? episode.state}: ${code(episode.detail)}.`,
  ];
}

function fateOf({ mode, outcome, state, to, switchedAtMs }: Episode): string {
  if (mode === 'dry_run' || state === 'recorded') return `Not rolled back, dry run: would have gone to ${word(to)}`;
  if (switchedAtMs === null) return `**Not rolled back** to ${word(to)}, ${state.replaceAll('_', ' ')}, no switch was confirmed`;
  const when = `to ${word(to)}, switched ${at(switchedAtMs)}`;
  return outcome === 'success' ? `**Rolled back** ${when}` : `**Rolled back** ${when}, but ${outcome === null ? 'not ended yet' : `ended as ${state}`}`;
}

function spellImpact({ value, requests, window }: Evidence, { durationMs, failedRequests }: Impact): string {
  const duration = `${spell(durationMs)} from detection to the switch`;
  if (failedRequests === null) return `${duration}; failed requests are not known, the evidence is no error ratio`;
  return `about ${failedRequests} failed requests, an estimate: ${percent(value ?? 0)} of ${count(requests ?? 0)} requests in ${window}, and at that rate until the switch; ${duration}`;
}

const at = (atMs: number | null): string => (atMs === null ? '-' : formatInstant(atMs));

/** Plain only where no reading of it could be anything but a word. */
function word(text: string): string {
  return /^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$|^v?\d+(\.\d+)*$/.test(text) ? text : code(text);
}

/** A code span, its fence longer than any run of backticks in the text; line breaks and what steers a terminal are gone. */
function code(text: string): string {
  const clean = text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '�')
    .trim();
  if (clean === '') return '-';
  const fence = '`'.repeat(1 + Math.max(0, ...(clean.match(/`+/g) ?? []).map((run) => run.length)));
  const pad = clean.startsWith('`') || clean.endsWith('`') ? ' ' : '';
  return `${fence}${pad}${clean}${pad}${fence}`;
}

/** Links lead to http and https, without user and password; else the name stands alone. */
function link(name: string, url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') || parsed.username !== '' || parsed.password !== '') return code(name);
  const target = parsed.href.replaceAll(/[<>\\`]/g, (sign) => encodeURIComponent(sign)).replaceAll('&', '&amp;');
  return `[${code(name)}](<${target}>)`;
}
