import type { Decision } from '../domain/decision.ts';
import type { Episode, EpisodeGroup, Evidence } from '../domain/episode.ts';
import { followReason, spellGroup } from '../domain/group-rollback.ts';
import { groupOf } from '../domain/model-group.ts';
import { openEpisode } from './episode-opening.ts';
import { renderRuleTexts } from './rule-texts.ts';
import type { Runtime } from './runtime.ts';
import { type DecideContext, type DecideSubject, toDecision } from './stages/decide.ts';
import { type Follower, type GroupLook, movesInStep } from './stages/group.ts';

/** An episode with the decision that opened it; both are journalled in one append, those of a group all together. */
export type Opened = { readonly episode: Episode; readonly decision: Decision };

/** A follower was judged by another's numbers, and has none of its own. */
const noEvidence: Evidence = { signal: 'group', value: null, threshold: null, requests: null, window: null, baseline: null, series: [] };

/**
 * The episodes of a group, in the order in which they move: the leader's, and one for each that follows. One append opens them all, so that no process finds
 * a part of them.
 * @param leader as it would be opened alone
 */
export function openGroup(
  leader: Opened,
  subject: DecideSubject,
  { look, followers, context }: { readonly look: GroupLook; readonly followers: readonly Follower[]; readonly context: DecideContext },
): readonly Opened[] {
  const { runtime, nowMs } = context;
  const opened = followers.map((follower) => openFollower(leader, subject, follower, { group: look.group.name, runtime, nowMs }));
  const all = [toldWhyDry(leader, subject), ...opened].toSorted(
    (a, b) => look.group.models.indexOf(a.episode.model) - look.group.models.indexOf(b.episode.model),
  );
  const group: EpisodeGroup = {
    name: look.group.name,
    kind: look.group.kind,
    leader: leader.episode.id,
    members: all.map(({ episode }) => ({ model: episode.model, episode: episode.id })),
    stays: look.peers.flatMap((peer) => (peer.kind === 'stays' ? [{ model: peer.model.name, reason: peer.reason }] : [])),
    releasedMs: look.releasedMs,
  };
  return all.map(({ episode, decision }) => ({ episode: withGroup(episode, group), decision }));
}

/** Another's mode may be what keeps one in `enforce` from acting. */
function toldWhyDry({ episode, decision }: Opened, { policy }: DecideSubject): Opened {
  if (episode.mode !== 'dry_run' || policy.mode !== 'enforce') return { episode, decision };
  return { episode: { ...episode, detail: `${episode.detail}, but ${decision.detail}` }, decision };
}

function openFollower(
  leader: Opened,
  { rule, model }: DecideSubject,
  { subject, judgement, target }: Follower,
  { group, runtime, nowMs }: { readonly group: string; readonly runtime: Runtime; readonly nowMs: number },
): Opened {
  const reason = followReason({ name: group }, model.name, leader.episode.reason);
  const texts = renderRuleTexts(rule, {
    model: subject.model.name,
    version: subject.from,
    value: null,
    from: subject.from,
    to: target,
    externalLabels: runtime.externalLabels,
  });
  const episode = openEpisode({
    subject,
    judgement,
    // Whether a person is asked is the leader's question: those that follow wait for the answer.
    decision: leader.episode.mode === 'dry_run' ? 'dry_run' : 'rollback',
    target,
    plane: runtime.planes.get(subject.model.controlPlane),
    evidence: noEvidence,
    nowMs,
    externalLabels: runtime.externalLabels,
    reason,
  });
  // Whom it concerns is the rule's word; what its annotations say is said of the leader's version.
  const own = { ...episode, rule: leader.episode.rule, labels: texts.labels };
  const decision = { ...toDecision(subject, judgement, nowMs, own.id), decision: leader.decision.decision, rule: leader.episode.rule, verdict: reason };
  return { episode: own, decision };
}

/** A person names one model, and moves one: that others of its group stay is said. */
export function openByHand(episode: Episode, runtime: Runtime): Episode {
  const group = groupOf(runtime.modelGroups, episode.model);
  if (!movesInStep(group)) return episode;
  const reason = 'since a rollback by hand moves one model';
  return withGroup(episode, {
    name: group.name,
    kind: group.kind,
    leader: episode.id,
    members: [{ model: episode.model, episode: episode.id }],
    stays: group.models.flatMap((model) => (model === episode.model ? [] : [{ model, reason }])),
    releasedMs: null,
  });
}

function withGroup(episode: Episode, group: EpisodeGroup): Episode {
  const grouped = { ...episode, group };
  return { ...grouped, detail: [episode.detail, spellGroup(grouped)].filter((text) => text !== '').join('. ') };
}
