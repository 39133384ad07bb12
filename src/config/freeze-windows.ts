import { Cron } from 'croner';
import { z } from 'zod';
import { globPattern, modelPattern } from './model-pattern.ts';
import { duration, entityName, flag } from './scalars.ts';
import { resolveTimeZone, timeZone } from './time-zone.ts';

const schedule = z.string({ error: "expected a cron schedule of five fields; write '0 22 * * 5'" }).superRefine((pattern, context) => {
  const fault = scheduleFault(pattern);
  if (fault !== null) context.addIssue({ code: 'custom', message: `expected a cron schedule of five fields; write '0 22 * * 5' (${fault})` });
});

/** One entry of `freeze_windows:`, in the words of Argo CD's sync windows. */
export const freezeWindowSchema = z.strictObject({
  name: entityName('the name of the window').meta({ description: 'Name of the window, unique. Required.' }),
  kind: z.enum(['deny', 'allow']).default('deny').meta({
    description: 'deny: no rollback while the window is on. allow: a rollback only while it (or another allow window of the model) is on. Default: deny.',
  }),
  schedule: schedule.meta({ description: 'When it begins: minute, hour, day of month, month, day of week, as in cron. Required.' }),
  duration: duration({ minMs: 60_000, minText: '1m' }).meta({
    description: 'How long it is on, 1m or more, of time that passes (summer time does not stretch it). Required.',
  }),
  time_zone: timeZone().default('UTC').meta({ description: 'IANA time zone of the schedule, such as Europe/Berlin; Local is the machine’s. Default: UTC.' }),
  models: z
    .array(modelPattern(), { error: 'expected a list of models' })
    .min(1, 'expected at least one model')
    .default(['*'])
    .meta({ description: 'Models it holds for, by name; * stands for any text. Default: all.' }),
  manual_rollback: flag().default(false).meta({ description: 'Whether a person may roll back by hand all the same. Default: false.' }),
});
type Parsed = z.output<typeof freezeWindowSchema>;

/** A window with its schedule compiled; pure but for the time-zone data of the runtime. */
export type FreezeWindow = {
  readonly name: string;
  readonly kind: Parsed['kind'];
  readonly allowsManual: boolean;
  covers(model: string): boolean;
  /** When it ends, if it is on at this instant; `null`: it is off. ms since 1970. */
  onUntil(nowMs: number): number | null;
};

/**
 * A start that falls into the hour that summer time skips is moved to the end of that hour; one in the hour that comes twice counts once, the first time.
 * @see https://croner.56k.guru (fixed-time jobs)
 */
export function toFreezeWindow(parsed: Parsed): FreezeWindow {
  const cron = compile(parsed.schedule, resolveTimeZone(parsed.time_zone));
  const patterns = parsed.models.map(globPattern);
  return {
    name: parsed.name,
    kind: parsed.kind,
    allowsManual: parsed.manual_rollback,
    covers: (model) => patterns.some((pattern) => pattern.test(model)),
    onUntil: (nowMs) => {
      // Runs before the reference: one that is due right now is on already.
      const begun = cron.previousRuns(1, new Date(nowMs + 1))[0];
      const untilMs = begun === undefined ? Number.NEGATIVE_INFINITY : begun.getTime() + parsed.duration;
      return nowMs < untilMs ? untilMs : null;
    },
  };
}

function compile(pattern: string, zone: string): Cron {
  return new Cron(pattern, { timezone: zone, paused: true, mode: '5-part' });
}

function scheduleFault(pattern: string): string | null {
  try {
    return compile(pattern, 'UTC').nextRun(new Date(0)) === null ? 'it never comes' : null;
  } catch (error) {
    return error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error);
  }
}
