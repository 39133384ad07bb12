import type { Decision } from './decision.ts';
import { parseDuration } from './duration.ts';
import type { Episode, Evidence } from './episode.ts';
import type { LedgerEntry, QuarantineEntry } from './records.ts';

/** What the journal has on one model. */
export type ModelRecords = {
  readonly episodes: readonly Episode[];
  readonly ledger: readonly LedgerEntry[];
  readonly quarantine: readonly QuarantineEntry[];
  /** Newest first. */
  readonly decisions: readonly Decision[];
};

/** What a bad version cost until traffic left it. `failedRequests` is an estimate; `null` where the evidence is no error ratio. */
export type Impact = { readonly durationMs: number; readonly failedRequests: number | null };

/** One version in the journal's eyes. */
export type VersionHistory = {
  readonly version: string;
  /** `null`: it stands in episodes only. */
  readonly record: LedgerEntry | null;
  readonly quarantine: QuarantineEntry | null;
  /** Episodes that were to take it out of service, newest first; `impact: null` where no switch was confirmed. */
  readonly departures: readonly { readonly episode: Episode; readonly impact: Impact | null }[];
  /** Episodes that were to bring it back, newest first. */
  readonly returns: readonly Episode[];
  /** The last decision not to act on it. */
  readonly held: Decision | null;
  readonly links: Readonly<Record<string, string>>;
};

/** Every version that the journal knows, newest first: by when it was first seen, then by its name. */
export function historyOf(records: ModelRecords, linksOf: (version: string) => Readonly<Record<string, string>>): readonly VersionHistory[] {
  const { episodes, ledger, quarantine, decisions } = records;
  const versions = new Set([
    ...ledger.map(({ version }) => version),
    ...episodes.flatMap(({ from, to }) => [from, to]),
    ...quarantine.map(({ version }) => version),
  ]);
  const newestFirst = episodes.toSorted((a, b) => b.detectedAtMs - a.detectedAtMs);
  const found = [...versions].map((version) => {
    const departures = newestFirst.filter(({ from }) => from === version).map((episode) => ({ episode, impact: impactOf(episode) }));
    const returns = newestFirst.filter(({ to }) => to === version);
    const record = ledger.find((entry) => entry.version === version) ?? null;
    const isolated = quarantine.find((entry) => entry.version === version) ?? null;
    const history: VersionHistory = {
      version,
      record,
      quarantine: isolated,
      departures,
      returns,
      held: decisions.find((decision) => decision.version === version && decision.episode === null) ?? null,
      links: { ...linksOf(version), ...journalledLinks(departures.at(0)?.episode ?? null, returns.at(0) ?? null) },
    };
    const mentions = [...departures.map(({ episode }) => episode), ...returns].map(({ detectedAtMs }) => detectedAtMs);
    const firstSeenMs = record?.firstSeenMs ?? Math.min(...mentions, isolated?.sinceMs ?? Number.POSITIVE_INFINITY);
    return { history, firstSeenMs };
  });
  return found
    .toSorted((a, b) => b.firstSeenMs - a.firstSeenMs || b.history.version.localeCompare(a.history.version, 'en', { numeric: true }))
    .map(({ history }) => history);
}

/** Duration from detection to the confirmed switch; `null` without one. */
export function impactOf({ detectedAtMs, switchedAtMs, evidence }: Episode): Impact | null {
  if (switchedAtMs === null) return null;
  const durationMs = Math.max(0, switchedAtMs - detectedAtMs);
  return { durationMs, failedRequests: failedRequests(evidence, durationMs) };
}

/** Those of the window that was judged, and as many per time until the switch: traffic and ratio are taken as steady. */
function failedRequests({ signal, value, requests, window }: Evidence, durationMs: number): number | null {
  const windowMs = window === null ? null : parseDuration(window);
  if (signal !== 'error_ratio' || value === null || requests === null || windowMs === null || windowMs <= 0) return null;
  return Math.round(value * requests * (1 + durationMs / windowMs));
}

const suffix = '_to';

/** An episode names the links of both its versions, the target's as `<name>_to`. */
function journalledLinks(departure: Episode | null, comeback: Episode | null): Readonly<Record<string, string>> {
  const isTarget = (links: Episode['links'], name: string): boolean => name.endsWith(suffix) && Object.hasOwn(links, name.slice(0, -suffix.length));
  const own = Object.entries(departure?.links ?? {}).filter(([name]) => !isTarget(departure?.links ?? {}, name));
  const target = Object.entries(comeback?.links ?? {})
    .filter(([name]) => isTarget(comeback?.links ?? {}, name))
    .map(([name, url]) => [name.slice(0, -suffix.length), url] as const);
  return Object.fromEntries([...target, ...own]);
}
