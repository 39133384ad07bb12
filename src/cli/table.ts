import { styleText } from 'node:util';
import { stringify } from 'yaml';

/** `-o`. */
export const outputFormats = ['table', 'wide', 'json', 'yaml'] as const;
export type OutputFormat = (typeof outputFormats)[number];

export type Style = 'red' | 'yellow' | 'green' | 'dim' | 'bold';

/** One column. `style`: colour of a cell, which never says more than its text does. */
export type Column<Row> = {
  readonly header: string;
  readonly value: (row: Row) => string | number | null;
  readonly style?: (row: Row) => Style | null;
  /** Shown by `-o wide` only. */
  readonly wide?: boolean;
};

/** What decides on colour: a terminal has some, unless `NO_COLOR` is set. */
export type Stream = NodeJS.WritableStream;

/**
 * A document in the form that was asked for, ending in a newline. `json` and `yaml` show `data` as the API gives it;
 * a table without rows says so instead (on one line, as kubectl does).
 */
export function renderOutput<Row>(
  format: OutputFormat,
  view: { readonly data: unknown; readonly rows: readonly Row[]; readonly columns: readonly Column<Row>[]; readonly none: string },
  stream: Stream,
): string {
  if (format === 'json') return `${JSON.stringify(view.data, null, 2)}\n`;
  if (format === 'yaml') return stringify(view.data, { lineWidth: 0, aliasDuplicateObjects: false });
  return view.rows.length === 0 ? `${view.none}\n` : renderTable(view.rows, view.columns, { wide: format === 'wide', stream });
}

/** The look of kubectl: capitals over plain columns, three spaces between, nothing at the end of a line. */
export function renderTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[], options: { readonly wide: boolean; readonly stream: Stream }): string {
  const shown = columns.filter((column) => column.wide !== true || options.wide);
  const cells = rows.map((row) => shown.map((column) => cellText(column.value(row))));
  const widths = shown.map((column, index) => Math.max(...[column.header, ...cells.map((line) => line[index] ?? '')].map(widthOf)));
  const line = (texts: readonly string[], paint: (text: string, index: number) => string): string =>
    texts.map((text, index) => paint(text, index) + (index === texts.length - 1 ? '' : ' '.repeat((widths[index] ?? 0) - widthOf(text) + 3))).join('');
  const paintCell = (row: Row) => (text: string, index: number) => paint(text, shown[index]?.style?.(row) ?? null, options.stream);
  const head = line(
    shown.map((column) => column.header),
    (text) => text,
  );
  return `${[head, ...rows.map((row, index) => line(cells[index] ?? [], paintCell(row)))].join('\n')}\n`;
}

export function paint(text: string, style: Style | null, stream: Stream): string {
  return style === null ? text : styleText(style, text, { stream });
}

function cellText(value: string | number | null): string {
  return value === null || value === '' ? '-' : onOneLine(String(value));
}

/** Texts come from other systems: what would steer the terminal is shown as a mark, line breaks as spaces. */
export function onOneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '�');
}

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Columns on a terminal: one per character, two for wide ones. */
function widthOf(text: string): number {
  let width = 0;
  for (const { segment } of segmenter.segment(text))
    width += /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]/u.test(segment) ? 2 : 1;
  return width;
}
