import { formatDuration } from '../domain/duration.ts';
import { type Episode, episodeEnds } from '../domain/episode.ts';
import type { Log } from '../domain/ports.ts';

/**
 * The one closing line of an episode. That of a successful rollback is what `rollback AND success` finds in Kibana, and
 * `event.action:"rollback" and event.outcome:"success"` precisely; log.ts sees to it that no other line holds both words.
 * Dry runs (`recorded`) and open episodes have none.
 * @see reference ecosystem 4.3
 */
export function logRollbackClosed(log: Log, episode: Episode): void {
  if (!episodeEnds.has(episode.state) || episode.state === 'recorded') return;
  const route = `${episode.model} ${episode.from} -> ${episode.to}`;
  const fields = closingFields(episode);
  if (episode.state === 'rejected' || (episode.state === 'aborted' && episode.outcome === null)) {
    log.info(fields, `rollback ${episode.state}: ${route}: ${episode.detail}`);
    return;
  }
  const outcome = episode.outcome ?? 'unknown';
  const took = formatSeconds(endMs(episode) - startMs(episode));
  if (outcome === 'success') log.info({ ...fields, 'event.outcome': outcome }, `rollback success: ${route} in ${took}`);
  else log.error({ ...fields, 'event.outcome': outcome }, `rollback ${outcome}: ${route} after ${took}: ${episode.detail}`);
}

function closingFields(episode: Episode): Record<string, unknown> {
  const { evidence } = episode;
  const fields: Record<string, unknown> = {
    'event.kind': 'event',
    'event.category': ['configuration'],
    'event.type': ['change'],
    'event.action': 'rollback',
    'event.id': episode.id,
    'event.reason': episode.reason,
    'event.duration': (endMs(episode) - startMs(episode)) * 1_000_000,
    'event.start': new Date(startMs(episode)).toISOString(),
    'event.end': new Date(endMs(episode)).toISOString(),
    'labels.model': episode.model,
    'labels.from_version': episode.from,
    'labels.to_version': episode.to,
    'labels.trigger': episode.trigger,
  };
  if (episode.rule !== null) fields['rule.name'] = episode.rule;
  for (const name of ['value', 'threshold', 'requests'] as const) if (evidence[name] !== null) fields[`rollbackd.${name}`] = evidence[name];
  return fields;
}

function startMs(episode: Episode): number {
  return episode.startedAtMs ?? episode.detectedAtMs;
}

function endMs(episode: Episode): number {
  return Math.max(episode.finishedAtMs ?? startMs(episode), startMs(episode));
}

/** `12.4s` below a minute, else as Prometheus writes it, in whole seconds. */
function formatSeconds(durationMs: number): string {
  return durationMs < 60_000 ? `${(durationMs / 1000).toFixed(1)}s` : formatDuration(Math.round(durationMs / 1000) * 1000);
}
