import type { Judgement } from '../domain/decide.ts';
import type { Decision } from '../domain/decision.ts';
import type { Episode, EpisodeState, Evidence } from '../domain/episode.ts';
import type { SmokeTest } from '../domain/model.ts';
import type { ControlPlane } from '../domain/ports.ts';
import { createId } from './ids.ts';
import { renderEpisodeLinks, renderRuleTexts } from './rule-texts.ts';
import type { DecideSubject } from './stages/decide.ts';

export type Opening = {
  readonly subject: DecideSubject;
  readonly judgement: Judgement;
  readonly decision: Decision['decision'];
  readonly target: string;
  /** Knows where its versions came from. */
  readonly plane: ControlPlane | undefined;
  readonly evidence: Evidence;
  readonly nowMs: number;
  readonly externalLabels: Readonly<Record<string, string>>;
  readonly requestedBy?: string;
  readonly reason?: string;
};

const openingState: Readonly<Record<string, EpisodeState>> = { dry_run: 'recorded', approval: 'pending_approval', rollback: 'planned' };

/** Headers, bodies and environments may hold secrets, and the journal forgets nothing: what is asked stays in the files. */
function withoutRequests(test: SmokeTest | null): SmokeTest | null {
  return test === null ? null : { ...test, requests: [] };
}

/** The episode as it is journalled first: with the evidence and the settings it will keep, whatever is reloaded meanwhile. */
export function openEpisode(opening: Opening): Episode {
  const { subject, judgement, target, nowMs } = opening;
  const isDryRun = opening.decision === 'dry_run';
  const texts = renderRuleTexts(subject.rule, {
    model: subject.model.name,
    version: subject.from,
    value: subject.verdict?.value ?? null,
    from: subject.from,
    to: target,
    externalLabels: opening.externalLabels,
  });
  return {
    id: createId('rb', nowMs),
    model: subject.model.name,
    from: subject.from,
    to: target,
    trigger: subject.trigger,
    rule: subject.rule?.alert ?? null,
    mode: isDryRun ? 'dry_run' : 'enforce',
    state: openingState[opening.decision] ?? 'planned',
    outcome: null,
    reason: opening.reason ?? subject.verdict?.reason ?? '',
    detail: isDryRun ? `dry run: would have rolled back ${subject.from} to ${target} (${judgement.choice.reason})` : '',
    labels: texts.labels,
    annotations: texts.annotations,
    detectedAtMs: nowMs,
    startedAtMs: null,
    switchedAtMs: null,
    recoveredAtMs: null,
    finishedAtMs: isDryRun ? nowMs : null,
    evidence: opening.evidence,
    steps: [],
    smokeTests: [],
    triedTargets: [],
    refusedTargets: judgement.choice.refused,
    links: renderEpisodeLinks(subject.model, opening.plane, { from: subject.from, to: target }),
    requestedBy: opening.requestedBy ?? null,
    corrected: false,
    pinned: false,
    policy: subject.policy,
    smokeTest: withoutRequests(subject.model.smokeTest),
    controlPlane: subject.model.controlPlane,
  };
}
