/**
 * Regular expressions in RE2's syntax, matched in steps bounded by length of text times length of pattern: whatever a network sends, a pattern of ours
 * cannot be made to run for minutes, as JavaScript's own can (`(a+)+$`). What RE2 does not have (look-around, back-references) is refused.
 * @see https://swtch.com/~rsc/regexp/regexp2.html (the virtual machine) and https://github.com/google/re2/wiki/Syntax
 */
export type LinearRegex = {
  /** Number of capturing groups. */
  readonly captures: number;
  /** Matches the whole text. @returns the text of each group, `undefined` for one that took no part; `null` when it does not match */
  readonly whole: (text: string) => readonly (string | undefined)[] | null;
  /** The first match at `from` or behind it: start and end of the match and of each group, as offsets; -1: took no part. */
  readonly find: (text: string, from: number) => readonly number[] | null;
  /** Names of the groups that have one → number. */
  readonly names: ReadonlyMap<string, number>;
  /** Parts of its program: the most steps for one place in a text. */
  readonly size: number;
  /** Steps taken since it was compiled. */
  readonly steps: () => number;
};

/** What a pattern may hold before it is refused: as much as RE2 allows for a repetition, and ten thousand parts in all. */
const longestRepeat = 1_000;
const largestProgram = 10_000;

type CharTest = (char: string) => boolean;
type Edge = 'start' | 'end' | 'word' | 'no word';
type Node =
  | { readonly kind: 'char'; readonly test: CharTest }
  | { readonly kind: 'edge'; readonly edge: Edge }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Node[] }
  | { readonly kind: 'group'; readonly index: number; readonly inner: Node }
  | { readonly kind: 'repeat'; readonly inner: Node; readonly min: number; readonly max: number; readonly lazy: boolean };

type Instruction =
  | { readonly op: 'char'; readonly test: CharTest }
  | { readonly op: 'edge'; readonly edge: Edge }
  | { readonly op: 'save'; readonly slot: number }
  /** Goes on at `first`, and failing that at `second`. */
  | { readonly op: 'split'; first: number; second: number }
  | { readonly op: 'jump'; to: number }
  | { readonly op: 'match' };

class Refusal extends Error {}

/**
 * @param options `dotAll`: `.` takes line breaks too, as in Prometheus's matchers
 * @returns the expression, or in words what is wrong with it
 */
export function compileRegex(
  pattern: string,
  options: { readonly dotAll?: boolean } = {},
): { readonly regex: LinearRegex; readonly fault?: never } | { readonly fault: string; readonly regex?: never } {
  try {
    const parser = new Parser(pattern, options.dotAll === true);
    const node = parser.parse();
    return { regex: new Machine(assemble(node), parser.captures, parser.names) };
  } catch (error) {
    if (error instanceof Refusal) return { fault: error.message };
    throw error;
  }
}

/** Compiled ones, since rules and routes ask with the same few patterns again and again. */
const compiled = new Map<string, LinearRegex | null>();
const maxCompiled = 1_000;

function known(pattern: string, dotAll: boolean): LinearRegex | null {
  const key = `${dotAll}${pattern}`;
  const found = compiled.get(key);
  if (found !== undefined) return found;
  const regex = compileRegex(pattern, { dotAll }).regex ?? null;
  if (compiled.size >= maxCompiled) compiled.clear();
  compiled.set(key, regex);
  return regex;
}

/** Whether a matcher's expression takes the whole text, as in Prometheus; one that is none (files are checked at load) takes nothing. */
export function matchesWhole(pattern: string, text: string): boolean {
  return known(pattern, true)?.whole(text) != null;
}

/** What the first group of an expression that takes the whole text has taken; `null`: it does not fit. */
export function captureOf(pattern: string, text: string): string | null {
  return known(pattern, false)?.whole(text)?.[0] ?? null;
}

type Flags = { readonly ignoreCase: boolean; readonly dotAll: boolean };

class Parser {
  readonly #pattern: string;
  #at = 0;
  #depth = 0;
  #flags: Flags;
  captures = 0;
  readonly names = new Map<string, number>();

