import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Calendar } from '../domain/calendar.ts';
import { toCalendar } from './calendar.ts';
import { freezeWindowSchema } from './freeze-windows.ts';
import { timeIntervalsSchema } from './time-intervals.ts';

const at = (iso: string): number => {
  const ms = Date.parse(iso);
  if (Number.isNaN(ms)) throw new Error(`no time: ${iso}`);
  return ms;
};

function frozen(...windows: readonly object[]): Calendar {
  return toCalendar(z.array(freezeWindowSchema).parse(windows.map((window) => ({ name: 'w', duration: '1h', time_zone: 'Europe/Berlin', ...window }))), []);
}

function within(...intervals: readonly object[]): (iso: string) => boolean {
  const calendar = toCalendar([], z.array(timeIntervalsSchema).parse([{ name: 'office', time_intervals: intervals }]));
  return (iso) => calendar.isWithin(['office'], at(iso));
}

/** The stretches in which the model is frozen, minute by minute, as `from – until`. */
function frozenStretches(calendar: Calendar, fromIso: string, untilIso: string): readonly string[] {
  const stretches: string[] = [];
  let begun: number | null = null;
  for (let nowMs = at(fromIso); nowMs <= at(untilIso); nowMs += 60_000) {
    const isFrozen = calendar.freezes('fraud-eu', nowMs).length > 0;
    if (isFrozen && begun === null) begun = nowMs;
    if (!isFrozen && begun !== null) {
      stretches.push(`${new Date(begun).toISOString().slice(0, 16)} – ${new Date(nowMs).toISOString().slice(0, 16)}`);
      begun = null;
    }
  }
  return stretches;
}

describe('a freeze window', () => {
  it('is on from its start, to the millisecond, until its end, which does not belong to it', () => {
    const calendar = frozen({ schedule: '0 22 * * 5', duration: '3h' });
    const isOn = (nowMs: number): boolean => calendar.freezes('fraud', nowMs).length > 0;

    expect(isOn(at('2026-11-27T21:00:00Z') - 1)).toBe(false);
    expect(isOn(at('2026-11-27T21:00:00Z'))).toBe(true);
    expect(calendar.freezes('fraud', at('2026-11-27T21:00:00Z'))).toEqual([
      { name: 'w', allowsManual: false, detail: 'w is on until 2026-11-28T00:00:00.000Z' },
    ]);
    expect(isOn(at('2026-11-28T00:00:00Z') - 1)).toBe(true);
    expect(isOn(at('2026-11-28T00:00:00Z'))).toBe(false);
  });

  it('stays on without a gap where it lasts longer than from one start to the next', () => {
    const calendar = frozen({ schedule: '0 */2 * * *', duration: '3h' });

    expect(frozenStretches(calendar, '2026-06-01T00:00Z', '2026-06-03T00:00Z')).toEqual([]);
    expect(calendar.freezes('a', at('2026-06-01T12:30Z'))).toHaveLength(1);
  });

  it('follows its zone through summer time', () => {
    const calendar = frozen({ schedule: '0 22 * * *' });

    expect(frozenStretches(calendar, '2026-03-28T12:00Z', '2026-03-29T23:59Z')).toEqual([
      '2026-03-28T21:00 – 2026-03-28T22:00',
      '2026-03-29T20:00 – 2026-03-29T21:00',
    ]);
    expect(frozenStretches(calendar, '2026-10-24T12:00Z', '2026-10-25T23:59Z')).toEqual([
      '2026-10-24T20:00 – 2026-10-24T21:00',
      '2026-10-25T21:00 – 2026-10-25T22:00',
    ]);
  });

  it('begins at the end of the hour that summer time skips', () => {
    // 02:30 does not exist on that day: 01:59 is followed by 03:00, which is 01:00 UTC.
    expect(frozenStretches(frozen({ schedule: '30 2 * * *' }), '2026-03-29T00:00Z', '2026-03-29T12:00Z')).toEqual(['2026-03-29T01:00 – 2026-03-29T02:00']);
  });

  it('begins once, the first time, in the hour that comes twice', () => {
    // 02:30 comes at 00:30 UTC and at 01:30 UTC.
    expect(frozenStretches(frozen({ schedule: '30 2 * * *', duration: '20m' }), '2026-10-24T23:00Z', '2026-10-25T12:00Z')).toEqual([
      '2026-10-25T00:30 – 2026-10-25T00:50',
    ]);
  });

  it('lasts as long as it says, whatever the clock on the wall does meanwhile', () => {
    expect(frozenStretches(frozen({ schedule: '0 1 * * *', duration: '3h' }), '2026-03-28T12:00Z', '2026-03-29T12:00Z')).toEqual([
      '2026-03-29T00:00 – 2026-03-29T03:00',
    ]);
    expect(frozenStretches(frozen({ schedule: '0 1 * * *', duration: '3h' }), '2026-10-24T12:00Z', '2026-10-25T12:00Z')).toEqual([
      '2026-10-24T23:00 – 2026-10-25T02:00',
    ]);
  });

  it('holds for the models it names', () => {
    const calendar = frozen({ schedule: '* * * * *', models: ['fraud-*', 'a.b'] });
    const names = ['fraud-eu', 'fraud-', 'fraud', 'my-fraud-eu', 'a.b', 'axb'];

    expect(names.filter((name) => calendar.freezes(name, at('2026-06-01T00:00Z')).length > 0)).toEqual(['fraud-eu', 'fraud-', 'a.b']);
  });

  it('of kind allow freezes all other times; deny beats it', () => {
    const calendar = frozen(
      { name: 'morning', kind: 'allow', schedule: '0 8 * * *', manual_rollback: true },
      { name: 'noon', kind: 'allow', schedule: '0 12 * * *' },
      { name: 'audit', schedule: '30 12 * * *' },
    );
    const at14 = calendar.freezes('a', at('2026-06-01T14:00+02:00'));

    expect(at14).toEqual([
      { name: 'morning', allowsManual: true, detail: 'it is not the time of morning' },
      { name: 'noon', allowsManual: false, detail: 'it is not the time of noon' },
    ]);
    expect(calendar.freezes('a', at('2026-06-01T12:15+02:00'))).toEqual([]);
    expect(calendar.freezes('a', at('2026-06-01T12:45+02:00')).map(({ name }) => name)).toEqual(['audit']);
    expect([...calendar.windows(at('2026-06-01T08:30+02:00'))]).toEqual([
      ['morning', true],
      ['noon', false],
      ['audit', false],
    ]);
  });
});

