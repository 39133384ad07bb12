import type { Freeze } from './calendar.ts';
import type { Decision, GuardReason, HeldGuard } from './decision.ts';
import { formatDuration } from './duration.ts';
import type { Episode } from './episode.ts';
import { findFlapLock } from './flap-lock.ts';
import { breakerOpen, type Fleet, hasBegunToSwitch, tooManyAtOnce } from './fleet.ts';
import type { Limits } from './limits.ts';
import type { RollbackPolicy } from './model.ts';
import { type ModelGroup, peerUnderWay } from './model-group.ts';
import { mainVersion, type Observation } from './observation.ts';
import { type LedgerEntry, type Pause, pauseOf, type QuarantineEntry } from './records.ts';
import { chooseTarget, hasTraffic, type TargetChoice } from './target.ts';
import type { Verdict } from './verdict.ts';
import { spell } from './words.ts';

export type DecideInput = {
  /** `null`: this process leads; else what is known of who does. */
  readonly notLeader: string | null;
  readonly nowMs: number;
  readonly model: string;
  /** The model's defaults with the rule's overrides, and `dry_run` forced by `--dry-run`. */
  readonly policy: RollbackPolicy;
  /** The version in breach, as the plane names it. */
  readonly from: string;
  /** `null` for a rollback by hand. */
  readonly verdict: Verdict | null;
  /** This turn's verdicts for all versions of the model, by every rule. */
  readonly verdicts: readonly Verdict[];
  /** Fresh and thorough; `null` when the plane could not be observed. */
  readonly observation: Observation | null;
  readonly pauses: readonly Pause[];
  /** Episodes of this model, open ones and those of at least the longest cooldown and budget window. */
  readonly episodes: readonly Episode[];
  readonly ledger: readonly LedgerEntry[];
  readonly quarantine: readonly QuarantineEntry[];
  readonly byHand: boolean;
  /** Versions that cannot take today's requests, as far as it is known before anything is loaded, with what differs. */
  readonly incompatible: ReadonlyMap<string, string>;
  /** Whether the next target is tried after one that is given up. */
  readonly triesNext: boolean;
  readonly limits: Limits;
  /** Freeze windows in force for the model now. */
  readonly freezes: readonly Freeze[];
  /** Whether now is outside of the policy's time intervals. */
  readonly isOutside: boolean;
  readonly fleet: Fleet;
  /** The group that the model is in. */
  readonly group: ModelGroup | null;
  /** Only a version that served before then may be the target: see `TargetInput`. */
  readonly servedBeforeMs: number | null;
  /** The episode on whose behalf the guards are asked again before a mutation; `null` at the first decision. */
  readonly episode: Episode | null;
};

export type Judgement = {
  /** First guard that holds, or `go`. */
  readonly reason: GuardReason;
  readonly detail: string;
  /** All that hold, in order. */
  readonly held: readonly HeldGuard[];
  readonly choice: TargetChoice;
};

/** Asks every guard in the order of design 7. All are recorded; the first that holds is the reason. */
export function decide(input: DecideInput): Judgement {
  const choice = targetOf(input);
  const held: HeldGuard[] = [];
  const ask = (reason: GuardReason, detail: string | null): void => {
    if (detail !== null) held.push({ reason, detail });
  };
  ask('not_leader', input.notLeader);
  ask('paused', paused(input));
  ask('frozen', frozen(input));
  ask('breaker_open', breakerOpen(input.fleet, input.episode));
  ask('already_rolling_back', alreadyRollingBack(input));
  if (!input.byHand) ask('cooldown', cooldown(input));
  if (!input.byHand) ask('budget_spent', budgetSpent(input));
  ask('flap_lock', flapLock(input));
  ask('too_many_at_once', tooManyAtOnce(input.fleet, input.limits, input.episode) ?? peerUnderWay(input.group, input.model, input.fleet, input.episode));
  ask('breach_everywhere', breachEverywhere(input));
  ask('no_target', choice.target === null ? `no version to go back to: ${choice.reason}` : null);
  ask('incompatible_target', incompatibleTarget(input, choice.target));
  ask('version_changed', versionChanged(input, choice.target));
  if (!input.byHand) ask('approval_needed', approvalNeeded(input));
  ask('dry_run', input.policy.mode === 'enforce' ? null : `mode is ${input.policy.mode}`);
  const first = held[0] ?? { reason: 'go' as const, detail: `roll back ${input.from} to ${choice.target ?? '?'} (${choice.reason})` };
  return { ...first, held, choice };
}

