import type { Clock } from '../domain/ports.ts';
import type { Metrics, TalkingPart } from '../telemetry/metrics.ts';
import { scrubText } from '../telemetry/redaction.ts';

/** How the talking goes. Times in ms since 1970. */
export type PartHealth = {
  /** Whether the last conversation worked; `null` before the first. */
  readonly up: boolean | null;
  /** Since when it is so. */
  readonly sinceMs: number | null;
  readonly lastSuccessMs: number | null;
  /** What went wrong the last time, without secrets; `null` while all is well. */
  readonly error: string | null;
};

const longestError = 500;
const unheard: PartHealth = { up: null, sinceMs: null, lastSuccessMs: null, error: null };

/** Of one part; several voices speak of it (each model of a control plane, reading and writing of a journal), and any that fails is its failure. */
type Entry = { readonly part: TalkingPart; readonly voices: readonly string[] | null; readonly failures: Map<string, string>; health: PartHealth };

/** Knows of each part whether the last conversation worked, since when, and what went wrong; tells the metrics. */
export class HealthBoard {
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  #entries = new Map<string, Entry>();
  #journalBytes: number | null = null;

  constructor({ clock, metrics }: { readonly clock: Clock; readonly metrics: Metrics }) {
    this.#clock = clock;
    this.#metrics = metrics;
  }

  /** All parts there are, after each load of the settings; what is told of others is not heard. `voices`: the only ones that speak, any unless given. */
  know(parts: readonly { readonly part: TalkingPart; readonly voices?: readonly string[] }[]): void {
    const before = this.#entries;
    this.#entries = new Map();
    for (const { part, voices = null } of parts) {
      const known = before.get(keyOf(part));
      const failures = new Map([...(known?.failures ?? [])].filter(([voice]) => voices?.includes(voice) !== false));
      const entry: Entry = { part, voices, failures, health: known?.health ?? unheard };
      this.#entries.set(keyOf(part), entry);
      if (entry.health.up !== null) this.#judge(entry, entry.health.lastSuccessMs);
    }
  }

  /** A conversation that worked (`failure: null`), or why it did not. */
  told(part: TalkingPart, failure: string | null, voice = ''): void {
    const entry = this.#entries.get(keyOf(part));
    if (entry === undefined || entry.voices?.includes(voice) === false) return;
    if (failure === null) entry.failures.delete(voice);
    else entry.failures.set(voice, oneLine(failure));
    this.#judge(entry, entry.failures.size === 0 ? this.#clock.nowMs() : entry.health.lastSuccessMs);
  }

  /** A voice that will not speak again for now says nothing any more: no success, no failure. */
  silence(part: TalkingPart, voice: string): void {
    const entry = this.#entries.get(keyOf(part));
    if (entry?.failures.delete(voice) === true) this.#judge(entry, entry.health.lastSuccessMs);
  }

  /** In the order of the settings. */
  receivers(): readonly { readonly part: Extract<TalkingPart, { kind: 'receiver' }>; readonly health: PartHealth }[] {
    return [...this.#entries.values()].flatMap(({ part, health }) => (part.kind === 'receiver' ? [{ part, health }] : []));
  }

  /** `null`: nobody has looked yet. */
  get journalBytes(): number | null {
    return this.#journalBytes;
  }

  journalSizeIs(bytes: number): void {
    this.#journalBytes = bytes;
    this.#metrics.journalSizeIs(bytes);
  }

  of(part: TalkingPart): PartHealth {
    return this.#entries.get(keyOf(part))?.health ?? unheard;
  }

  #judge(entry: Entry, lastSuccessMs: number | null): void {
    const [error = null] = entry.failures.values();
    const { up: wasUp, sinceMs } = entry.health;
    const up = error === null;
    entry.health = { up, sinceMs: up === wasUp ? sinceMs : this.#clock.nowMs(), lastSuccessMs, error };
    this.#metrics.partIs(entry.part, up, lastSuccessMs);
  }
}

function keyOf(part: TalkingPart): string {
  return JSON.stringify([part.kind, 'name' in part ? part.name : '', 'integration' in part ? part.integration : '']);
}

function oneLine(text: string): string {
  const words = scrubText(text).replaceAll(/\s+/g, ' ').trim();
  return words.length > longestError ? `${words.slice(0, longestError)}…` : words;
}
