import type { Episode } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import type { Runtime } from './runtime.ts';

/**
 * Turns what happens into messages. Messages of episodes are events of the journal, appended together with what they tell of,
 * so that neither is ever without the other; sending is somebody else's business.
 */
export interface Teller {
  /** With `episode_opened`: asks for approval, or tells of a dry run. */
  onOpened(episode: Episode, runtime: Runtime): readonly JournalEvent[];
  /** With the first step: `started`, sent only if the episode lasts over 30 s. */
  onStarted(episode: Episode, runtime: Runtime): readonly JournalEvent[];
  /** With the end. */
  onFinished(episode: Episode, runtime: Runtime): readonly JournalEvent[];
  /** Alerts of rules that only tell, and of breaches that were held. Never throws. */
  tellAlerts(runtime: Runtime, nowMs: number): Promise<void>;
  /** The one closing line of the log. */
  logClosed(episode: Episode): void;
}