/** What a judgement leads to. A dry run is only ever recorded, also where approval would be asked for. */
export function consequence(judgement: Judgement): Decision['decision'] {
  const reasons = new Set(judgement.held.map((guard) => guard.reason));
  const onlySoft = [...reasons].every((reason) => reason === 'dry_run' || reason === 'approval_needed');
  if (!onlySoft) return 'hold';
  if (reasons.has('dry_run')) return 'dry_run';
  return reasons.has('approval_needed') ? 'approval' : 'rollback';
}

function targetOf(input: DecideInput): TargetChoice {
  if (input.observation === null) return { target: null, reason: 'the control plane could not be observed', refused: [] };
  if (input.observation.refusals.length > 0)
    return { target: null, reason: `the control plane is not safe to change: ${input.observation.refusals.join('; ')}`, refused: [] };
  if (input.episode !== null && input.episode.state !== 'pending_approval') return stillGood(input, input.episode.to);
  const candidates = { ...input, observation: input.observation, tried: input.episode?.triedTargets ?? [] };
  const first = chooseTarget({ ...candidates, incompatible: new Map() });
  if (!input.triesNext || first.target === null || !input.incompatible.has(first.target)) return first;
  const next = chooseTarget(candidates);
  // With no other left the first is named, so that the guard tells what differs.
  return next.target === null ? first : next;
}

function incompatibleTarget(input: DecideInput, target: string | null): string | null {
  const difference = target === null ? undefined : input.incompatible.get(target);
  return difference === undefined ? null : `version ${target} cannot take the requests that ${input.from} takes: ${difference}`;
}

/** Before a mutation the target is not chosen anew, only refused if it went bad meanwhile. */
function stillGood(input: DecideInput, target: string): TargetChoice {
  const breaching = input.verdicts.find((verdict) => verdict.version === target && verdict.kind === 'breach' && hasTraffic(verdict));
  if (breaching !== undefined) return { target: null, reason: `${target} is breaching now: ${breaching.reason}`, refused: [] };
  const quarantined = input.quarantine.find((entry) => entry.version === target && entry.untilMs > input.nowMs);
  if (quarantined !== undefined) return { target: null, reason: `${target} was quarantined meanwhile (${quarantined.reason})`, refused: [] };
  return { target, reason: 'chosen when the episode opened', refused: [] };
}

function paused(input: DecideInput): string | null {
  const pause = pauseOf(input.pauses, input.model, input.nowMs);
  if (pause === undefined) return null;
  const until = pause.untilMs === null ? 'until resumed' : `until ${new Date(pause.untilMs).toISOString()}`;
  return `${pause.model === null ? 'all models are' : 'the model is'} paused ${until} by ${pause.by}: ${pause.reason}`;
}

/** A switch that has begun is carried through: a freeze in the middle would leave replicas apart. */
function frozen({ freezes, byHand, episode }: DecideInput): string | null {
  if (episode !== null && hasBegunToSwitch(episode)) return null;
  const inForce = byHand ? freezes.filter(({ allowsManual }) => !allowsManual) : freezes;
  return inForce.length === 0 ? null : `freeze window ${inForce.map(({ detail }) => detail).join('; ')}`;
}

function alreadyRollingBack(input: DecideInput): string | null {
  const open = input.episodes.find((episode) => episode.finishedAtMs === null && episode.id !== input.episode?.id);
  return open === undefined ? null : `episode ${open.id} (${open.from} to ${open.to}) is ${open.state}`;
}

/** Dry runs, and episodes that ended before anything began, consume no budget. */
function hasActed(episode: Episode): boolean {
  return episode.mode === 'enforce' && episode.startedAtMs !== null;
}

/** The plane had no plan for it: asking again in every turn would be a storm of failures. What a person tried in vain holds nothing up. */
function couldNotBegin(episode: Episode): boolean {
  return episode.mode === 'enforce' && episode.state === 'failed' && episode.trigger !== 'manual';
}

function cooldown(input: DecideInput): string | null {
  const attempts = input.episodes.filter((episode) => episode.id !== input.episode?.id && (hasActed(episode) || couldNotBegin(episode)));
  for (const episode of attempts) {
    const sinceMs = input.nowMs - (episode.finishedAtMs ?? input.nowMs);
    if (episode.finishedAtMs !== null && sinceMs < input.policy.cooldownMs) {
      return `episode ${episode.id} ended ${spell(sinceMs)} ago, cooldown: ${formatDuration(input.policy.cooldownMs)}`;
    }
  }
  return null;
}

