import type { Judgement } from './decide.ts';
import { guardReasons, type HeldGuard } from './decision.ts';
import { type Episode, type EpisodeGroup, episodeEnds } from './episode.ts';
import { hasBegunToSwitch } from './fleet.ts';
import type { Observation } from './observation.ts';
import type { LedgerEntry } from './records.ts';

/**
 * When the release began that a model leaves by going back: when its target last served, or, while that still serves beside it (or never did), when the bad
 * version came. ms since 1970; `null`: not known.
 * @param ledger of the model that goes back
 */
export function releaseOf({ from, to, ledger }: { readonly from: string; readonly to: string; readonly ledger: readonly LedgerEntry[] }): number | null {
  const entryOf = (version: string): LedgerEntry | undefined => ledger.find((entry) => entry.version === version);
  const [bad, target] = [entryOf(from), entryOf(to)];
  if (target?.servingSinceMs === null && target.lastServedMs !== null) return target.lastServedMs;
  return bad?.servingSinceMs ?? bad?.firstSeenMs ?? null;
}

/** Whether another model of the group must go back too, and from which version. */
export type PeerStanding = { readonly kind: 'follows'; readonly from: string } | { readonly kind: 'stays'; readonly reason: string };

/**
 * A model is in step with the one that goes back while it serves a version that came with the release: one that first served after `releasedMs`. What served
 * before that served beside the target, and goes with it.
 * @param peer what serves now, the ledger and the episodes of that model
 */
export function standingOfPeer(
  peer: { readonly observation: Observation; readonly ledger: readonly LedgerEntry[]; readonly episodes: readonly Episode[] },
  releasedMs: number | null,
): PeerStanding {
  const serving = peer.observation.serving.filter(({ share }) => share > 0).toSorted((a, b) => b.share - a.share);
  if (serving.length === 0) return { kind: 'stays', reason: 'nothing of it serves' };
  const firstSeenMs = (version: string): number => peer.ledger.find((entry) => entry.version === version)?.firstSeenMs ?? Number.POSITIVE_INFINITY;
  const reasons: string[] = [];
  for (const { version } of serving.toSorted((a, b) => firstSeenMs(b.version) - firstSeenMs(a.version))) {
    const back = peer.episodes.find(({ to, switchedAtMs }) => to === version && switchedAtMs !== null && (releasedMs === null || switchedAtMs >= releasedMs));
    if (back !== undefined) reasons.push(`version ${version} is what it went back to (${back.id})`);
    else if (releasedMs === null || firstSeenMs(version) >= releasedMs) return { kind: 'follows', from: version };
    else reasons.push(`version ${version} served before the release, since ${new Date(firstSeenMs(version)).toISOString()}`);
  }
  return { kind: 'stays', reason: reasons.join('; ') };
}

/** What a model's guards say about following. */
export type PeerJudgement = { readonly model: string; readonly held: readonly HeldGuard[] };

/** The judgement on a group: a guard of any of its models holds all of them, and says whose it is. */
export function judgeGroup(group: string, leader: Judgement, followers: readonly PeerJudgement[]): Judgement {
  const ofFollowers = followers.flatMap(({ model, held }) => held.map(({ reason, detail }) => ({ reason, detail: `${model} (group ${group}): ${detail}` })));
  const held = [...leader.held, ...ofFollowers].toSorted((a, b) => guardReasons.indexOf(a.reason) - guardReasons.indexOf(b.reason));
  const first = held[0];
  return first === undefined ? leader : { ...leader, ...first, held };
}

/** What a member does now. `stop`: it ends without having moved, in this state. */
export type Gate =
  | { readonly kind: 'go' }
  | { readonly kind: 'wait' }
  | { readonly kind: 'stop'; readonly state: 'aborted' | 'rejected'; readonly reason: string };

/**
 * Whether a member may begin (load its target), or may switch. `together`: nobody switches before all are loaded and tested, and nobody does any more once
 * one gave up before any switch; after the first switch the rest follow. `ordered`: each begins when the one before has succeeded.
 * @param members of the group, in their order, the own among them; the journal's latest
 */
