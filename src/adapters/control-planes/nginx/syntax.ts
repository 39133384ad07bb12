/** A word of nginx's configuration, with its place; quotes are taken off `text`. */
export type Word = { readonly text: string; readonly start: number; readonly end: number };
/** A directive; `block` where it has one, with the place of its body. `end` is before the `;`. */
export type Directive = {
  readonly words: readonly Word[];
  readonly end: number;
  readonly block: { readonly directives: readonly Directive[]; readonly start: number; readonly end: number } | null;
};

export class SyntaxFault extends Error {
  override readonly name = 'SyntaxFault';
}

/** Of blocks inside blocks; nginx's own configurations have five or six. */
const maxDepth = 50;

/**
 * Directives of a file, by the rules of ngx_conf_read_token: words, quotes, comments, blocks.
 * @throws {SyntaxFault} with the line
 */
export function parseDirectives(text: string): readonly Directive[] {
  let at = 0;
  const fail = (what: string): never => {
    throw new SyntaxFault(`line ${text.slice(0, at).split('\n').length}: ${what}`);
  };
  const skip = (): void => {
    for (;;) {
      while (/\s/.test(text[at] ?? '')) at += 1;
      if (text[at] !== '#') return;
      while (at < text.length && text[at] !== '\n') at += 1;
    }
  };
  const word = (): Word => {
    const start = at;
    const quote = text[at];
    if (quote === '"' || quote === "'") {
      at += 1;
      while (at < text.length && text[at] !== quote) at += text[at] === '\\' ? 2 : 1;
      if (at >= text.length) fail('a quote is not closed');
      at += 1;
      return { text: text.slice(start + 1, at - 1), start, end: at };
    }
    while (at < text.length && !/[\s;{}]/.test(text[at] ?? '')) at += text[at] === '\\' ? 2 : 1;
    if (at > text.length) fail('nothing stands behind the last \\');
    return { text: text.slice(start, at), start, end: at };
  };
  const list = (depth: number): Directive[] => {
    if (depth > maxDepth) fail(`more than ${maxDepth} blocks inside each other`);
    const isInner = depth > 0;
    const found: Directive[] = [];
    for (;;) {
      skip();
      if (at >= text.length) return isInner ? fail('expected }') : found;
      if (text[at] === '}') return isInner ? found : fail('unexpected }');
      const words: Word[] = [];
      for (;;) {
        skip();
        const next = text[at];
        if (next === undefined || next === '}') fail('expected ; or {');
        if (next === ';' || next === '{') break;
        words.push(word());
      }
      if (words.length === 0) fail('a directive without a name');
      const end = at;
      if (text[at] === ';') {
        at += 1;
        found.push({ words, end, block: null });
        continue;
      }
      at += 1;
      const start = at;
      const directives = list(depth + 1);
      found.push({ words, end, block: { directives, start, end: at } });
      at += 1;
    }
  };
  return list(0);
}
