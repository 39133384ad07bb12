import { editDistance } from './nearest.ts';

const secretKey = /passw|passphrase|secret|token|credential|api[-_]?key|apikey|^key$|private[-_]?key|authorization|cookie|^api_url|^url_file$|webhook[-_]?url/i;
const secretWords = ['password', 'password_file', 'credentials', 'credentials_file', 'api_url', 'api_url_file', 'token', 'secret', 'secrets'];

/** Whether the value under this key must not be shown; a slip of such a key (`pasword`) counts too. */
export function isSecretKey(key: string): boolean {
  return secretKey.test(key) || secretWords.some((word) => editDistance(key.toLowerCase(), word, 2) <= 2);
}

/** Part of a text, [start, end). */
export type Span = readonly [start: number, end: number];

/** Secrets by their looks, whatever key they stand under: user info of URLs, Slack's webhook paths, bearer tokens, bcrypt hashes. */
export function secretSpans(text: string): Span[] {
  const spans: Span[] = [];
  for (const pattern of [
    /(?<=\/\/)[^/\s@'"]+(?=@)/g,
    /(?<=hooks\.slack\.com\/)[^\s'",}\]]+/g,
    /(?<=\b(?:Bearer|Basic)\s+)[\w.~+/=-]{6,}/g,
    /\bxox[abpr]-[\w-]+/g,
    /\$2[abxy]?\$\d\d\$[./A-Za-z0-9]*/g,
  ]) {
    for (const match of text.matchAll(pattern)) spans.push([match.index, match.index + match[0].length]);
  }
  return spans;
}

/** Secrets in a line of a file that cannot be read as YAML: everything behind a key that names one. */
export function secretSpansOfRawLine(line: string): Span[] {
  const spans: Span[] = [];
  for (const match of line.matchAll(/['"]?([\w-]+)['"]?\s*:\s*/g)) {
    const start = match.index + match[0].length;
    if (isSecretKey(match[1] ?? '') && start < line.length) return [...spans, [start, line.length]];
  }
  return spans;
}

export const mask = '<secret>';

/** Puts `<secret>` in place of the spans, and moves the caret along. */
export function maskLine(
  line: string,
  spans: readonly Span[],
  caret: { start: number; length: number },
): { line: string; caret: { start: number; length: number } } {
  const merged: [number, number][] = [];
  for (const [start, end] of spans.filter(([start, end]) => end > start).toSorted((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  let shown = '';
  let at = 0;
  let caretStart: number | null = null;
  let caretEnd: number | null = null;
  const [from, to] = [caret.start, caret.start + caret.length];
  const copy = (end: number): void => {
    if (caretStart === null && from >= at && from <= end) caretStart = shown.length + (from - at);
    if (caretEnd === null && to >= at && to <= end) caretEnd = shown.length + (to - at);
    shown += line.slice(at, end);
    at = end;
  };
  for (const [start, end] of merged) {
    copy(start);
    if (caretStart === null && from < end) caretStart = shown.length;
    shown += mask;
    if (caretEnd === null && to <= end) caretEnd = shown.length;
    at = end;
  }
  copy(line.length);
  const begin = caretStart ?? shown.length;
  return { line: shown, caret: { start: begin, length: Math.max(1, (caretEnd ?? shown.length) - begin) } };
}
