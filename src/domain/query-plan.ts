import { formatDuration } from './duration.ts';
import type { Question } from './measurement.ts';
import type { Matcher } from './model.ts';
import { byText, escapeRegex, selectorText } from './promql-text.ts';

/** One query that answers many questions. */
export type PlannedQuery = {
  readonly kind: Question['kind'];
  readonly windowMs: number;
  readonly promql: string;
  /** Labels whose values tell the questions apart, in the order of the key. */
  readonly keyLabels: readonly string[];
  readonly versionLabel: string | null;
  /** `groupKey` of those values → the ids asked for. */
  readonly ids: ReadonlyMap<string, readonly string[]>;
};

/** Longest query text, characters; above it a query is halved. */
const defaultMaxLength = 100_000;

type Asked = { readonly question: Question; readonly fixed: readonly Matcher[]; readonly equals: ReadonlyMap<string, string> };

/**
 * Merges questions that differ only in the values of equality matchers on the same labels into one grouped query each, so that the
 * number of queries does not grow with models or versions. Equal questions are asked once.
 */
export function planQueries(questions: readonly Question[], options: { readonly maxLength?: number } = {}): readonly PlannedQuery[] {
  const classes = new Map<string, Asked[]>();
  for (const question of questions) {
    const asked = split(question);
    const shape = JSON.stringify([
      question.kind,
      question.metric,
      question.windowMs,
      question.versionLabel,
      asked.fixed.map(({ label, op, value }) => [label, op, value]),
      [...asked.equals.keys()],
    ]);
    const same = classes.get(shape);
    if (same === undefined) classes.set(shape, [asked]);
    else same.push(asked);
  }
  return [...classes.values()].flatMap((asked) => planClass(asked, options.maxLength ?? defaultMaxLength));
}

/** Key of the values of `keyLabels`, unambiguous whatever stands in them. */
export function groupKey(values: readonly string[]): string {
  return values.length === 1 ? (values[0] ?? '') : JSON.stringify(values);
}

/** Parts the matchers that may be merged (one equality on a label) from those that must stand as they are. */
function split(question: Question): Asked {
  const fixed: Matcher[] = [];
  const equals = new Map<string, string>();
  const sorted = question.matchers.toSorted((a, b) => compare(a.label, b.label) || compare(a.op, b.op) || compare(a.value, b.value));
  for (const matcher of sorted) {
    const once = sorted.filter(({ label, op }) => label === matcher.label && op === '=').length === 1;
    const mergeable = matcher.op === '=' && once && matcher.label !== '__name__' && !(matcher.label === 'le' && question.kind === 'buckets');
    if (mergeable) equals.set(matcher.label, matcher.value);
    else fixed.push(matcher);
  }
  return { question, fixed, equals };
}

function planClass(asked: readonly Asked[], maxLength: number): PlannedQuery[] {
  const [one] = asked;
  if (one === undefined) return [];
  const values = new Map<string, Set<string>>([...one.equals.keys()].map((label) => [label, new Set<string>()]));
  for (const { equals } of asked) for (const [label, value] of equals) values.get(label)?.add(value);

  const keyLabels = [...values].filter(([, set]) => set.size > 1).map(([label]) => label);
  const matchers = [...values].map(([label, set]): Matcher => {
    const [first = ''] = set;
    return set.size === 1 ? { label, op: '=', value: first } : { label, op: '=~', value: [...set].map(escapeRegex).join('|') };
  });
  const promql = text(one.question, [...one.fixed, ...matchers], keyLabels);
  const ids = new Map<string, string[]>();
  for (const { question, equals } of asked) {
    const key = groupKey(keyLabels.map((label) => equals.get(label) ?? ''));
    const same = ids.get(key);
    if (same === undefined) ids.set(key, [question.id]);
    else same.push(question.id);
  }
  if (promql.length > maxLength && ids.size > 1) {
    const sorted = asked.toSorted((a, b) => compare(keyOf(a, keyLabels), keyOf(b, keyLabels)));
    const half = Math.floor(sorted.length / 2);
    return [...planClass(sorted.slice(0, half), maxLength), ...planClass(sorted.slice(half), maxLength)];
  }
  return [{ kind: one.question.kind, windowMs: one.question.windowMs, promql, keyLabels, versionLabel: one.question.versionLabel, ids }];
}

function text({ kind, metric, windowMs, versionLabel }: Question, matchers: readonly Matcher[], keyLabels: readonly string[]): string {
  const selector = selectorText(metric, matchers);
  if (kind === 'samples') return `${selector}[${formatDuration(windowMs)}]`;
  const by = byText([...new Set([...keyLabels, ...(versionLabel === null ? [] : [versionLabel]), ...(kind === 'buckets' ? ['le'] : [])])]);
  if (kind === 'gauge') return `avg${by}(${selector})`;
  if (kind === 'newest') return `max${by}(timestamp(${selector}))`;
  return `sum${by}(increase(${selector}[${formatDuration(windowMs)}]))`;
}

function keyOf({ equals }: Asked, keyLabels: readonly string[]): string {
  return groupKey(keyLabels.map((label) => equals.get(label) ?? ''));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
