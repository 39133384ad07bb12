import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fuzzRuns } from '../../../test/support/fuzz-runs.ts';
import { MlflowError } from './failure.ts';
import { filterText } from './filter.ts';

/** How sqlparse 0.6 finds texts: the longest that is one. */
const texts = /^(?:'(?:''|\\'|[^'])*'|"(?:""|\\"|[^"])*")/;

describe('a text in a filter of MLflow', () => {
  it.each([
    ['fraud', "'fraud'"],
    ["it's", `"it's"`],
    ['a "b"', `'a "b"'`],
    ['C:\\models', "'C:\\models'"],
    ['', "''"],
  ])('%s is written as %s', (text, written) => {
    expect(filterText(text)).toBe(written);
  });

  it.each(['fraud\\', `it's "it"`, "'\\"])('%s is refused: it would swallow what follows', (text) => {
    expect(() => filterText(text)).toThrow(MlflowError);
  });

  it('is one text, and the same, whatever follows', () => {
    const any = fc.array(fc.constantFrom("'", '"', '\\', 'a', ' and ', '`', '=', '\n', '7'), { maxLength: 8 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(any, any, (text, next) => {
        let [written, following] = ['', ''];
        try {
          [written, following] = [filterText(text), filterText(next)];
        } catch {
          return;
        }
        const found = texts.exec(`${written} and tags.x = ${following}`)?.[0] ?? '';

        expect(found).toBe(written);
        expect(found.slice(1, -1)).toBe(text);
      }),
      { numRuns: 2_000 * fuzzRuns },
    );
  });
});
