import type { z } from 'zod';
import type { Calendar, Freeze } from '../domain/calendar.ts';
import { type FreezeWindow, type freezeWindowSchema, toFreezeWindow } from './freeze-windows.ts';
import { contains, type timeIntervalsSchema } from './time-intervals.ts';

/** The calendar of the daemon's file. */
export function toCalendar(
  freezeWindows: readonly z.output<typeof freezeWindowSchema>[],
  timeIntervals: readonly z.output<typeof timeIntervalsSchema>[],
): Calendar {
  const windows = rememberInstant(freezeWindows.map(toFreezeWindow));
  const intervals = new Map(timeIntervals.map((entry) => [entry.name, entry.time_intervals]));
  return {
    freezes: (model, nowMs) =>
      freezesOf(
        windows.filter((window) => window.covers(model)),
        nowMs,
      ),
    isWithin: (names, nowMs) => names.some((name) => intervals.get(name)?.some((interval) => contains(interval, nowMs)) === true),
    windows: (nowMs) => new Map(windows.map((window) => [window.name, window.onUntil(nowMs) !== null])),
  };
}

/** Schedules are looked up once an instant: the fleet's models are asked about one after the other. */
function rememberInstant(windows: readonly FreezeWindow[]): readonly FreezeWindow[] {
  return windows.map((window) => {
    let known: { readonly nowMs: number; readonly untilMs: number | null } | null = null;
    return {
      ...window,
      onUntil: (nowMs) => (known = known?.nowMs === nowMs ? known : { nowMs, untilMs: window.onUntil(nowMs) }).untilMs,
    };
  });
}

/** As Argo CD has it: deny beats allow, and where there are allow windows one of them must be on. */
function freezesOf(windows: readonly FreezeWindow[], nowMs: number): readonly Freeze[] {
  const told = windows.map((window) => ({ window, untilMs: window.onUntil(nowMs) }));
  const isAllowed = told.some(({ window, untilMs }) => window.kind === 'allow' && untilMs !== null);
  return told.flatMap(({ window: { name, kind, allowsManual }, untilMs }): Freeze[] => {
    if (kind === 'deny' && untilMs !== null) return [{ name, allowsManual, detail: `${name} is on until ${new Date(untilMs).toISOString()}` }];
    if (kind === 'allow' && untilMs === null && !isAllowed) return [{ name, allowsManual, detail: `it is not the time of ${name}` }];
    return [];
  });
}
