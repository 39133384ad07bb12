import type { Clock, Log } from '../../domain/ports.ts';
import type { HttpClient } from '../http/client.ts';

export type SmokeDeps = {
  readonly clock: Clock;
  readonly log: Log;
  /** What a command's environment starts from: PATH, HOME and LANG of the daemon, nothing else. */
  readonly baseEnv: Readonly<Record<string, string>>;
  /** Texts that must show in no detail and no log line; asked at each use. */
  readonly secrets?: () => readonly string[];
};

/** What one try of one request says. `permanent`: another try cannot change it. */
export type Attempt = { readonly passed: boolean; readonly detail: string; readonly durationMs: number; readonly permanent?: boolean };
export type AttemptTools = SmokeDeps & { readonly http: HttpClient };
