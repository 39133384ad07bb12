import { z } from 'zod';
import { compileRegex } from '../domain/linear-regex.ts';
import type { Matcher } from '../domain/model.ts';

/**
 * Parses one matcher, `label="value"`, with `=`, `!=`, `=~`, `!~`.
 * @param quotes `required` as in PromQL, or `optional` as in Alertmanager (`severity=page`)
 * @returns the matcher, or what is wrong with it, as the end of a sentence that begins with «expected»
 */
export function parseMatcher(text: string, quotes: 'required' | 'optional'): Matcher | { readonly expected: string } {
  const parts = /^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*$/s.exec(text);
  if (parts === null) return { expected: 'a matcher such as label="value", with =, !=, =~ or !~' };
  const [, label, op, written] = parts as unknown as [string, string, Matcher['op'], string];
  const value = unquote(written, quotes);
  if (value === null) return { expected: `a value in double quotes; write ${label}${op}"…"` };
  if (label === '__name__') return { expected: 'a matcher of a label; the metric’s name has a key of its own' };
  if (op === '=~' || op === '!~') {
    const fault = regexFault(value);
    if (fault !== null) return { expected: `a regular expression that compiles (${fault})` };
  }
  return { label, op, value };
}

/** What is wrong with a regular expression, which both Prometheus (RE2) and we must understand alike; `null` = nothing. */
export function regexFault(pattern: string): string | null {
  return compileRegex(pattern, { dotAll: true }).fault ?? null;
}

function unquote(written: string, quotes: 'required' | 'optional'): string | null {
  const quote = written[0];
  if (quote === '`') return written.length >= 2 && written.indexOf('`', 1) === written.length - 1 ? written.slice(1, -1) : null;
  if (quote === '"' || quote === "'") {
    if (!/^(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')$/s.test(written)) return null;
    let ok = true;
    const value = written
      .slice(1, -1)
      .replace(/\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))/gs, (_, hex: string | undefined, unicode: string | undefined, char: string | undefined) => {
        if (hex !== undefined || unicode !== undefined) return String.fromCharCode(Number.parseInt(hex ?? unicode ?? '0', 16));
        const plain = ({ n: '\n', t: '\t', r: '\r', '\\': '\\', '"': '"', "'": "'", a: '\u0007', b: '\b', f: '\f', v: '\v' } as Record<string, string>)[
          char ?? ''
        ];
        ok &&= plain !== undefined;
        return plain ?? '';
      });
    return ok ? value : null;
  }
  return quotes === 'optional' && /^[^\s"'`{},]*$/.test(written) ? written : null;
}

/** A matcher in YAML, parsed to structure. */
export function matcher(quotes: 'required' | 'optional'): z.ZodType<Matcher, string> {
  return z.string({ error: 'expected a matcher such as label="value", with =, !=, =~ or !~' }).transform((written, context) => {
    const parsed = parseMatcher(written, quotes);
    if ('expected' in parsed) {
      context.addIssue({ code: 'custom', message: `expected ${parsed.expected}` });
      return z.NEVER;
    }
    return parsed;
  });
}
