import { z } from 'zod';
import { entityName, text } from './scalars.ts';
import { resolveTimeZone, timeZone } from './time-zone.ts';

/** Both ends belong to it. */
type Range = readonly [begin: number, end: number];

const weekdayNames = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const monthNames = ['january', 'february', 'march', 'april', 'may', 'june', 'july', 'august', 'september', 'october', 'november', 'december'];
const dayMinutes = 1440;

/** `monday:friday`, or one value alone. `read` gives a part's number, `null` when it is none. */
function range(read: (part: string) => number | null, hint: string): z.ZodType<Range, string | number | boolean> {
  return text({ expected: hint }).transform((given, context): Range => {
    const [first = '', last = first, ...more] = given.split(':').map((part) => part.trim().toLowerCase());
    const [begin, end] = [read(first), read(last)];
    if (begin === null || end === null || more.length > 0) context.addIssue({ code: 'custom', message: `expected ${hint}` });
    else if (begin < 0 === end < 0 ? begin > end : begin < 0)
      context.addIssue({ code: 'custom', message: `expected ${hint}; the end must not lie before the begin, write two entries` });
    else return [begin, end];
    return z.NEVER;
  });
}

function readWeekday(part: string): number | null {
  const index = weekdayNames.indexOf(part);
  return index === -1 ? null : index;
}

function readMonth(part: string): number | null {
  const index = monthNames.indexOf(part);
  return index === -1 ? readNumber(1, 12)(part) : index + 1;
}

function readNumber(min: number, max: number): (part: string) => number | null {
  return (part) => {
    const number = /^-?\d{1,4}$/.test(part) ? Number(part) : Number.NaN;
    return number >= min && number <= max && number !== 0 ? number : null;
  };
}

function readMinutes(given: string): number | null {
  const match = /^([01]\d|2[0-3]):([0-5]\d)$|^(24):(00)$/.exec(given);
  return match === null ? null : Number(match[1] ?? match[3]) * 60 + Number(match[2] ?? match[4]);
}

const clockTime = z
  .string({ error: "expected a time of day in quotes; write '09:00'" })
  .refine((given) => readMinutes(given) !== null, "expected a time of day; write '09:00', '24:00' is the end of the day")
  .transform((given) => readMinutes(given) ?? 0);

const timeRange = z
  .strictObject({
    start_time: clockTime.meta({ description: "Begin, such as '09:00'; belongs to it. Required." }),
    end_time: clockTime.meta({ description: "End, such as '18:00' or '24:00'; does not belong to it. Required." }),
  })
  .refine(({ start_time: start, end_time: end }) => start < end || end === 0, {
    path: ['end_time'],
    message: 'expected a time after start_time; over midnight write two entries',
  });

const list = <Entry extends z.ZodType>(entry: Entry, what: string) =>
  z.array(entry, { error: `expected a list of ${what}` }).min(1, `expected at least one of ${what}`);

const timeInterval = z.strictObject({
  times: list(timeRange, 'times').optional().meta({ description: 'Times of day. Default: all day.' }),
  weekdays: list(range(readWeekday, 'a day of the week or a range; write monday:friday'), 'days of the week')
    .optional()
    .meta({ description: "Days of the week, such as 'monday:friday', sunday first. Default: all." }),
  days_of_month: list(range(readNumber(-31, 31), 'a day of the month or a range, -1 is the last; write 1:5 or -3:-1'), 'days of the month')
    .optional()
    .meta({ description: "Days of the month, such as '1:5'; -1 is the last. Default: all." }),
  months: list(range(readMonth, 'a month or a range; write january:march or 1:3'), 'months')
    .optional()
    .meta({ description: 'Months, by name or number, such as december or 1:3. Default: all.' }),
  years: list(range(readNumber(1970, 9999), 'a year or a range; write 2026:2028'), 'years')
    .optional()
    .meta({ description: "Years, such as '2026:2028'. Default: all." }),
  location: timeZone().default('UTC').meta({ description: 'IANA time zone, such as Europe/Berlin; Local is the machine’s. Default: UTC.' }),
});

/** One entry of `time_intervals:`, word for word as in Alertmanager. @see https://prometheus.io/docs/alerting/latest/configuration/#time_interval */
export const timeIntervalsSchema = z.strictObject({
  name: entityName('the name of the time interval').meta({ description: 'Name, unique; referred to by active_time_intervals. Required.' }),
  time_intervals: list(timeInterval, 'time intervals').meta({
    description: 'It is the time when any of these is; within one all that is written must hold. Required.',
  }),
});

type Interval = z.output<typeof timeInterval>;

/** Whether the instant lies in it, by the clock and the calendar on the wall there. */
export function contains(interval: Interval, nowMs: number): boolean {
  const wall = wallClock(resolveTimeZone(interval.location), nowMs);
  const within = (ranges: readonly Range[] | undefined, value: number): boolean =>
    ranges === undefined || ranges.some(([begin, end]) => value >= begin && value <= end);
  return (
    (interval.times === undefined ||
      interval.times.some(({ start_time: start, end_time: end }) => wall.minutes >= start && wall.minutes < Math.min(end, dayMinutes))) &&
    within(interval.weekdays, wall.weekday) &&
    within(interval.months, wall.month) &&
    within(interval.years, wall.year) &&
    within(
      interval.days_of_month?.flatMap((days) => daysWithin(days, wall.daysInMonth)),
      wall.day,
    )
  );
}

/** Negative days count from the end of this month; what lies beyond it is cut off. */
function daysWithin([begin, end]: Range, daysInMonth: number): readonly Range[] {
  const first = begin < 0 ? daysInMonth + begin + 1 : begin;
  const last = end < 0 ? daysInMonth + end + 1 : end;
  return first > daysInMonth ? [] : [[Math.max(1, first), Math.min(last, daysInMonth)]];
}

type WallClock = {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly weekday: number;
  readonly minutes: number;
  readonly daysInMonth: number;
};

const formats = new Map<string, Intl.DateTimeFormat>();

function wallClock(zone: string, nowMs: number): WallClock {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      ...{ timeZone: zone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric' },
    });
    formats.set(zone, format);
  }
  const parts = new Map(format.formatToParts(nowMs).map(({ type, value }) => [type, Number(value)]));
  const [year = 0, month = 0, day = 0] = [parts.get('year'), parts.get('month'), parts.get('day')];
  return {
    ...{ year, month, day },
    weekday: new Date(Date.UTC(year, month - 1, day)).getUTCDay(),
    minutes: (parts.get('hour') ?? 0) * 60 + (parts.get('minute') ?? 0),
    daysInMonth: new Date(Date.UTC(year, month, 0)).getUTCDate(),
  };
}
