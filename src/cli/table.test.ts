import { PassThrough } from 'node:stream';
import { WriteStream } from 'node:tty';
import { describe, expect, it } from 'vitest';
import { anEpisode } from '../../test/support/an-episode.ts';
import { formatAge } from '../domain/duration.ts';
import { viewEpisode } from '../domain/episode-view.ts';
import type { ModelView } from '../web/api.ts';
import { modelColumns, rollbackColumns } from './columns.ts';
import { type Column, renderOutput, renderTable } from './table.ts';

const pipe = new PassThrough();
const nowMs = Date.UTC(2026, 10, 22, 15, 20);

type Row = { readonly name: string; readonly age: number | null; readonly note?: string };
const columns: readonly Column<Row>[] = [
  { header: 'NAME', value: (row) => row.name, style: (row) => (row.name === 'bad' ? 'red' : null) },
  { header: 'AGE', value: (row) => row.age },
  { header: 'NOTE', value: (row) => row.note ?? null, wide: true },
];

describe('renderTable', () => {
  it('aligns columns like kubectl, without blanks at the end of a line', () => {
    const rows = [
      { name: 'fraud-detector', age: 3 },
      { name: 'x', age: null },
    ];

    expect(renderTable(rows, columns, { wide: false, stream: pipe })).toBe(['NAME             AGE', 'fraud-detector   3', 'x                -', ''].join('\n'));
  });

  it('shows more when asked for wide', () => {
    expect(renderTable([{ name: 'a', age: 1, note: 'why' }], columns, { wide: true, stream: pipe })).toBe('NAME   AGE   NOTE\na      1     why\n');
  });

  it('lets nothing from outside steer the terminal or break a line', () => {
    expect(renderTable([{ name: 'a\u001b[2Jb\nc\u202e', age: 1 }], columns, { wide: false, stream: pipe })).toBe('NAME        AGE\na�[2Jb c�   1\n');
  });

  it('counts wide characters as two', () => {
    const [head, first, second] = renderTable(
      [
        { name: '模型', age: 1 },
        { name: 'naïve', age: 2 },
      ],
      columns,
      { wide: false, stream: pipe },
    ).split('\n');

    expect([head, first, second]).toEqual(['NAME    AGE', '模型    1', 'naïve   2']);
  });

  it('colours cells on a terminal only, and never with NO_COLOR', () => {
    const terminal = Object.assign(Object.create(WriteStream.prototype) as WriteStream, { isTTY: true });
    const before = { ...process.env };
    try {
      delete process.env['NO_COLOR'];
      delete process.env['FORCE_COLOR'];
      // Node takes a CI machine for one without colours.
      delete process.env['CI'];
      process.env['TERM'] = 'xterm-256color';
      expect(renderTable([{ name: 'bad', age: 1 }], columns, { wide: false, stream: terminal })).toContain('\u001b[31mbad\u001b[39m    1');
      expect(renderTable([{ name: 'bad', age: 1 }], columns, { wide: false, stream: pipe })).not.toContain('\u001b');
      process.env['NO_COLOR'] = '1';
      expect(renderTable([{ name: 'bad', age: 1 }], columns, { wide: false, stream: terminal })).not.toContain('\u001b');
    } finally {
      process.env = before;
    }
  });
});

describe('renderOutput', () => {
  const view = { data: [viewEpisode(anEpisode())], rows: [viewEpisode(anEpisode())], columns: rollbackColumns(nowMs), none: 'No rollbacks.' };

  it('prints JSON as the API gives it', () => {
    const text = renderOutput('json', view, pipe);

    expect(JSON.parse(text)).toEqual(view.data);
    expect(text.endsWith('\n')).toBe(true);
  });

  it('prints YAML', () => {
    expect(renderOutput('yaml', { ...view, data: [{ id: 'rb_1', outcome: null, version: '7' }] }, pipe)).toBe('- id: rb_1\n  outcome: null\n  version: "7"\n');
  });

  it('says so when there is nothing, but only to people', () => {
    expect(renderOutput('table', { ...view, data: [], rows: [] }, pipe)).toBe('No rollbacks.\n');
    expect(renderOutput('json', { ...view, data: [], rows: [] }, pipe)).toBe('[]\n');
  });

  it('prints rollbacks as a table', () => {
    expect(renderOutput('table', view, pipe)).toBe(
      [
        'ID               MODEL            FROM   TO   STATE         OUTCOME   TRIGGER               AGE',
        'rb_01JDEXAMPLE   fraud-detector   7      6    ✔ succeeded   success   ModelErrorRatioHigh   3h20m',
        '',
      ].join('\n'),
    );
  });

  it('prints models as a table, with what is wrong', () => {
    const aModel = (changes: Partial<ModelView>): ModelView => ({
      name: 'fraud-detector',
      mode: 'enforce',
      source: 'prom',
      control_plane: 'tfs',
      versions: [
        { version: '7', role: 'active', state: 'available', share: 1, known_good: false, known_good_reason: '', quarantined_until: null, first_seen: null },
      ],
      verdict: 'ok',
      reason: null,
      paused: null,
      frozen: [],
      pinned: false,
      rollback_in_progress: null,
      last_rollback: null,
      observed_at: null,
      error: null,
      ...changes,
    });
    const rows = [
      aModel({ verdict: 'breach', last_rollback: { id: 'rb_1', at: '2026-11-22T12:00:00.000Z', outcome: 'success' } }),
      aModel({ name: 'ranker', mode: 'dry_run', verdict: 'no_data', paused: { since: '', until: null, reason: '', by: '' } }),
      aModel({ name: 'search', error: 'tfs-0: connection refused' }),
    ];

    expect(renderTable(rows, modelColumns(nowMs), { wide: false, stream: pipe })).toMatchInlineSnapshot(`
      "MODEL            SERVING   MODE               VERDICT     LAST ROLLBACK
      fraud-detector   7         enforce            ✖ breach    success 3h20m ago
      ranker           7         dry_run (paused)   ● no data   -
      search           7         enforce            ! error     -
      "
    `);
  });
});

describe('formatAge', () => {
  it.each([
    [0, '0s'],
    [45_400, '45s'],
    [200_000, '3m20s'],
    [720_000, '12m'],
    [5.5 * 3_600_000, '5h30m'],
    [52 * 3_600_000, '2d4h'],
    [30 * 86_400_000, '30d'],
    [-5, '0s'],
  ])('writes %d ms as %s', (ageMs, text) => {
    expect(formatAge(ageMs)).toBe(text);
  });
});
