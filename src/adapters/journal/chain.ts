import { createHash } from 'node:crypto';

/** Stands where the first event looks for the hash before it. */
export const genesisHash = '0'.repeat(64);

/** A row of the chain; `payload` is the event as canonical JSON. */
export type ChainRow = { readonly seq: number; readonly at_ms: number; readonly epoch: number; readonly payload: string };

/**
 * SHA-256, hex, over the canonical JSON of `{at, epoch, event, seq}` followed by the hash before: anybody can recompute it from an export.
 * `payload` is canonical already, so the text is put together instead of written again.
 */
export function hashOf(row: ChainRow, previousHash: string): string {
  return createHash('sha256').update(`{"at":${row.at_ms},"epoch":${row.epoch},"event":${row.payload},"seq":${row.seq}}${previousHash}`).digest('hex');
}
