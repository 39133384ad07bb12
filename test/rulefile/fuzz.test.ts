import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDiagnostics, hasErrors } from '../../src/rulefile/diagnostic.ts';
import { parseRuleFile } from '../../src/rulefile/parse.ts';
import { codePoints } from '../support/code-points.ts';
import { fuzzRuns } from '../support/fuzz-runs.ts';
import { yamlPieces } from '../support/yaml-pieces.ts';

const good = readFileSync(join(import.meta.dirname, 'every-key.good.yaml'));
const pieces = [...yamlPieces, '>-\n', '%', '? ', '{{', '}}', '$', '\u0000', '\uFEFF', 'null', '[5m]', '.inf'];

/** What must hold for any bytes at all. */
function survives(source: string | Uint8Array): void {
  const { groups, diagnostics } = parseRuleFile(source, 'any.yaml');

  formatDiagnostics(diagnostics);
  if (hasErrors(diagnostics)) expect(groups).toEqual([]);
  for (const { line, column, endColumn, caret } of diagnostics) {
    expect(line >= 1 && column >= 1 && endColumn > column && caret.start >= 0 && caret.length >= 1).toBe(true);
  }
}

describe('parseRuleFile', () => {
  it('survives any bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), survives), { numRuns: 400 * fuzzRuns });
  });

  it('survives any text', () => {
    fc.assert(fc.property(codePoints({ maxLength: 400 }), survives), { numRuns: 300 * fuzzRuns });
  });

  it('survives a good file with pieces put in, cut out and doubled', () => {
    const change = fc.record({ at: fc.nat({ max: good.length }), cut: fc.nat({ max: 12 }), piece: fc.constantFrom('', ...pieces) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        let text = good.toString('utf8');
        for (const { at, cut, piece } of changes) text = text.slice(0, at) + piece + text.slice(at + cut);
        survives(text);
      }),
      { numRuns: 1000 * fuzzRuns },
    );
  }, 60_000);
});
