import { z } from 'zod';
import type { BaseEntry } from './base-list.ts';
import { isSameState, type ModelState, modelStateSchema, namedVersions } from './model-state.ts';

/** A change in force on one endpoint that the base list does not have; void once the model's base entry differs from `base`. */
const changeSchema = z.object({ state: modelStateSchema, base: z.string() });
/** Policy and labels from before our first pin, and the last policy we pinned with. */
const originalSchema = z.object({ state: modelStateSchema, pin: modelStateSchema.shape.policy });
export type Original = z.output<typeof originalSchema>;

export function changeKey(model: string, endpoint: string): string {
  return `policy/${model}/${endpoint}`;
}
export function originalKey(model: string): string {
  return `original/${model}`;
}

/** A patch of the plane's memory: `null` forgets a key. */
export type MemoryPatch = Readonly<Record<string, unknown>>;

/**
 * What the journal remembers for this plane, under what this process already did and the journal may not show yet:
 * two episodes on one server must see each other's changes at once.
 */
export class ChangeMemory {
  readonly #read: () => Readonly<Record<string, unknown>>;
  readonly #overlay = new Map<string, unknown>();
  #epoch = 0;

  constructor(read: () => Readonly<Record<string, unknown>>) {
    this.#read = read;
  }

  /** Another leader may have written since: what was laid over under an older epoch no longer counts. */
  enterEpoch(epoch: number): void {
    if (epoch > this.#epoch) this.#overlay.clear();
    this.#epoch = Math.max(this.#epoch, epoch);
  }

  lay(patch: MemoryPatch): void {
    for (const [key, value] of Object.entries(patch)) this.#overlay.set(key, value);
  }

  /** One consistent view; entries the journal shows by now are dropped from the overlay. */
  snapshot(): MemorySnapshot {
    const journalled = this.#read();
    for (const [key, value] of this.#overlay) {
      if (JSON.stringify(journalled[key] ?? null) === JSON.stringify(value)) this.#overlay.delete(key);
    }
    return new MemorySnapshot({ ...journalled, ...Object.fromEntries(this.#overlay) });
  }
}

export class MemorySnapshot {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  has(key: string): boolean {
    return (this.#values[key] ?? null) !== null;
  }

  /** Our change in force there, `null` when there is none or the base entry changed since. */
  change(entry: BaseEntry, endpoint: string): ModelState | null {
    const parsed = changeSchema.safeParse(this.#values[changeKey(entry.name, endpoint)]);
    return parsed.success && parsed.data.base === entry.hash ? parsed.data.state : null;
  }

  /** What the list says of a model on one endpoint: the base entry, or our change of it. */
  truth(entry: BaseEntry, endpoint: string): ModelState {
    return this.change(entry, endpoint) ?? entry.state;
  }

  original(model: string): Original | null {
    const parsed = originalSchema.safeParse(this.#values[originalKey(model)]);
    return parsed.success ? parsed.data : null;
  }

  /** Whether the policy in force there is a pin of ours, and not something people wrote since. */
  isPinned(entry: BaseEntry, endpoint: string): boolean {
    const original = this.original(entry.name);
    const truth = this.truth(entry, endpoint);
    if (original === null || namedVersions(truth.policy) === null || isSameState(truth, original.state)) return false;
    return this.change(entry, endpoint) !== null || JSON.stringify(original.pin) === JSON.stringify(truth.policy);
  }
}

/**
 * What to remember once every endpoint has the state given.
 * @param entry the model's base entry from then on
 * @param truths endpoint → policy and labels in force there
 */
export function rememberedAfter(snapshot: MemorySnapshot, entry: BaseEntry, truths: ReadonlyMap<string, ModelState>, original: Original): MemoryPatch {
  const patch: Record<string, unknown> = {};
  for (const [endpoint, state] of truths) {
    const key = changeKey(entry.name, endpoint);
    if (!isSameState(state, entry.state)) patch[key] = { state, base: entry.hash };
    else if (snapshot.has(key)) patch[key] = null;
  }
  const isBack = [entry.state, ...truths.values()].every((state) => isSameState(state, original.state));
  if (!isBack) patch[originalKey(entry.name)] = original;
  else if (snapshot.has(originalKey(entry.name))) patch[originalKey(entry.name)] = null;
  return patch;
}
