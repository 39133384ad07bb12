import type { Finding } from './finding.ts';

/** Kinds that settle the whole, most decisive first: one part within its limit settles `all`, one in breach settles `any`. */
const order = {
  all: ['ok', 'error', 'no_data', 'breaching'],
  any: ['breaching', 'error', 'no_data', 'ok'],
} as const satisfies Record<string, readonly Finding['kind'][]>;

/**
 * `all` and `any` of findings. What cannot be seen never counts as a breach, and never as health: `all` is `ok` only when one part is, `any` only when every part is.
 * Value, limit and requests are those of the first part that settled it.
 */
export function findComposite(kind: 'all' | 'any', given: readonly Finding[]): Finding {
  const telling = kind === 'any' && given.some(({ isMoot }) => isMoot !== true) ? given.filter(({ isMoot }) => isMoot !== true) : given;
  return combine(kind, telling);
}

function combine(kind: 'all' | 'any', findings: readonly Finding[]): Finding {
  const settled = order[kind].find((wanted) => findings.some((finding) => finding.kind === wanted));
  const decisive = findings.filter((finding) => finding.kind === settled);
  const [first] = decisive;
  if (settled === undefined || first === undefined) return { kind: 'no_data', words: 'no condition', value: null, threshold: null, requests: null };
  const all = (kind === 'all' && settled === 'breaching') || (kind === 'any' && settled === 'ok') ? findings : decisive;
  const { isMoot: _, ...rest } = first;
  return {
    ...rest,
    words: all.map(({ words }) => words).join(settled === 'no_data' || settled === 'error' ? '; ' : ' and '),
    ...(findings.every((finding) => finding.isMoot === true) ? { isMoot: true as const } : {}),
  };
}
