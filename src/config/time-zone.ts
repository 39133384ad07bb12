import { z } from 'zod';
import { nearest } from '../rulefile/nearest.ts';

/** A time zone of the IANA database; `Local` is the machine's own, as in Alertmanager. */
export function timeZone(): z.ZodType<string, string> {
  return z.string({ error: 'expected a time zone; write Europe/Berlin or UTC' }).superRefine((name, context) => {
    if (isTimeZone(name)) return;
    const suggestion = nearest(name, Intl.supportedValuesOf('timeZone'));
    context.addIssue({
      code: 'custom',
      message: `expected a time zone of the IANA database; write Europe/Berlin or UTC${suggestion === null ? '' : `; did you mean ${suggestion}?`}`,
    });
  });
}

/** The name as `Intl` and croner take it. */
export function resolveTimeZone(name: string): string {
  return name === 'Local' ? new Intl.DateTimeFormat().resolvedOptions().timeZone : name;
}

function isTimeZone(name: string): boolean {
  if (name === 'Local') return true;
  // A fixed offset is no zone: it knows no summer time, and whoever writes one rarely wants that.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
