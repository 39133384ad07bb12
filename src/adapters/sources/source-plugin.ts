import type { z } from 'zod';
import type { Clock, Log, Source } from '../../domain/ports.ts';

/** What a source needs from the application. */
export type SourceDeps = {
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each request: what it was, status or failure code (`200`, `TIMEOUT`, `ECONNREFUSED`), duration in ms. */
  readonly onRequest?: ((method: 'query' | 'query_range' | 'scrape' | 'quality', code: string, durationMs: number) => void) | undefined;
  /** Told of each warning in an answer (the answer itself becomes an `error`). */
  readonly onWarning?: (() => void) | undefined;
};

/** A kind of source: its schema at once, its code when it is used. */
export type SourcePlugin<Config> = {
  readonly kind: string;
  readonly schema: z.ZodType<Config>;
  /** Whether `expr` rules can be asked; known before the source is made, for `check`. */
  readonly hasPromql: boolean;
  /** A registry: it knows versions (`askQuality`) and counts no requests. Default: no. */
  readonly isRegistry?: boolean;
  create(config: Config, deps: SourceDeps): Promise<Source>;
};

/** Keeps the config's type between schema and `create`. */
export function defineSource<Config>(plugin: SourcePlugin<Config>): SourcePlugin<Config> {
  return plugin;
}
