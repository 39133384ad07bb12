import type { Attribution, Matcher, Signals } from '../../domain/model.ts';

/** The model a preset is to describe. */
export type PresetSubject = {
  /** What the plane calls it: `plane.model`, or its name here. */
  readonly name: string;
  /** Its keys on the plane, as the plane's schema gave them; empty while only the shape of the signals is asked for. */
  readonly plane: Readonly<Record<string, unknown>>;
};

/** Signals of a server that many run, filled in by its name. */
export type Preset = {
  /** Key under `models[].preset`; the file is named after it. */
  readonly name: string;
  readonly description: string;
  /** Which signals there are does not depend on the subject, only what selects them. */
  readonly signals: (subject: PresetSubject) => Signals;
  /** How versions are told apart unless the model says `version_label`; `null`: the model must say. */
  readonly attribution: Attribution | null;
  /** Highest finite bucket of the latency histogram, seconds; a latency bound at or above it could never fire. */
  readonly highestBucketSeconds: number | null;
  /** All its finite bounds, seconds, where they are known for certain. */
  readonly bucketBoundsSeconds?: readonly number[];
  /** Why the platform's metrics cannot answer for a signal that is left out, and the way out; said when a rule asks for it. */
  readonly lacks?: { readonly errors?: string; readonly latency?: string };
  /** Labels of its metrics that tell versions; a `version_label` outside is refused with `attributionHint`. Absent: not known, anything goes. */
  readonly versionLabels?: readonly string[];
  readonly attributionHint?: string;
};

/** @param value compared as it is */
export function equals(label: string, value: string): Matcher {
  return { label, op: '=', value };
}

/** What the resource is called, and so the model on its server: `plane.name` where the kind has that key. */
export function resourceName({ name, plane }: PresetSubject): string {
  return typeof plane['name'] === 'string' ? plane['name'] : name;
}

/** HTTP's 5xx, and what gRPC's own names blame on the server; as Go spells them. */
export const serverFaults = '5..|Unknown|DeadlineExceeded|ResourceExhausted|Unimplemented|Internal|Unavailable|DataLoss';
