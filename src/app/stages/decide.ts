import { consequence, decide, type Judgement } from '../../domain/decide.ts';
import type { Decision } from '../../domain/decision.ts';
import { formatDuration } from '../../domain/duration.ts';
import type { Episode, Evidence, Trigger } from '../../domain/episode.ts';
import type { Model, RollbackPolicy } from '../../domain/model.ts';
import { groupOf } from '../../domain/model-group.ts';
import type { Observation } from '../../domain/observation.ts';
import type { Leadership } from '../../domain/ports.ts';
import { longestWindowMs, type Rule } from '../../domain/rule.ts';
import type { Verdict } from '../../domain/verdict.ts';
import type { FleetWatch } from '../fleet-watch.ts';
import { createId } from '../ids.ts';
import type { Memory } from '../memory.ts';
import type { Runtime } from '../runtime.ts';
import type { VerdictBoard } from '../verdict-board.ts';

export type DecideContext = {
  readonly memory: Memory;
  readonly board: VerdictBoard;
  readonly leadership: Leadership;
  readonly fleet: FleetWatch;
  readonly runtime: Runtime;
  readonly nowMs: number;
};

export type DecideSubject = {
  readonly model: Model;
  readonly policy: RollbackPolicy;
  readonly from: string;
  readonly rule: Rule | null;
  readonly verdict: Verdict | null;
  readonly observation: Observation | null;
  readonly trigger: Trigger;
  readonly episode: Episode | null;
  /** Versions known not to take today's requests, with what differs. Default: none. */
  readonly incompatible?: ReadonlyMap<string, string>;
  /** Set for one that follows another of its group: its target must have served before then. */
  readonly servedBeforeMs?: number | null;
};

/** Asks the guards with everything the memory knows of the model. */
export function judgeGuards(subject: DecideSubject, context: DecideContext): Judgement {
  const { memory, board, leadership, fleet, runtime, nowMs } = context;
  return decide({
    notLeader: describeFollower(leadership),
    nowMs,
    model: subject.model.name,
    policy: subject.policy,
    from: subject.from,
    verdict: subject.verdict,
    verdicts: board.of(subject.model.name),
    observation: subject.observation,
    pauses: memory.pauses(),
    episodes: memory.episodes(subject.model.name),
    ledger: memory.ledger(subject.model.name),
    quarantine: memory.quarantine(subject.model.name),
    byHand: subject.trigger === 'manual',
    incompatible: subject.incompatible ?? new Map(),
    triesNext: subject.model.smokeTest?.onFailure === 'next_target',
    limits: runtime.limits,
    freezes: runtime.calendar.freezes(subject.model.name, nowMs),
    isOutside: !runtime.calendar.isWithin(subject.policy.activeTimeIntervals, nowMs),
    fleet: { models: runtime.models.size, open: memory.openEpisodes(), breakers: fleet.open },
    group: groupOf(runtime.modelGroups, subject.model.name),
    servedBeforeMs: subject.servedBeforeMs ?? null,
    episode: subject.episode,
  });
}

/** Why a process that does not lead holds still, `null` when it leads. */
export function describeFollower(leadership: Leadership): string | null {
  if (leadership.leads()) return null;
  const leader = leadership.leader();
  return leader === null ? 'this replica does not lead, and no other is known to' : `this replica does not lead; ${leader} does`;
}

/** The decision as it is recorded. */
export function toDecision(subject: DecideSubject, judgement: Judgement, nowMs: number, episode: string | null): Decision {
  return {
    id: createId('dc', nowMs),
    atMs: nowMs,
    model: subject.model.name,
    version: subject.from,
    rule: subject.rule?.alert ?? null,
    trigger: subject.trigger,
    decision: consequence(judgement),
    reason: judgement.reason,
    detail: judgement.detail,
    held: judgement.held,
    target: judgement.choice.target,
    episode,
    verdict: subject.verdict?.reason ?? '',
    value: subject.verdict?.value ?? null,
    threshold: subject.verdict?.threshold ?? null,
    requests: subject.verdict?.requests ?? null,
  };
}

/** The numbers of the decision, frozen. */
export function freezeEvidence(subject: DecideSubject, target: string, board: VerdictBoard, queries: readonly string[]): Evidence {
  const { rule, verdict } = subject;
  const countedMs = verdict?.countedSinceMs === undefined ? null : Math.max(1, Math.round((verdict.atMs - verdict.countedSinceMs) / 1000)) * 1000;
  const windowMs = countedMs ?? (rule === null ? null : longestWindowMs(rule.condition));
  const baseline = rule === null ? undefined : board.of(subject.model.name).find((other) => other.rule === rule.id && other.version === target);
  return {
    signal: verdict?.signal ?? 'manual',
    value: verdict?.value ?? null,
    threshold: verdict?.threshold ?? null,
    requests: verdict?.requests ?? null,
    window: windowMs === null ? null : formatDuration(windowMs),
    baseline: verdict?.baseline ?? (baseline === undefined || baseline.value === null ? null : { version: target, value: baseline.value }),
    series: queries,
  };
}
