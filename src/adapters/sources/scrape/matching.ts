import { lookUp } from '../../../domain/lookup.ts';
import type { Matcher } from '../../../domain/model.ts';
import type { Labels } from '../answer-builder.ts';

/** A matcher that this source cannot evaluate. */
export class MatcherError extends Error {
  override readonly name = 'MatcherError';
}

export type LabelTest = { readonly label: string; readonly fits: (value: string) => boolean };

/** What Prometheus's regular expressions (RE2) have and JavaScript's have not, or the other way round. */
const foreign = /\[\[:|\\[pPAzQECK]|\\x\{|\(\?[=!]|\(\?<[=!]|\\[1-9]|\\k<|(?<!^)\(\?[a-zA-Z-]+\)/;

/**
 * Turns a matcher into a test of a label's value ('' = no such label), anchored at both ends as in Prometheus.
 * @throws {MatcherError} for a regular expression that JavaScript would read otherwise than Prometheus
 */
export function compileMatcher({ label, op, value }: Matcher): LabelTest {
  if (op === '=') return { label, fits: (given) => given === value };
  if (op === '!=') return { label, fits: (given) => given !== value };
  const regex = toRegExp(label, value);
  return { label, fits: op === '=~' ? (given) => regex.test(given) : (given) => !regex.test(given) };
}

function toRegExp(label: string, pattern: string): RegExp {
  const refuse = (): never => {
    throw new MatcherError(`the matcher ${label}=~${JSON.stringify(pattern)} cannot be evaluated by this source; write it with plain alternatives`);
  };
  const flagged = /^\(\?([is]+)\)/.exec(pattern);
  const body = pattern.slice(flagged?.[0].length ?? 0).replaceAll('(?P<', '(?<');
  if (foreign.test(body)) refuse();
  try {
    return new RegExp(`^(?:${body})$`, flagged?.[1]?.includes('i') === true ? 'is' : 's');
  } catch {
    return refuse();
  }
}

/** Whether a series with these labels is selected. */
export function fitsAll(tests: readonly LabelTest[], labels: Labels): boolean {
  return tests.every((test) => test.fits(lookUp(labels, test.label) ?? ''));
}

/** An empty label is no label. */
export function withoutEmpty(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''));
}
