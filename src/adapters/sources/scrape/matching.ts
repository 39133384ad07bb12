import { compileRegex } from '../../../domain/linear-regex.ts';
import { lookUp } from '../../../domain/lookup.ts';
import type { Matcher } from '../../../domain/model.ts';
import type { Labels } from '../answer-builder.ts';

/** A matcher that this source cannot evaluate. */
export class MatcherError extends Error {
  override readonly name = 'MatcherError';
}

const maxRemembered = 1_000;

export type LabelTest = { readonly label: string; readonly fits: (value: string) => boolean };

/**
 * Turns a matcher into a test of a label's value ('' = no such label), anchored at both ends as in Prometheus.
 * @throws {MatcherError} for a regular expression that is none
 */
export function compileMatcher({ label, op, value }: Matcher): LabelTest {
  if (op === '=') return { label, fits: (given) => given === value };
  if (op === '!=') return { label, fits: (given) => given !== value };
  const { regex, fault } = compileRegex(value, { dotAll: true });
  if (regex === undefined) throw new MatcherError(`the matcher ${label}=~${JSON.stringify(value)} cannot be evaluated by this source (${fault})`);
  // Labels have few values, and each comes again with every scrape.
  const known = new Map<string, boolean>();
  const matches = (given: string): boolean => {
    let isMatch = known.get(given);
    if (isMatch !== undefined) return isMatch;
    isMatch = regex.whole(given) !== null;
    if (known.size >= maxRemembered) known.clear();
    known.set(given, isMatch);
    return isMatch;
  };
  return { label, fits: op === '=~' ? matches : (given) => !matches(given) };
}

/** Whether a series with these labels is selected. */
export function fitsAll(tests: readonly LabelTest[], labels: Labels): boolean {
  return tests.every((test) => test.fits(lookUp(labels, test.label) ?? ''));
}

/** An empty label is no label. */
export function withoutEmpty(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''));
}
