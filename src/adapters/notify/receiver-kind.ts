import type { z } from 'zod';
import type { Clock, Log, Sender } from '../../domain/ports.ts';

/** What a sender needs from the application. */
export type SenderDeps = {
  readonly clock: Clock;
  readonly log: Log;
  /** Name of the receiver, and the place of this entry in its list: together they name the lane. */
  readonly receiver: string;
  readonly index: number;
};

/** A sender that may hold connections. */
export type ClosableSender = Sender & { close(): void };

/** A kind of integration as the registry knows it: its schema at once, its code behind `create` (an `import()`). */
export type ReceiverKind<Config = unknown> = {
  /** Name in metrics and lanes. */
  readonly kind: string;
  /** Key under `receivers[]`; its value is a list of what `config` describes. */
  readonly key: string;
  readonly config: z.ZodType<Config>;
  readonly create: (config: Config, deps: SenderDeps) => Promise<ClosableSender>;
};

/** A kind whose types only its own folder knows: what the registry holds. */
export type AnyReceiverKind = Omit<ReceiverKind, 'create'> & {
  /** `config` must be what this kind's own schema gave. */
  readonly create: (config: unknown, deps: SenderDeps) => Promise<ClosableSender>;
};

/** Ties a kind's schema to its code. */
export function defineReceiver<Config>(kind: ReceiverKind<Config>): AnyReceiverKind {
  // The loader hands over what `config` parsed: its output type, which the registry cannot name.
  return { ...kind, create: async (config, deps) => await kind.create(config as Config, deps) };
}