  constructor(pattern: string, dotAll: boolean) {
    this.#pattern = pattern.replaceAll(/\\Q([\s\S]*?)(?:\\E|$)|\\[\s\S]/g, (whole, quoted: string | undefined) =>
      quoted === undefined ? whole : quoted.replaceAll(/[\\.+*?()|[\]{}^$]/g, String.raw`\$&`),
    );
    this.#flags = { ignoreCase: false, dotAll };
  }

  parse(): Node {
    const node = this.#choice();
    if (this.#at < this.#pattern.length) throw new Refusal("unmatched ')'");
    return node;
  }

  #choice(): Node {
    const parts = [this.#sequence()];
    while (this.#take('|')) parts.push(this.#sequence());
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : { kind: 'choice', parts };
  }

  #sequence(): Node {
    const parts: Node[] = [];
    while (this.#at < this.#pattern.length && !'|)'.includes(this.#pattern[this.#at] ?? '')) {
      const atom = this.#atom();
      if (atom !== null) parts.push(this.#repeated(atom));
    }
    return { kind: 'sequence', parts };
  }

  #repeated(atom: Node): Node {
    const bounds = this.#bounds();
    if (bounds === null) return atom;
    const [min, max] = bounds;
    const lazy = this.#take('?');
    const node: Node = { kind: 'repeat', inner: atom, min, max, lazy };
    if (this.#bounds() !== null) throw new Refusal('nothing to repeat');
    return node;
  }

  /** `*`, `+`, `?`, `{2}`, `{2,}`, `{2,5}`; other braces stand for themselves. */
  #bounds(): readonly [min: number, max: number] | null {
    if (this.#take('*')) return [0, Number.POSITIVE_INFINITY];
    if (this.#take('+')) return [1, Number.POSITIVE_INFINITY];
    if (this.#take('?')) return [0, 1];
    const braces = this.#takeMatch(/\{(\d+)(?:(,)(\d*))?\}/y);
    if (braces === null) return null;
    const min = Number(braces[1]);
    const max = braces[2] === undefined ? min : braces[3] === '' ? Number.POSITIVE_INFINITY : Number(braces[3]);
    if (min > longestRepeat || (Number.isFinite(max) && max > longestRepeat)) throw new Refusal(`a repetition is over ${longestRepeat}`);
    if (min > max) throw new Refusal('numbers out of order in {} quantifier');
    return [min, max];
  }

  /** `null`: flags, which match nothing themselves. */
  #atom(): Node | null {
    const char = String.fromCodePoint(this.#pattern.codePointAt(this.#at) ?? 0);
    switch (char) {
      case '(':
        return this.#group();
      case '[':
        return this.#char(this.#class());
      case '.':
        this.#at += 1;
        return { kind: 'char', test: this.#flags.dotAll ? () => true : (found) => found !== '\n' };
      case '^':
        this.#at += 1;
        return { kind: 'edge', edge: 'start' };
      case '$':
        this.#at += 1;
        return { kind: 'edge', edge: 'end' };
      case '*':
      case '+':
      case '?':
        throw new Refusal('nothing to repeat');
      case '\\':
        return this.#escape();
      default:
        this.#at += char.length;
        return this.#literal(char);
    }
  }

  #group(): Node | null {
    this.#depth += 1;
    if (this.#depth > 100) throw new Refusal('groups are nested too deep');
    const outer = this.#flags;
    this.#at += 1;
    if (this.#takeMatch(/\?<?[=!]/y) !== null) throw new Refusal('look-around is unknown to RE2');
    const name = this.#takeMatch(/\?P?<([A-Za-z_]\w*)>/y)?.[1];
    const flags = name === undefined ? this.#takeMatch(/\?([a-zA-Z]*)(?:-([a-zA-Z]+))?([:)])/y) : null;
    if (flags !== null) this.#setFlags(flags[1] ?? '', flags[2] ?? '');
    else if (name === undefined && this.#pattern[this.#at] === '?') throw new Refusal('invalid group');
    if (flags?.[3] === ')') {
      this.#depth -= 1;
      return null;
    }
    let index: number | null = null;
    if (flags === null) {
      this.captures += 1;
      index = this.captures;
      if (name !== undefined && this.names.has(name)) throw new Refusal('duplicate capture group name');
      if (name !== undefined) this.names.set(name, index);
    }
    const inner = this.#choice();
    if (!this.#take(')')) throw new Refusal('unterminated group');
    this.#flags = outer;
    this.#depth -= 1;
    return index === null ? inner : { kind: 'group', index, inner };
  }

  #setFlags(on: string, off: string): void {
    const unknown = /[^is]/.exec(on + off)?.[0];
    if (unknown !== undefined) throw new Refusal(`the flag ${unknown} is not supported, i and s are`);
    this.#flags = {
      ignoreCase: (this.#flags.ignoreCase || on.includes('i')) && !off.includes('i'),
      dotAll: (this.#flags.dotAll || on.includes('s')) && !off.includes('s'),
    };
  }

  #escape(): Node {
    const next = this.#pattern[this.#at + 1] ?? '';
    if (next === 'A' || next === 'z' || next === 'b' || next === 'B') {
      this.#at += 2;
      return { kind: 'edge', edge: ({ A: 'start', z: 'end', b: 'word', B: 'no word' } as const)[next] };
    }
    const set = this.#setEscape();
    return set === null ? this.#literal(this.#charEscape()) : this.#char(set);
  }

  /** `\d`, `\pL`, `\p{Greek}` and their like as the source of a class of JavaScript's; `null`: no such. */
  #setEscape(): string | null {
    const perl = this.#takeMatch(/\\([dDwWsS])/y)?.[1];
    // JavaScript's own `\s` knows more blanks than RE2's.
    if (perl === 's') return '[\\t\\n\\f\\r ]';
    if (perl === 'S') return '[^\\t\\n\\f\\r ]';
    if (perl !== undefined) return perl === perl.toLowerCase() ? `[${asciiClasses[perl]}]` : `[^${asciiClasses[perl.toLowerCase()]}]`;
    const property = this.#takeMatch(/\\([pP])(?:([A-Z])|\{(\^?)(\w+)\})/y);
    if (property === null) return null;
    const [, letter, short, not, long] = property;
    const name = short ?? long ?? '';
    const isNegated = (letter === 'P') !== (not === '^');
    const escape = isNegated ? '\\P' : '\\p';
    for (const source of [`${escape}{${name}}`, `${escape}{Script=${name}}`]) if (toRegExp(source, 'u') !== null) return source;
    throw new Refusal('invalid property name');
  }

  #charEscape(): string {
    const hex = this.#takeMatch(/\\x(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})/y);
    if (hex !== null) {
      const code = Number.parseInt(hex[1] ?? hex[2] ?? '', 16);
      if (code > 0x10ffff) throw new Refusal('invalid escape');
      return String.fromCodePoint(code);
    }
    if (/^\\[1-9k]/.test(this.#pattern.slice(this.#at, this.#at + 2))) throw new Refusal('back-references are unknown to RE2');
    const char = String.fromCodePoint(this.#pattern.codePointAt(this.#at + 1) ?? 0);
    if (this.#at + 1 >= this.#pattern.length) throw new Refusal('\\ at end of pattern');
    this.#at += 1 + char.length;
    const control = { n: '\n', t: '\t', r: '\r', f: '\f', v: '\v', a: '\u0007' }[char];
    if (control !== undefined) return control;
    if (/[a-zA-Z0-9]/.test(char)) throw new Refusal('invalid escape');
    return char;
  }

  /** A class in brackets, as the source of one of JavaScript's. */
  #class(): string {
    this.#at += 1;
    const isNegated = this.#take('^');
    let source = '';
    for (let isFirst = true; ; isFirst = false) {
      if (this.#at >= this.#pattern.length) throw new Refusal('unterminated character class');
      if (!isFirst && this.#take(']')) return `[${isNegated ? '^' : ''}${source}]`;
      source += this.#classPart();
    }
  }

  #classPart(): string {
    const named = this.#takeMatch(/\[:(\^?)(\w+):\]/y);
    if (named !== null) {
      const set = Object.hasOwn(asciiClasses, named[2] ?? '') ? asciiClasses[named[2] ?? ''] : undefined;
      if (set === undefined || named[1] === '^') throw new Refusal('invalid character class name');
      return set;
    }
    const set = this.#setEscape();
    if (set !== null) {
      // `[^…]` cannot stand inside another class.
      if (set.startsWith('[^')) throw new Refusal('a negated class inside a class is not supported');
      return set.startsWith('[') ? set.slice(1, -1) : set;
    }
    const low = this.#classChar();
    if (this.#pattern[this.#at] !== '-' || this.#pattern[this.#at + 1] === ']') return codeOf(low);
    this.#at += 1;
    const high = this.#classChar();
    if ((high.codePointAt(0) ?? 0) < (low.codePointAt(0) ?? 0)) throw new Refusal('range out of order in character class');
    return `${codeOf(low)}-${codeOf(high)}`;
  }

  #classChar(): string {
    if (this.#pattern[this.#at] === '\\') return this.#charEscape();
    const char = String.fromCodePoint(this.#pattern.codePointAt(this.#at) ?? 0);
    if (this.#at >= this.#pattern.length) throw new Refusal('unterminated character class');
    this.#at += char.length;
    return char;
  }

  #literal(char: string): Node {
    return this.#flags.ignoreCase ? this.#char(codeOf(char)) : { kind: 'char', test: (found) => found === char };
  }

  /** One character by a class of JavaScript's, which takes no more than one step. */
  #char(source: string): Node {
    const regex = toRegExp(`^${source}$`, this.#flags.ignoreCase ? 'iu' : 'u');
    if (regex === null) throw new Refusal('invalid character class');
    return { kind: 'char', test: (found) => regex.test(found) };
  }

  #take(text: string): boolean {
    if (!this.#pattern.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #takeMatch(sticky: RegExp): RegExpExecArray | null {
    sticky.lastIndex = this.#at;
    const match = sticky.exec(this.#pattern);
    if (match !== null) this.#at = sticky.lastIndex;
    return match;
  }
}

/** Sets of ASCII characters, as they stand in a class. */
const asciiClasses: Readonly<Record<string, string>> = {
  d: '0-9',
  w: '0-9A-Za-z_',
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  blank: '\\t ',
  digit: '0-9',
  lower: 'a-z',
  punct: '!-\\/:-@\\[-`\\{-~',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};

function codeOf(char: string): string {
  return `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
}

function toRegExp(source: string, flags: string): RegExp | null {
  try {
    return new RegExp(source, flags);
  } catch {
    return null;
  }
}

/** The program of the whole expression; slots 0 and 1 are the match itself. */
function assemble(root: Node): readonly Instruction[] {
  const program: Instruction[] = [];
  const add = <Added extends Instruction>(instruction: Added): Added => {
    if (program.length >= largestProgram) throw new Refusal(`the expression is too large: over ${largestProgram} parts`);
    program.push(instruction);
    return instruction;
  };
  const write = (node: Node): void => {
    switch (node.kind) {
      case 'char':
        add({ op: 'char', test: node.test });
        return;
      case 'edge':
        add({ op: 'edge', edge: node.edge });
        return;
      case 'sequence':
        for (const part of node.parts) write(part);
        return;
      case 'group':
        add({ op: 'save', slot: node.index * 2 });
        write(node.inner);
        add({ op: 'save', slot: node.index * 2 + 1 });
        return;
      case 'choice': {
        const ends: { to: number }[] = [];
        for (const [index, part] of node.parts.entries()) {
          const isLast = index === node.parts.length - 1;
          const split = isLast ? null : add({ op: 'split', first: program.length + 1, second: 0 });
          write(part);
          if (!isLast) ends.push(add({ op: 'jump', to: 0 }));
          if (split !== null) split.second = program.length;
        }
        for (const end of ends) end.to = program.length;
        return;
      }
      case 'repeat':
        writeRepeat(node);
    }
  };
  const optional = (lazy: boolean): { readonly endsAt: (to: number) => void } => {
    const split = add({ op: 'split', first: program.length + 1, second: program.length + 1 });
    return { endsAt: (to) => void (lazy ? (split.first = to) : (split.second = to)) };
  };
  const writeRepeat = ({ inner, min, max, lazy }: Extract<Node, { kind: 'repeat' }>): void => {
    for (let count = 0; count < min; count += 1) write(inner);
    if (max === Number.POSITIVE_INFINITY) {
      const start = program.length;
      const loop = optional(lazy);
      write(inner);
      add({ op: 'jump', to: start });
      loop.endsAt(program.length);
      return;
    }
    const splits: { readonly endsAt: (to: number) => void }[] = [];
    for (let count = min; count < max; count += 1) {
      splits.push(optional(lazy));
      write(inner);
    }
    for (const split of splits) split.endsAt(program.length);
  };
  add({ op: 'save', slot: 0 });
  write(root);
  add({ op: 'save', slot: 1 });
  add({ op: 'match' });
  return program;
}

type Thread = { readonly at: number; readonly slots: readonly number[] };

/** All ways through the program at once, best first; each instruction is visited once per character at most. */
class Machine implements LinearRegex {
  readonly captures: number;
  readonly names: ReadonlyMap<string, number>;
  readonly #program: readonly Instruction[];
  readonly #visited: Uint32Array;
  #visit = 0;
  #steps = 0;

  constructor(program: readonly Instruction[], captures: number, names: ReadonlyMap<string, number>) {
    this.#program = program;
    this.captures = captures;
    this.names = names;
    this.#visited = new Uint32Array(program.length);
  }

  get size(): number {
    return this.#program.length;
  }

  readonly steps = (): number => this.#steps;

  readonly whole = (text: string): readonly (string | undefined)[] | null => {
    const slots = this.#run(text, 0, true);
    if (slots === null) return null;
    return Array.from({ length: this.captures }, (_, index) => {
      const [start = -1, end = -1] = slots.slice((index + 1) * 2, (index + 1) * 2 + 2);
      return start === -1 || end === -1 ? undefined : text.slice(start, end);
    });
  };

  readonly find = (text: string, from: number): readonly number[] | null => this.#run(text, from, false);

  #run(text: string, from: number, isWhole: boolean): readonly number[] | null {
    const none = Array.from({ length: (this.captures + 1) * 2 }, () => -1);
    let found: readonly number[] | null = null;
    let place = from;
    let threads: Thread[] = [];
    this.#nextVisit();
    this.#enter(threads, 0, none, text, place);
    for (;;) {
      const char = place < text.length ? String.fromCodePoint(text.codePointAt(place) ?? 0) : null;
      const next: Thread[] = [];
      const behind = place + (char?.length ?? 0);
      this.#nextVisit();
      for (const { at, slots } of threads) {
        const instruction = this.#program[at];
        if (instruction?.op === 'match') {
          if (isWhole && place < text.length) continue;
          found = slots;
          // What comes behind is worse than what was found.
          break;
        }
        if (char !== null && instruction?.op === 'char' && instruction.test(char)) this.#enter(next, at + 1, slots, text, behind);
      }
      if (char === null) return found;
      place = behind;
      if (!isWhole && found === null) this.#enter(next, 0, none, text, place);
      if (next.length === 0 && (isWhole || found !== null)) return found;
      threads = next;
    }
  }

  #nextVisit(): void {
    this.#visit = (this.#visit + 1) >>> 0;
    if (this.#visit !== 0) return;
    this.#visited.fill(0);
    this.#visit = 1;
  }

  /** Follows all that takes no character. */
  #enter(threads: Thread[], start: number, startSlots: readonly number[], text: string, place: number): void {
    const open: Thread[] = [{ at: start, slots: startSlots }];
    for (let thread = open.pop(); thread !== undefined; thread = open.pop()) {
      const { at, slots } = thread;
      const instruction = this.#program[at];
      if (instruction === undefined || this.#visited[at] === this.#visit) continue;
      this.#visited[at] = this.#visit;
      this.#steps += 1;
      if (instruction.op === 'jump') open.push({ at: instruction.to, slots });
      else if (instruction.op === 'split') open.push({ at: instruction.second, slots }, { at: instruction.first, slots });
      else if (instruction.op === 'save') open.push({ at: at + 1, slots: slots.with(instruction.slot, place) });
      else if (instruction.op === 'edge') {
        if (isAtEdge(instruction.edge, text, place)) open.push({ at: at + 1, slots });
      } else threads.push(thread);
    }
  }
}

function isAtEdge(edge: Edge, text: string, place: number): boolean {
  if (edge === 'start') return place === 0;
  if (edge === 'end') return place === text.length;
  const isWord = (char: string | undefined): boolean => char !== undefined && /\w/.test(char);
  return (isWord(text[place - 1]) !== isWord(text[place])) === (edge === 'word');
}
