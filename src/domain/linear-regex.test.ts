import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codePoints } from '../../test/support/code-points.ts';
import { fuzzRuns } from '../../test/support/fuzz-runs.ts';
import { captureOf, compileRegex, type LinearRegex, matchesWhole } from './linear-regex.ts';

function compiled(pattern: string, dotAll = false): LinearRegex {
  const { regex, fault } = compileRegex(pattern, { dotAll });
  if (regex === undefined) throw new Error(`${pattern}: ${fault}`);
  return regex;
}

describe('a linear regular expression', () => {
  it.each<[pattern: string, takes: readonly string[], leaves: readonly string[]]>([
    ['5..', ['500', '5é9'], ['50', '5000', '4xx']],
    ['a|bc|', ['a', 'bc', ''], ['b', 'abc']],
    ['(?:ab)+?', ['ab', 'abab'], ['', 'aba']],
    ['x{2,3}', ['xx', 'xxx'], ['x', 'xxxx']],
    ['x{2}y{1,}', ['xxy', 'xxyyy'], ['xy', 'xx']],
    ['a{b}', ['a{b}'], ['a']],
    ['[a-c\\d_]+', ['ab3_'], ['d', '']],
    ['[^a-c]', ['d', '\n'], ['a']],
    ['[]a]+', [']a'], ['b']],
    ['[[:alpha:]]+-[[:digit:]]', ['ab-1'], ['1-a']],
    ['v\\-\\d+\\.\\d', ['v-7.1'], ['v-7x1']],
    ['\\w+\\s\\S', ['ab c'], ['ab\u00a0c', 'é c']],
    ['\\pL+\\p{Greek}\\P{L}', ['éα1'], ['1α1']],
    ['(?i)abÉ', ['ABé'], ['abe']],
    ['a(?i:b)c', ['aBc'], ['ABc']],
    ['\\Aa\\bb?\\z', ['a'], ['ab']],
    ['\\Q(a.b)\\E+', ['(a.b)', '(a.b))'], ['(axb)']],
    ['\\x41\\x{1F600}', ['A😀'], ['A']],
    ['^a$', ['a'], ['a\n']],
    ['.', ['a', '😀'], ['\n']],
    ['(?s).', ['\n'], ['']],
    ['(a*)*', ['', 'aaa'], ['b']],
    ['(?P<n>a)(?<m>b)', ['ab'], ['a']],
  ])('%s takes what RE2 takes', (pattern, takes, leaves) => {
    const regex = compiled(pattern);

    expect(takes.filter((text) => regex.whole(text) === null)).toEqual([]);
    expect(leaves.filter((text) => regex.whole(text) !== null)).toEqual([]);
  });

  it.each([
    ['(?=a)', 'look-around is unknown to RE2'],
    ['(?<!a)b', 'look-around is unknown to RE2'],
    ['(a)\\1', 'back-references are unknown to RE2'],
    ['(?<n>a)\\k<n>', 'back-references are unknown to RE2'],
    ['(a', 'unterminated group'],
    ['a)', "unmatched ')'"],
    ['[a', 'unterminated character class'],
    ['[b-a]', 'range out of order in character class'],
    ['*', 'nothing to repeat'],
    ['a**', 'nothing to repeat'],
    ['a{3,2}', 'numbers out of order in {} quantifier'],
    ['a{1001}', 'a repetition is over 1000'],
    ['((a{100}){100}){100}', 'the expression is too large: over 10000 parts'],
    ['('.repeat(200), 'groups are nested too deep'],
    ['\\j', 'invalid escape'],
    ['a\\', '\\ at end of pattern'],
    ['(?m)a', 'the flag m is not supported, i and s are'],
    ['\\p{Nonsense}', 'invalid property name'],
  ])('%s is refused: %s', (pattern, fault) => {
    expect(compileRegex(pattern).fault).toBe(fault);
  });

  it.each([
    ['v(\\d+)', 'v7', '7'],
    ['(?:fraud|shop)-v(\\d+)', 'shop-v12', '12'],
    ['(a+?)(?:a*)', 'aaa', 'a'],
    ['(a|ab)(?:c|bcd)', 'abcd', 'a'],
    ['v(\\d+)', 'x', null],
    ['(v)?\\d', '7', null],
  ])('%s captures of %s: %s', (pattern, text, captured) => {
    expect(captureOf(pattern, text)).toBe(captured);
  });

  it('finds the first match, and the longest way its pattern prefers', () => {
    expect(compiled('b+').find('abbab', 0)).toEqual([1, 3]);
    expect(compiled('b+').find('abbab', 3)).toEqual([4, 5]);
    expect(compiled('c').find('ab', 0)).toBeNull();
  });

  it('agrees with JavaScript’s own where both know the syntax', () => {
    const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\d', 'c', '(a)', '(?:b|)', '(?:ab|a)', '^', '$', '\\b');
    const part = fc.tuple(atom, fc.constantFrom('', '', '', '*', '+', '?', '*?', '+?', '??', '{2}', '{0,2}', '{1,}'));
    const pattern = fc
      .array(fc.array(part, { maxLength: 4 }), { minLength: 1, maxLength: 3 })
      .map((choices) => choices.map((parts) => parts.map(([what, times]) => (/^[$^]|\\b/.test(what) ? what : what + times)).join('')).join('|'));
    const text = fc.array(fc.constantFrom('a', 'b', 'c', '1', ' ', '\n'), { maxLength: 8 }).map((chars) => chars.join(''));
    fc.assert(
      fc.property(pattern, text, (source, given) => {
        const first = new RegExp(source, 'u').exec(given);

        expect(compiled(source).whole(given) !== null).toBe(new RegExp(`^(?:${source})$`, 'u').test(given));
        expect(compiled(source).find(given, 0)?.slice(0, 2) ?? null).toEqual(first === null ? null : [first.index, first.index + first[0].length]);
      }),
      { numRuns: 2_000 * fuzzRuns },
    );
  });

  it('answers any pattern with an expression or with what is wrong', () => {
    const piece = fc.oneof(
      fc.constantFrom('(', ')', '[', ']', '{', '}', '*', '+', '?', '|', '\\', '^', '$', '-', ',', '2', 'a', '(?', 'P<n>', 'i)', '[:alpha:]', '\\p{', '\\x{'),
      codePoints({ maxLength: 2 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), codePoints({ maxLength: 6 }), (pieces, text) => {
        const { regex, fault } = compileRegex(pieces.join(''));
        if (regex === undefined) expect(fault).toMatch(/./);
        else regex.whole(text);
      }),
      { numRuns: 2_000 * fuzzRuns },
    );
  });

  /** Patterns that make a backtracking engine run for longer than a life, each with a text that does. */
  const cruel: readonly (readonly [pattern: string, text: (length: number) => string])[] = [
    ['(a+)+', (length) => `${'a'.repeat(length)}!`],
    ['(a|a)*', (length) => `${'a'.repeat(length)}!`],
    ['(a*)*b', (length) => 'a'.repeat(length)],
    ['(.*)*x', (length) => 'y'.repeat(length)],
    ['(\\w+\\s?)*', (length) => `${'word '.repeat(length / 5)}!`],
    ['.*.*.*.*=.*', (length) => 'x'.repeat(length)],
    ['(?:a?){30}a{30}', (length) => 'a'.repeat(length)],
    ['v(\\d+)+-(\\d+)*', (length) => `v${'1'.repeat(length)}!`],
  ];

  it.each(cruel)('%s takes no more steps than places in the text times parts of the pattern', (pattern, text) => {
    const regex = compiled(pattern);

    for (const length of [10, 1_000, 5_000]) {
      const before = regex.steps();
      regex.whole(text(length));
      expect(regex.steps() - before).toBeLessThanOrEqual((text(length).length + 1) * regex.size);
    }
    expect(regex.size).toBeLessThan(200);
  });

  it('matches the whole label, line breaks too, as Prometheus does', () => {
    expect([matchesWhole('a.*', 'a\nb'), matchesWhole('a', 'ab'), matchesWhole('(', 'a')]).toEqual([true, false, false]);
  });
});