function budgetSpent(input: DecideInput): string | null {
  const { count, windowMs } = input.policy.maxPer;
  const spent = input.episodes.filter(
    (episode) => hasActed(episode) && episode.id !== input.episode?.id && input.nowMs - (episode.startedAtMs ?? 0) < windowMs,
  ).length;
  return spent < count ? null : `${spent} rollbacks in the last ${formatDuration(windowMs)}, max_per: ${count}`;
}

function flapLock(input: DecideInput): string | null {
  const { windowMs } = input.limits.flapLock;
  const others = input.episodes.filter((episode) => episode.id !== input.episode?.id);
  const lock = findFlapLock(others, windowMs, input.nowMs);
  if (lock === null) return null;
  const ids = lock.episodes.map(({ id }) => id).join(' and ');
  return `rolled back to ${lock.target} twice within ${formatDuration(windowMs)} (${ids}), left in between: something brings bad versions back; locked until ${new Date(lock.untilMs).toISOString()}, or until somebody resumes ${input.model}`;
}

/** By hand there is no verdict that asked: every rule that `from` breaks now is looked at. */
function breachEverywhere(input: DecideInput): string | null {
  const broken = input.verdict === null ? input.verdicts.filter((verdict) => verdict.version === input.from && verdict.kind === 'breach') : [input.verdict];
  for (const verdict of broken) {
    const words = breachOfAll(input, verdict);
    if (words !== null) return words;
  }
  return null;
}

function breachOfAll(input: DecideInput, verdict: Verdict): string | null {
  const { rule } = verdict;
  const counted = verdict.others ?? [];
  if (counted.length > 0 && counted.every(({ isAlike }) => isAlike))
    return `every version with traffic shows it over the same time, so it is not the version: ${counted.map((other) => `${other.version}: ${other.words}`).join('; ')}`;
  const others = input.verdicts.filter(
    (other) =>
      other.rule === rule && other.version !== input.from && hasTraffic(other) && (other.kind === 'ok' || other.kind === 'breach' || other.kind === 'pending'),
  );
  if (others.length === 0 || others.some((other) => other.kind === 'ok')) return null;
  return `every version with traffic breaches alike, so it is not the version: ${others.map((other) => `${other.version}: ${other.reason}`).join('; ')}`;
}

/** A canary's small share is enough: `from` must still serve, not serve the most. */
function versionChanged(input: DecideInput, target: string | null): string | null {
  const { observation, from, episode } = input;
  if (observation === null) return 'what serves now could not be confirmed: the control plane could not be observed';
  const to = episode?.to ?? target;
  const foreign = to === null ? undefined : foreignVersion(observation, from, to);
  if (foreign !== undefined && episode === null && serves(observation, from))
    return `version ${foreign} serves too, and is neither ${from} nor the target ${to}: all of its traffic would be moved as well; vouch for it (known_good.versions), or wait until its rollout has ended`;
  if (foreign !== undefined && episode !== null) return `version ${foreign} serves now, not ${from}: someone else changed it meanwhile`;
  if (serves(observation, from)) return null;
  // While our own switch is under way, the target serving is what we want.
  if (episode !== null && serves(observation, episode.to)) return null;
  const serving = mainVersion(observation);
  return `${serving === null ? 'nothing' : `version ${serving}`} serves now, not ${from}: someone else changed it meanwhile`;
}

function serves(observation: Observation, version: string): boolean {
  return observation.serving.some((share) => share.version === version && share.share > 0);
}

/** A third version, on any endpoint: somebody deploys while we roll back. */
function foreignVersion(observation: Observation, from: string, to: string): string | undefined {
  return observation.endpoints.flatMap((endpoint) => endpoint.serving).find((share) => share.share > 0 && share.version !== from && share.version !== to)
    ?.version;
}

function approvalNeeded(input: DecideInput): string | null {
  if (input.episode !== null) return null;
  if (input.policy.requireApproval === 'always') return 'require_approval: always';
  if (input.policy.requireApproval === 'outside' && input.isOutside)
    return `require_approval: outside, and it is not the time of ${input.policy.activeTimeIntervals.join(', ')}`;
  const entry = input.ledger.find((line) => line.version === input.from);
  const servedMs = entry?.servingSinceMs == null ? 0 : input.nowMs - entry.servingSinceMs;
  if (input.policy.approvalAfterMs > 0 && servedMs > input.policy.approvalAfterMs) {
    return `version ${input.from} has served for ${spell(servedMs)}, longer than approval_after: ${formatDuration(input.policy.approvalAfterMs)}; a version that old is rarely the cause`;
  }
  return null;
}
