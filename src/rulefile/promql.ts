import type { SyntaxNode, Tree } from '@lezer/common';
import { parser } from '@prometheus-io/lezer-promql';
import { parseDuration } from '../domain/duration.ts';
import { compileRegex } from '../domain/linear-regex.ts';
import { lookUp } from '../domain/lookup.ts';
import { nearest } from './nearest.ts';

/** A fault in an expression; offsets in UTF-16 units from its start. */
export type PromqlFault = { readonly offset: number; readonly length: number; readonly message: string };

/** What is known of an expression from its text alone. */
export type PromqlFacts = {
  readonly faults: readonly PromqlFault[];
  /** Longest look into the past by range selectors, subqueries and offsets, ms. */
  readonly rangeMs: number;
  /** Whether anything is compared; without that an alert fires for every element. */
  readonly compares: boolean;
  /** First use of `absent` or `absent_over_time`: it says something just because numbers are missing. */
  readonly absent: PromqlFault | null;
};

type Type = 'scalar' | 'string' | 'vector' | 'matrix' | 'unknown';

/** Argument types: v vector, m range vector, s scalar, t string; behind `?` optional, `*` repeats the one before it. */
const signatures: Readonly<Record<string, string>> = {
  abs: 'v',
  absent: 'v',
  absent_over_time: 'm',
  acos: 'v',
  acosh: 'v',
  asin: 'v',
  asinh: 'v',
  atan: 'v',
  atanh: 'v',
  avg_over_time: 'm',
  ceil: 'v',
  changes: 'm',
  clamp: 'vss',
  clamp_max: 'vs',
  clamp_min: 'vs',
  cos: 'v',
  cosh: 'v',
  count_over_time: 'm',
  days_in_month: '?v',
  day_of_month: '?v',
  day_of_week: '?v',
  day_of_year: '?v',
  deg: 'v',
  delta: 'm',
  deriv: 'm',
  exp: 'v',
  first_over_time: 'm',
  floor: 'v',
  histogram_avg: 'v',
  histogram_count: 'v',
  histogram_fraction: 'ssv',
  histogram_quantile: 'sv',
  histogram_quantiles: 'vtss*',
  histogram_stddev: 'v',
  histogram_stdvar: 'v',
  histogram_sum: 'v',
  double_exponential_smoothing: 'mss',
  hour: '?v',
  idelta: 'm',
  increase: 'm',
  info: 'v?v',
  irate: 'm',
  label_replace: 'vtttt',
  label_join: 'vttt*',
  last_over_time: 'm',
  ln: 'v',
  log10: 'v',
  log2: 'v',
  mad_over_time: 'm',
  max_over_time: 'm',
  min_over_time: 'm',
  minute: '?v',
  month: '?v',
  pi: '',
  predict_linear: 'ms',
  present_over_time: 'm',
  quantile_over_time: 'sm',
  rad: 'v',
  rate: 'm',
  resets: 'm',
  round: 'v?s',
  scalar: 'v',
  sgn: 'v',
  sin: 'v',
  sinh: 'v',
  sort: 'v',
  sort_desc: 'v',
  sort_by_label: 'vt*',
  sort_by_label_desc: 'vt*',
  sqrt: 'v',
  stddev_over_time: 'm',
  stdvar_over_time: 'm',
  sum_over_time: 'm',
  tan: 'v',
  tanh: 'v',
  time: '',
  timestamp: 'v',
  ts_of_first_over_time: 'm',
  ts_of_last_over_time: 'm',
  ts_of_max_over_time: 'm',
  ts_of_min_over_time: 'm',
  vector: 's',
  year: '?v',
};
/** The grammar looks words up in plain objects, so it refuses these names (lezer-promql 0.315); to Prometheus they are names like any other. */
const inheritedNames = /\b(?:constructor|__proto__)\b/gi;
const aggregators = ['avg', 'bottomk', 'count', 'count_values', 'group', 'limit_ratio', 'limitk', 'max', 'min', 'quantile', 'stddev', 'stdvar', 'sum', 'topk'];
const scalarFunctions: ReadonlySet<string> = new Set(['scalar', 'time', 'pi']);
const comparisons: ReadonlySet<string> = new Set(['Eql', 'Gte', 'Gtr', 'Lte', 'Lss', 'Neq']);
const setOperators: ReadonlySet<string> = new Set(['And', 'Or', 'Unless']);
const typeNames = { v: 'an instant vector', m: 'a range vector', s: 'a scalar', t: 'a string' } as const;
const typeOfLetter = { v: 'vector', m: 'matrix', s: 'scalar', t: 'string' } as const;
const found: Readonly<Record<Type, string>> = {
  scalar: 'a scalar',
  string: 'a string',
  vector: 'an instant vector',
  matrix: 'a range vector',
  unknown: 'something else',
};