describe('a time interval', () => {
  const office = within({ times: [{ start_time: '09:00', end_time: '18:00' }], weekdays: ['monday:friday'], location: 'Europe/Berlin' });

  it.each([
    ['a Monday morning at nine', '2026-11-23T09:00+01:00', true],
    ['just before', '2026-11-23T08:59:59+01:00', false],
    ['the end, which does not belong to it', '2026-11-23T18:00+01:00', false],
    ['a Sunday', '2026-11-22T12:00+01:00', false],
    ['a Monday in New York that is a Monday evening in Berlin', '2026-11-23T13:00-05:00', false],
    ['nine by summer time', '2026-07-20T09:00+02:00', true],
    ['nine by winter time in summer', '2026-07-20T18:00+01:00', false],
  ])('knows %s', (_name, iso, inside) => {
    expect(office(iso)).toBe(inside);
  });

  it('goes by the clock on the wall: what summer time skips never comes, what comes twice is within it twice', () => {
    const night = within({ times: [{ start_time: '02:00', end_time: '03:00' }], location: 'Europe/Berlin' });
    const hours = (day: string): readonly string[] =>
      Array.from({ length: 24 }, (_, hour) => `${day}T${String(hour).padStart(2, '0')}:30Z`).filter((iso) => night(iso));

    expect(hours('2026-03-29')).toEqual([]);
    expect(hours('2026-10-25')).toEqual(['2026-10-25T00:30Z', '2026-10-25T01:30Z']);
  });

  it.each([
    ['the last day of February', { days_of_month: [-1], months: ['february'] }, '2028-02-29T12:00Z', true],
    ['not the day before it', { days_of_month: [-1], months: ['february'] }, '2028-02-28T12:00Z', false],
    ['the last three days, of a month of 30', { days_of_month: ['-3:-1'] }, '2026-11-28T00:00Z', true],
    ['not a day that the month has not', { days_of_month: ['30:31'] }, '2026-02-28T00:00Z', false],
    ['a month by its number', { months: ['1:3'] }, '2026-03-31T23:59Z', true],
    ['a year', { years: ['2026:2028'] }, '2029-01-01T00:00Z', false],
    ['midnight as the end of the day', { times: [{ start_time: '22:00', end_time: '24:00' }] }, '2026-11-22T23:59:59Z', true],
  ])('knows %s', (_name, interval, iso, inside) => {
    expect(within(interval)(iso)).toBe(inside);
  });

  it('is any of its parts, and nothing without a name that is there', () => {
    expect(within({ months: ['may'] }, { months: ['june'] })('2026-06-01T00:00Z')).toBe(true);
    expect(toCalendar([], []).isWithin(['nowhere'], at('2026-06-01T00:00Z'))).toBe(false);
  });
});
