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
};

/** @param value compared as it is */
export function equals(label: string, value: string): Matcher {
  return { label, op: '=', value };
}