/**
 * Checks an expression by Prometheus's own grammar, then its types as far as the text tells them.
 * An alert needs an instant vector: a bare range selector, number or string is refused.
 */
export function checkPromql(expr: string): PromqlFacts {
  try {
    return checkParsed(expr);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { faults: [{ offset: 0, length: 1, message: 'nested too deep' }], rangeMs: 0, compares: true, absent: null };
  }
}

function checkParsed(expr: string): PromqlFacts {
  const tree = parser.parse(expr.replaceAll(inheritedNames, (name) => 'x'.repeat(name.length)));
  const syntax = syntaxFault(expr, tree);
  if (syntax !== null) return { faults: [syntax], rangeMs: 0, compares: true, absent: null };
  const root = child(tree.topNode);
  if (root === null) return { faults: [{ offset: 0, length: 1, message: 'no expression' }], rangeMs: 0, compares: true, absent: null };
  const checker = new Checker(expr);
  const type = checker.typeOf(root);
  if (type === 'matrix') checker.blame(root, 'a range vector cannot be compared or alerted on; wrap it in a function, such as rate(…)');
  if (type === 'scalar' || type === 'string') checker.blame(root, `${found[type]} carries no labels, so it names no version; an alert needs an instant vector`);
  return { faults: checker.faults, rangeMs: checker.rangeOf(root), compares: checker.compares, absent: checker.absent };
}

