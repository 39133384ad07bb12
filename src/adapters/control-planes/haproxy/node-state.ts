import { PlaneError } from '../../../domain/ports.ts';

/** One server as the runtime API tells it. `weight` now, `initial` as configured. */
export type ServerState = {
  readonly name: string;
  readonly weight: number;
  readonly initial: number;
  readonly maint: boolean;
  readonly drain: boolean;
  readonly running: boolean;
};

/** Bits of srv_admin_state: forced, inherited, configured maint and by name resolution; forced and inherited drain. */
const maintBits = 0x01 | 0x02 | 0x04 | 0x20;
const drainBits = 0x08 | 0x10;
const running = 2;

/**
 * Rows of `show servers state`, of one backend.
 * @throws {PlaneError} permanent, for another format
 */
export function parseServersState(text: string, backend: string, who: string): readonly ServerState[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines[0]?.trim() !== '1' || lines[1]?.startsWith('# ') !== true)
    throw new PlaneError(
      /permission denied/i.test(text) ? 'auth' : 'permanent',
      `${who}: show servers state ${backend}: found ${JSON.stringify(text.trim().slice(0, 120))}, expected format 1 of the server state`,
    );
  const names = lines[1].slice(2).trim().split(' ');
  const rows = lines.slice(2).map((line) => line.trim().split(' '));
  return rows
    .filter((cells) => cells[names.indexOf('be_name')] === backend)
    .map((cells) => {
      const cell = (name: string): string => (names.includes(name) ? (cells[names.indexOf(name)] ?? '') : '');
      const numberIn = (name: string): number => (/^\d{1,9}$/.test(cell(name)) ? Number(cell(name)) : Number.NaN);
      const [operation, admin, weight, initial] = ['srv_op_state', 'srv_admin_state', 'srv_uweight', 'srv_iweight'].map(numberIn) as [
        number,
        number,
        number,
        number,
      ];
      // A row that was cut off may end in the middle of a number.
      if (cells.length < names.length || cell('srv_name') === '' || [operation, admin, weight, initial].some(Number.isNaN))
        throw new PlaneError(
          'permanent',
          `${who}: show servers state ${backend}: found the row ${JSON.stringify(cells.join(' ').slice(0, 120))}, expected ${names.length} cells, with numbers for state and weight`,
        );
      return { name: cell('srv_name'), weight, initial, maint: (admin & maintBits) !== 0, drain: (admin & drainBits) !== 0, running: operation === running };
    });
}

/** A server-state-file with other weights and maint bits for some servers of a backend; every other word stays. */
export function withServerStates(text: string, backend: string, wanted: ReadonlyMap<string, { readonly weight: number; readonly maint: boolean }>): string {
  const header = text.split('\n').find((line) => line.startsWith('# '));
  const names = header === undefined ? [] : header.slice(2).trim().split(' ');
  const at = (name: string): number => names.indexOf(name);
  return text
    .split('\n')
    .map((line) => {
      const cells = line.split(' ');
      const state = cells[at('be_name')] === backend ? wanted.get(cells[at('srv_name')] ?? '') : undefined;
      if (state === undefined || line.startsWith('#')) return line;
      cells[at('srv_uweight')] = String(state.weight);
      const admin = Number(cells[at('srv_admin_state')]);
      cells[at('srv_admin_state')] = String(state.maint ? admin | 0x01 : admin & ~0x01);
      return cells.join(' ');
    })
    .join('\n');
}

/** Values of a key in `show map`: `<pointer> <key> <value>` per line. A key may stand there more than once. */
export function parseMap(text: string, key: string): readonly string[] {
  return text
    .split('\n')
    .map((line) => /^0x[0-9a-f]+ (\S+) (.*)$/.exec(line.trim()))
    .filter((match) => match?.[1] === key)
    .map((match) => match?.[2] ?? '');
}

/** Value of a key in a map file; `null` when it has none. */
export function valueInFile(text: string, key: string): string | null {
  const line = text.split('\n').find((candidate) => candidate.trim().split(/\s+/)[0] === key);
  return line === undefined ? null : line.trim().split(/\s+/).slice(1).join(' ');
}

/** A map file with another value for a key (`null`: without it); comments and other keys stay. */
export function withValueInFile(text: string, key: string, value: string | null): string {
  const isOf = (line: string): boolean => line.trim().split(/\s+/)[0] === key;
  const lines = text.split('\n');
  if (value === null) return lines.filter((line) => !isOf(line)).join('\n');
  if (lines.some(isOf)) return lines.map((line) => (isOf(line) ? `${key} ${value}` : line)).join('\n');
  return `${text === '' || text.endsWith('\n') ? text : `${text}\n`}${key} ${value}\n`;
}
