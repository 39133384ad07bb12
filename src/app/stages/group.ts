import type { Judgement } from '../../domain/decide.ts';
import { consequence } from '../../domain/decide.ts';
import type { EpisodeGroup } from '../../domain/episode.ts';
import { judgeGroup, type PeerJudgement, releaseOf, standingOfPeer } from '../../domain/group-rollback.ts';
import type { Model } from '../../domain/model.ts';
import { groupOf, type ModelGroup } from '../../domain/model-group.ts';
import type { Log } from '../../domain/ports.ts';
import { effectivePolicy } from '../runtime.ts';
import { readSignatures } from './compatibility.ts';
import { type DecideContext, type DecideSubject, judgeGuards } from './decide.ts';

/** Another model of the group, as it was seen before the decision. */
type Peer =
  | { readonly kind: 'follows'; readonly model: Model; readonly subject: DecideSubject }
  | { readonly kind: 'stays'; readonly model: Model; readonly reason: string }
  | { readonly kind: 'unseen'; readonly model: Model; readonly reason: string };

/** What was seen of the group of a model that would go back to `target`. */
export type GroupLook = {
  readonly group: ModelGroup & Pick<EpisodeGroup, 'kind'>;
  readonly target: string;
  readonly releasedMs: number | null;
  readonly peers: readonly Peer[];
};

/** One that follows, with its own guards' word. */
export type Follower = { readonly subject: DecideSubject; readonly judgement: Judgement; readonly target: string };

/** The judgement on the group as a whole, and who follows if it goes. */
export type GroupJudgement = { readonly judgement: Judgement; readonly followers: readonly Follower[] };

/**
 * Looks at the other models that would have to move in step, each on its own plane. `null`: there are none, or the model itself is held, so that nothing would move.
 * @param thorough `false`: the last observations will do, since no episode will begin
 */
export async function lookAtGroup(
  leader: DecideSubject,
  context: DecideContext,
  { thorough, log, signal }: { readonly thorough: boolean; readonly log: Log; readonly signal: AbortSignal },
): Promise<GroupLook | null> {
  const group = groupOf(context.runtime.modelGroups, leader.model.name);
  if (!movesInStep(group)) return null;
  const judgement = judgeGuards(leader, context);
  const { target } = judgement.choice;
  if (target === null || consequence(judgement) === 'hold') return null;
  const since = releaseOf({ from: leader.from, to: target, ledger: context.memory.ledger(leader.model.name) });
  const releasedMs = since === null ? null : since - group.releasedWithinMs;
  const others = group.models.flatMap((name) => (name === leader.model.name ? [] : (context.runtime.models.get(name) ?? [])));
  const peers = await Promise.all(others.map(async (model) => await lookAtPeer(model, releasedMs, context, { thorough, log, signal })));
  return { group, target, releasedMs, peers };
}

export function movesInStep(group: ModelGroup | null): group is GroupLook['group'] {
  return group !== null && group.kind !== 'hold_peers';
}

async function lookAtPeer(
  model: Model,
  releasedMs: number | null,
  context: DecideContext,
  { thorough, log, signal }: { readonly thorough: boolean; readonly log: Log; readonly signal: AbortSignal },
): Promise<Peer> {
  const { memory, runtime } = context;
  const observation = thorough ? await runtime.observer.observe(model, { thorough }, signal) : runtime.observer.latest(model);
  if (observation === null) return { kind: 'unseen', model, reason: runtime.observer.failure(model.name) ?? 'the control plane was not observed' };
  const standing = standingOfPeer({ observation, ledger: memory.ledger(model.name), episodes: memory.episodes(model.name) }, releasedMs);
  if (standing.kind === 'stays') return { ...standing, model };
  const subject: DecideSubject = {
    model,
    policy: effectivePolicy(runtime, model, null),
    from: standing.from,
    rule: null,
    verdict: null,
    observation,
    trigger: 'rule',
    episode: null,
    servedBeforeMs: releasedMs,
  };
  const plane = runtime.planes.get(model.controlPlane);
  return { kind: 'follows', model, subject: thorough ? await readSignatures(subject, context, { plane, log, signal }) : subject };
}

/** Asks the guards of all that would move: one that holds holds them all. */
export function judgeWithGroup(leader: Judgement, look: GroupLook, context: DecideContext): GroupJudgement {
  const followers: Follower[] = [];
  const judged = look.peers.flatMap((peer): PeerJudgement[] => {
    const model = peer.model.name;
    if (peer.kind === 'stays') return [];
    if (peer.kind === 'unseen') return [{ model, held: [{ reason: 'version_changed', detail: `what serves now could not be confirmed: ${peer.reason}` }] }];
    const judgement = judgeGuards(peer.subject, context);
    if (judgement.choice.target !== null) followers.push({ subject: peer.subject, judgement, target: judgement.choice.target });
    return [{ model, held: judgement.held }];
  });
  return { judgement: judgeGroup(look.group.name, leader, judged), followers };
}