export function gateOf(own: Episode, members: readonly Episode[], step: 'begin' | 'switch'): Gate {
  const { group } = own;
  if (group === undefined) return { kind: 'go' };
  const leader = members.find(({ id }) => id === group.leader);
  if (leader?.state === 'pending_approval' && leader.id !== own.id) return { kind: 'wait' };
  if (leader?.state === 'rejected')
    return { kind: 'stop', state: 'rejected', reason: `it would have followed ${leader.model} (${leader.id}), which was rejected: ${leader.detail}` };
  return group.kind === 'ordered' ? gateInOrder(own, members) : gateTogether(own, members, step);
}

function gateInOrder(own: Episode, members: readonly Episode[]): Gate {
  const before = members[members.findIndex(({ id }) => id === own.id) - 1];
  if (before === undefined || before.state === 'succeeded') return { kind: 'go' };
  if (!episodeEnds.has(before.state)) return { kind: 'wait' };
  return { kind: 'stop', state: 'aborted', reason: `${before.model} (${before.id}), which goes before it, ended ${before.state}: ${before.detail}` };
}

function gateTogether(own: Episode, members: readonly Episode[], step: 'begin' | 'switch'): Gate {
  const others = members.filter(({ id }) => id !== own.id);
  if (others.some(hasMoved)) return { kind: 'go' };
  const givenUp = others.find(({ state }) => episodeEnds.has(state));
  if (givenUp !== undefined)
    return { kind: 'stop', state: 'aborted', reason: `${givenUp.model} (${givenUp.id}), which moves with it, ended ${givenUp.state}: ${givenUp.detail}` };
  return step === 'begin' || others.every(({ stagedAtMs }) => stagedAtMs != null) ? { kind: 'go' } : { kind: 'wait' };
}

/** It goes back with another model of its group, and broke no rule of its own. */
export function isFollower({ id, group }: Episode): boolean {
  return group !== undefined && group.leader !== id;
}

/** Traffic has moved, or may have. */
function hasMoved(episode: Episode): boolean {
  if (!episodeEnds.has(episode.state)) return hasBegunToSwitch(episode);
  const told: readonly string[] = ['started', 'done', 'inverting'];
  return episode.switchedAtMs !== null || episode.steps.some(({ step, state }) => step.phase !== 'stage' && told.includes(state));
}

/** How a rollback of a group begins, in words: who moves with whom, who stays and why. '' where the model moves alone. */
export function spellGroup({ group, id }: Episode): string {
  if (group === undefined) return '';
  const others = group.members.filter(({ episode }) => episode !== id).map(({ model, episode }) => `${model} (${episode})`);
  const order = group.kind === 'ordered' ? `in the order ${group.members.map(({ model }) => model).join(', ')}` : 'together';
  const moving = others.length === 0 ? [] : [`with ${others.join(', ')} ${order}`];
  return `group ${group.name}: ${[...moving, ...group.stays.map(({ model, reason }) => `${model} stays, ${reason}`)].join('; ')}`;
}

/**
 * How the rest of a group stands when one of its members has ended, in words; '' where nobody else moves.
 * @param own as it ends
 */
export function spellOthers(own: Episode, members: readonly Episode[]): string {
  const { group } = own;
  const others = members.filter(({ id }) => id !== own.id);
  if (group === undefined || others.length === 0) return '';
  const stand = others.map((other) => `${other.model} (${other.id}) ${standingOf(other)}`).join(', ');
  const isTorn = isLeftBehind(own) ? others.some(hasMoved) : others.some(isLeftBehind);
  const words = `group ${group.name}: ${stand}`;
  return isTorn ? `Not in step any more, ${words}. Nothing is put back: bring the rest to the versions that go with these, by hand` : words;
}

function standingOf(episode: Episode): string {
  if (hasMoved(episode)) return `went to ${episode.to}${episodeEnds.has(episode.state) ? ` and ended ${episode.state}` : ''}`;
  return episodeEnds.has(episode.state) ? `stays at ${episode.from} (${episode.state})` : `is at ${episode.from} (${episode.state})`;
}

function isLeftBehind(episode: Episode): boolean {
  return episodeEnds.has(episode.state) && !hasMoved(episode);
}

/** What those that follow are told: whom, and why that one goes back. */
export function followReason(group: Pick<EpisodeGroup, 'name'>, leader: string, reason: string): string {
  return `follows ${leader} (group ${group.name}): ${reason}`;
}
