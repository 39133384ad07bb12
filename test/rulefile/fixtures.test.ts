import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatDiagnostics, hasErrors } from '../../src/rulefile/diagnostic.ts';
import { parseRuleFile } from '../../src/rulefile/parse.ts';
import { known } from './known.ts';

const folder = import.meta.dirname;
const files = readdirSync(folder).sort();
const bad = files.filter((file) => file.endsWith('.bad.yaml'));
const good = files.filter((file) => file.endsWith('.good.yaml'));

function parse(file: string) {
  return parseRuleFile(readFileSync(join(folder, file)), file, known);
}

describe('faulty rule files', () => {
  it('are many', () => {
    expect(bad.length).toBeGreaterThanOrEqual(100);
  });

  it.each(bad)('%s is refused with its pinned message', async (file) => {
    const { groups, diagnostics } = parse(file);

    expect(groups).toEqual([]);
    expect(hasErrors(diagnostics)).toBe(true);
    await expect(`${formatDiagnostics(diagnostics)}\n`).toMatchFileSnapshot(join(folder, 'expected', file.replace('.bad.yaml', '.txt')));
  });

  it.each(bad)('%s has its faults at places that exist', (file) => {
    const lines = readFileSync(join(folder, file)).toString('utf8').split('\n');

    for (const { line, column, endColumn } of parse(file).diagnostics) {
      expect(line).toBeLessThanOrEqual(lines.length);
      expect(column).toBeGreaterThanOrEqual(1);
      expect(column).toBeLessThanOrEqual((lines[line - 1]?.length ?? 0) + 1);
      expect(endColumn).toBeGreaterThan(column);
    }
  });

  it('gives five faults for five slips', () => {
    const { diagnostics } = parse('five-faults.bad.yaml');

    expect(diagnostics.filter(({ severity }) => severity === 'error').map(({ line, column }) => `${line}:${column}`)).toEqual([
      '4:13',
      '8:29',
      '9:5',
      '11:16',
      '12:32',
    ]);
  });

  it.each(['tab-indent', 'five-faults', 'secret-in-rule'])('%s is refused the same when no model is known', (name) => {
    const { groups, diagnostics } = parseRuleFile(readFileSync(join(folder, `${name}.bad.yaml`), 'utf8'), name);

    expect(groups).toEqual([]);
    expect(hasErrors(diagnostics)).toBe(true);
  });
});

describe('good rule files', () => {
  it.each(good)('%s is taken', (file) => {
    const { diagnostics } = parseRuleFile(readFileSync(join(folder, file)), file);

    expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
  });
});
