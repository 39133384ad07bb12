import type { Decision } from './decision.ts';
import type { Episode, EpisodeGroup } from './episode.ts';

/** An episode as JSON (API, CLI): the keys of design 7 in that order, then a few of our own. */
export type EpisodeView = ReturnType<typeof viewEpisode>;
export type DecisionView = ReturnType<typeof viewDecision>;

/** Keys are fixed: people's scripts read them. Behind `links`: `detail` (how it ended and what to do), `tried_targets`, `refused_targets` (versions that were no target, and why), `pinned` (the plane still holds the target on our account), `notes` (what the rollback leaves for people to do), `group` (of models that move in step; `null`: it moves alone). */
export function viewEpisode(episode: Episode) {
  const { evidence } = episode;
  return {
    id: episode.id,
    model: episode.model,
    from: episode.from,
    to: episode.to,
    trigger: episode.trigger,
    rule: episode.rule,
    mode: episode.mode,
    state: episode.state,
    outcome: episode.outcome,
    reason: episode.reason,
    detected_at: formatInstant(episode.detectedAtMs),
    started_at: formatInstant(episode.startedAtMs),
    switched_at: formatInstant(episode.switchedAtMs),
    finished_at: formatInstant(episode.finishedAtMs),
    evidence: {
      signal: evidence.signal,
      value: evidence.value,
      threshold: evidence.threshold,
      requests: evidence.requests,
      window: evidence.window,
      baseline: evidence.baseline === null ? null : { version: evidence.baseline.version, value: evidence.baseline.value },
      series: [...evidence.series],
    },
    steps: episode.steps.map((step) => ({
      name: step.name,
      state: step.state,
      started_at: formatInstant(step.startedAtMs),
      finished_at: formatInstant(step.finishedAtMs),
      detail: step.detail,
    })),
    smoke_tests: episode.smokeTests.map((test) => ({ name: test.name, outcome: test.outcome, duration_ms: test.durationMs, detail: test.detail })),
    links: { ...episode.links },
    detail: episode.detail,
    tried_targets: [...episode.triedTargets],
    refused_targets: episode.refusedTargets.map(({ version, reason }) => ({ version, reason })),
    pinned: episode.pinned,
    notes: [...(episode.notes ?? [])],
    group: viewGroup(episode.group),
  };
}

function viewGroup(group: EpisodeGroup | undefined) {
  if (group === undefined) return null;
  const { name, kind, leader, members, stays } = group;
  return {
    name,
    kind,
    leader,
    members: members.map(({ model, episode }) => ({ model, episode })),
    stays: stays.map(({ model, reason }) => ({ model, reason })),
  };
}

/** A decision as JSON. */
export function viewDecision(decision: Decision) {
  return {
    id: decision.id,
    at: formatInstant(decision.atMs),
    model: decision.model,
    version: decision.version,
    rule: decision.rule,
    trigger: decision.trigger,
    decision: decision.decision,
    reason: decision.reason,
    detail: decision.detail,
    held: decision.held.map(({ reason, detail }) => ({ reason, detail })),
    target: decision.target,
    episode: decision.episode,
    verdict: decision.verdict,
    value: decision.value,
    threshold: decision.threshold,
    requests: decision.requests,
  };
}

/** `2026-11-22T12:00:00.000Z` */
export function formatInstant(atMs: number): string;
export function formatInstant(atMs: number | null): string | null;
export function formatInstant(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString();
}
