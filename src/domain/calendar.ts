/** A freeze window that keeps a model from being rolled back now. */
export type Freeze = {
  readonly name: string;
  /** `load-test is on until 2026-11-28T00:00:00.000Z` */
  readonly detail: string;
  readonly allowsManual: boolean;
};

/** What the daemon's file says of times (`freeze_windows`, `time_intervals`); the instant is always an argument, ms since 1970. */
export type Calendar = {
  /** Freezes in force for a model, in the order of the file. */
  freezes(model: string, nowMs: number): readonly Freeze[];
  /** Whether the instant lies in one of the named time intervals. */
  isWithin(intervals: readonly string[], nowMs: number): boolean;
  /** Each freeze window by name, and whether it is on. */
  windows(nowMs: number): ReadonlyMap<string, boolean>;
};

export const emptyCalendar: Calendar = { freezes: () => [], isWithin: () => false, windows: () => new Map() };
