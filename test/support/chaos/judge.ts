import { canonicalJson } from '../../../src/domain/canonical-json.ts';
import type { Episode } from '../../../src/domain/episode.ts';
import type { Played } from './play.ts';
import type { Scenario } from './scenario.ts';

/** How an episode must end, and whether what serves must have changed. */
type RightEnd = { readonly state: Episode['state']; readonly outcome: Episode['outcome']; readonly to: string; readonly hasMoved: boolean };

/** All that is wrong with a play, in words; empty: nothing. */
export function wrongsOf(scenario: Scenario, played: Played): readonly string[] {
  return [
    ...played.wrongs,
    ...(played.verified.ok ? [] : [`the journal does not verify: ${played.verified.reason}`]),
    ...wrongsOfEpisodes(scenario, played),
    ...wrongsOfSwitches(played),
    ...wrongsOfMessages(played),
  ];
}

function wrongsOfEpisodes(scenario: Scenario, played: Played): readonly string[] {
  const { episodes, events, foreign, serving } = played;
  if (episodes.length === 0 && foreign === 'before_switch') return [];
  const [episode] = episodes;
  if (episode === undefined || episodes.length > 1) return [`${episodes.length} episodes, expected one`];
  const wrongs: string[] = [];
  const say = (isRight: boolean, words: string): void => void (isRight || wrongs.push(words));
  const found = `${episode.state}/${episode.outcome} (${episode.detail})`;
  const ends = events.filter(({ event }) => event.type === 'episode_state' && event.outcome !== undefined);
  say(ends.length === 1, `the episode ended ${ends.length} times`);
  const right = rightEnd(scenario, played);
  if (right !== null) {
    say(episode.state === right.state && episode.outcome === right.outcome && episode.to === right.to, `ended ${found}, expected ${JSON.stringify(right)}`);
    const expected = right.hasMoved ? right.to : '2';
    say(
      serving.every((version) => version === expected),
      `${serving.join(' and ')} serve, expected ${expected}`,
    );
  }
  say(['succeeded', 'failed', 'aborted'].includes(episode.state), `ended ${found}`);
  if (episode.outcome === 'success' && foreign !== 'later') {
    say(
      serving.every((version) => version === episode.to),
      `a success, but ${serving.join(' and ')} serve, not ${episode.to}`,
    );
  }
  if (episode.detail.includes('Nothing moved')) say(played.switches.length === 0, `«Nothing moved», but ${played.switches.join(', ')}`);
  return wrongs;
}

/** `null` where more than one end is right. */
function rightEnd(scenario: Scenario, { wasRefused, foreign }: Played): RightEnd | null {
  if (wasRefused || foreign !== 'none') return null;
  const isGood = (version: string): boolean =>
    scenario.target !== 'stuck' && !(version === '1' && (scenario.target === 'broken' || scenario.smoke === 'fails_staged'));
  const candidates = scenario.triesNext ? ['1', '0'] : ['1'];
  const to = candidates.find(isGood);
  if (to === undefined) return { state: 'failed', outcome: 'failure', to: candidates.at(-1) ?? '', hasMoved: false };
  if (scenario.smoke === 'fails_serving') return { state: 'failed', outcome: 'failure', to, hasMoved: true };
  return { state: 'succeeded', outcome: 'success', to, hasMoved: true };
}

/** Each server changes once at the most, away from the bad version and to the target. */
function wrongsOfSwitches({ switches, episodes }: Played): readonly string[] {
  const { to = 'nothing' } = episodes[0] ?? {};
  const allowed = new Set([`a: 2 -> ${to}`, `b: 2 -> ${to}`]);
  const isTwice = new Set(switches).size < switches.length;
  return isTwice || switches.some((each) => !allowed.has(each)) ? [`what serves changed: ${switches.join(', ')}; expected once a server, 2 -> ${to}`] : [];
}

function wrongsOfMessages({ events, episodes, deliveries }: Played): readonly string[] {
  const enqueued = events.flatMap(({ event }) => (event.type === 'message_enqueued' ? [event.message] : []));
  const finished = enqueued.filter(({ kind }) => kind === 'episode_finished');
  const repeated = enqueued.length - new Set(enqueued.map(({ id }) => id)).size;
  // A start that an end overtakes is told with the end.
  const lost = enqueued.filter(({ id, kind }) => kind !== 'episode_started' && !deliveries.some((delivery) => delivery.id === id));
  const changed = deliveries.filter((delivery) => {
    const own = enqueued.find(({ id }) => id === delivery.id);
    // An alert is told also while the journal cannot be written.
    return own === undefined ? delivery.kind !== 'alert' : canonicalJson(own.content) !== canonicalJson(delivery.content);
  });
  return [
    ...(finished.length === episodes.length ? [] : [`${finished.length} messages of an end for ${episodes.length} episodes`]),
    ...(repeated === 0 ? [] : [`${repeated} messages are in the journal twice`]),
    ...lost.map(({ id }) => `message ${id} was never sent`),
    ...changed.map(({ id }) => `message ${id} was sent in other words than the journal has`),
  ];
}
