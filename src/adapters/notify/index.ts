import type { AnyReceiverKind } from './receiver-kind.ts';
import { slack } from './slack/index.ts';

/** Every kind of integration: one line each. */
const kinds: readonly AnyReceiverKind[] = [slack];

/** Key under `receivers[]` (`slack_configs`) → its schema and code. */
export const receiverKinds: ReadonlyMap<string, AnyReceiverKind> = new Map(kinds.map((kind) => [kind.key, kind]));