function syntaxFault(expr: string, tree: Tree): PromqlFault | null {
  let error: { from: number; parent: string } | null = null;
  tree.iterate({
    enter: (node) => {
      if (error === null && node.type.isError) error = { from: node.from, parent: node.node.parent?.name ?? '' };
      return error === null;
    },
  });
  if (error === null) return null;
  const { from, parent } = error as { from: number; parent: string };
  const blanks = /^(?:\s|#[^\n]*)*/.exec(expr.slice(from))?.[0].length ?? 0;
  const offset = from + blanks;
  const token = /^(?:[a-zA-Z_:][\w:.]*|\d[\w.]*|"[^"\n]*"?|'[^'\n]*'?|[<>=!]=?~?|.)/s.exec(expr.slice(offset))?.[0];
  if (token === undefined) return { offset: expr.length, length: 1, message: `unexpected end of the expression${expectation(parent)}` };
  const called = token === '(' ? /([a-zA-Z_]\w*)\s*$/.exec(expr.slice(0, from)) : null;
  if (called?.[1] !== undefined && !Object.hasOwn(signatures, called[1]) && !aggregators.includes(called[1])) {
    const meant = nearest(called[1], [...aggregators, ...Object.keys(signatures)]);
    return { offset: called.index, length: called[1].length, message: `unknown function "${called[1]}"${meant === null ? '' : `; did you mean "${meant}"?`}` };
  }
  return { offset, length: token.length, message: `unexpected ${JSON.stringify(token)}${expectation(parent)}` };
}

function expectation(parent: string): string {
  if (parent === 'GroupingLabels' || parent === 'AggregateModifier') return ', expected label names in parentheses';
  if (parent === 'FunctionCallBody') return ', expected ")" or a further argument';
  if (parent === 'ParenExpr') return ', expected ")"';
  if (parent === 'LabelMatchers' || parent === 'UnquotedLabelMatcher') return ', expected a label matcher such as label="value" or "}"';
  if (parent === 'MatrixSelector' || parent === 'SubqueryExpr' || parent === 'DurationExpr') return ', expected a duration and "]"';
  if (parent === 'BinaryExpr') return ', expected what stands right of the operator';
  return '';
}

class Checker {
  readonly expr: string;
  readonly faults: PromqlFault[] = [];
  compares = false;
  absent: PromqlFault | null = null;
  constructor(expr: string) {
    this.expr = expr;
  }

  blame(node: SyntaxNode, message: string): void {
    this.faults.push({ offset: node.from, length: Math.max(1, node.to - node.from), message });
  }

  typeOf(node: SyntaxNode): Type {
    switch (node.name) {
      case 'NumberDurationLiteral':
        return 'scalar';
      case 'StringLiteral':
        return 'string';
      case 'VectorSelector':
        this.checkSelector(node);
        return 'vector';
      case 'MatrixSelector': {
        const inner = child(node);
        if (inner !== null && inner.name !== 'VectorSelector')
          this.blame(inner, 'a range in [ ] needs a plain selector; write a subquery, [5m:], for anything else');
        if (inner !== null) this.typeOf(inner);
        return 'matrix';
      }
      case 'SubqueryExpr':
        this.expect(child(node), 'vector', 'a subquery');
        return 'matrix';
      case 'AggregateExpr':
        return this.aggregate(node);
      case 'FunctionCall':
        return this.call(node);
      case 'BinaryExpr':
        return this.binary(node);
      case 'UnaryExpr': {
        const inner = node.lastChild;
        const type = inner === null ? 'unknown' : this.typeOf(inner);
        if (type === 'matrix' || type === 'string') this.blame(node, `a sign cannot stand before ${found[type]}`);
        return type;
      }
      default: {
        const inner = child(node);
        return inner === null ? 'unknown' : this.typeOf(inner);
      }
    }
  }

  private expect(node: SyntaxNode | null, wanted: Type, what: string): void {
    if (node === null) return;
    const type = this.typeOf(node);
    if (type !== wanted && type !== 'unknown') this.blame(node, `${what} takes ${found[wanted]}, found ${found[type]}`);
  }

  private aggregate(node: SyntaxNode): Type {
    const operator = this.text(node.getChild('AggregateOp'));
    const operands = expressions(node.getChild('FunctionCallBody'));
    const parameter = ['topk', 'bottomk', 'quantile', 'limitk', 'limit_ratio'].includes(operator) ? 'scalar' : operator === 'count_values' ? 'string' : null;
    const wanted: Type[] = parameter === null ? ['vector'] : [parameter, 'vector'];
    if (operands.length !== wanted.length)
      this.blame(node, `${operator} takes ${wanted.length === 1 ? 'one argument' : 'two arguments'}, found ${operands.length}`);
    operands.forEach((operand, i) => {
      this.expect(operand, wanted[i] ?? 'vector', operator);
    });
    return 'vector';
  }

  private call(node: SyntaxNode): Type {
    const identifier = node.getChild('FunctionIdentifier');
    const name = this.text(identifier);
    if ((name === 'absent' || name === 'absent_over_time') && this.absent === null)
      this.absent = { offset: node.from, length: node.to - node.from, message: name };
    const operands = expressions(node.getChild('FunctionCallBody'));
    const signature = lookUp(signatures, name);
    if (signature === undefined) {
      for (const operand of operands) this.typeOf(operand);
      return scalarFunctions.has(name) ? 'scalar' : 'vector';
    }
    const letters = signature.replace(/[?*]/g, '');
    const required = signature.includes('?') ? signature.indexOf('?') : signature.endsWith('*') ? letters.length - 1 : letters.length;
    const most = signature.endsWith('*') ? Number.POSITIVE_INFINITY : letters.length;
    if (operands.length < required || operands.length > most) {
      const list = letters
        .split('')
        .map((letter) => typeNames[letter as keyof typeof typeNames])
        .join(', ');
      this.blame(node, `${name} takes ${letters === '' ? 'no argument' : list}; found ${operands.length} argument${operands.length === 1 ? '' : 's'}`);
    }
    operands.forEach((operand, i) => {
      const letter = (letters[i] ?? letters.at(-1)) as keyof typeof typeNames | undefined;
      if (letter === undefined) return;
      const type = this.typeOf(operand);
      if (type === typeOfLetter[letter] || type === 'unknown') return;
      const mend = letter === 'm' && type === 'vector' ? '; add a range, such as [5m]' : '';
      this.blame(operand, `${name} takes ${typeNames[letter]} here, found ${found[type]}${mend}`);
    });
    return scalarFunctions.has(name) ? 'scalar' : 'vector';
  }

  private binary(node: SyntaxNode): Type {
    const left = node.firstChild;
    const right = node.lastChild;
    if (left === null || right === null) return 'unknown';
    let operator = left.nextSibling;
    while (operator !== null && !/^(Pow|Mul|Div|Mod|Atan2|Add|Sub|Eql|Gte|Gtr|Lte|Lss|Neq|And|Or|Unless|TrimUpper|TrimLower)$/.test(operator.name))
      operator = operator.nextSibling;
    const bool = node.getChild('BoolModifier') !== null;
    const isComparison = operator !== null && comparisons.has(operator.name);
    if (isComparison && !bool) this.compares = true;
    const types = [this.typeOf(left), this.typeOf(right)];
    [left, right].forEach((side, i) => {
      const type = types[i];
      if (type === 'matrix' || type === 'string') this.blame(side, `${found[type]} cannot stand beside ${JSON.stringify(this.text(operator))}`);
      if (type === 'scalar' && operator !== null && setOperators.has(operator.name))
        this.blame(side, `${this.text(operator)} stands between two instant vectors, found a scalar`);
    });
    if (types.every((type) => type === 'scalar')) {
      if (isComparison && !bool) this.blame(node, 'comparisons between scalars must use bool');
      return 'scalar';
    }
    return 'vector';
  }

  private checkSelector(node: SyntaxNode): void {
    const matchers = node.getChild('LabelMatchers');
    if (node.getChild('Identifier') !== null || matchers === null) return;
    const selects = (matcher: SyntaxNode): boolean => {
      if (matcher.name === 'QuotedLabelName') return true;
      const operator = this.text(matcher.getChild('MatchOp'));
      const value = this.text(matcher.getChild('StringLiteral')).slice(1, -1);
      if (operator === '=') return value !== '';
      if (operator === '!=') return value === '';
      if (operator === '=~') return !matchesEmpty(value);
      return matchesEmpty(value);
    };
    let any = false;
    for (let matcher = matchers.firstChild; matcher !== null; matcher = matcher.nextSibling) any ||= selects(matcher);
    if (!any) this.blame(node, 'a selector needs a metric name or at least one matcher that does not match the empty string');
  }

  /** How far back the numbers reach, ms. */
  rangeOf(node: SyntaxNode): number {
    let inner = 0;
    for (let next = node.firstChild; next !== null; next = next.nextSibling) inner = Math.max(inner, this.rangeOf(next));
    if (node.name === 'MatrixSelector' || node.name === 'SubqueryExpr') return inner + this.durationOf(node.getChild('DurationExpr'));
    if (node.name === 'OffsetExpr') return inner + Math.max(0, this.durationOf(node.getChild('OffsetDurationExpr')));
    return inner;
  }

  private durationOf(node: SyntaxNode | null): number {
    if (node === null) return 0;
    const text = this.text(node).replace(/\s+/g, '');
    const [, sign, rest] = /^([-+]?)(.*)$/.exec(text) ?? [];
    const value = parseDuration(rest ?? '') ?? (/^\d+(\.\d+)?$/.test(rest ?? '') ? Number(rest) * 1000 : null);
    if (value !== null) return sign === '-' ? -value : value;
    this.blame(node, 'expected a plain duration, such as 5m (rollbackd must know how far back the expression looks)');
    return 0;
  }

  private text(node: SyntaxNode | null): string {
    return node === null ? '' : this.expr.slice(node.from, node.to);
  }
}

function matchesEmpty(regex: string): boolean {
  return compileRegex(regex, { dotAll: true }).regex?.whole('') != null;
}

/** First child that is an expression. */
function child(node: SyntaxNode): SyntaxNode | null {
  for (let next = node.firstChild; next !== null; next = next.nextSibling) if (next.name !== 'LineComment' && next.name !== 'UnaryOp') return next;
  return null;
}

function expressions(body: SyntaxNode | null): SyntaxNode[] {
  const list: SyntaxNode[] = [];
  for (let next = body?.firstChild ?? null; next !== null; next = next.nextSibling) if (next.name !== 'LineComment') list.push(next);
  return list;
}
