/** Edit distance (insert, delete, replace, swap of neighbours); gives up above `limit`. */
export function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, (beforeLast[j - 2] ?? 0) + 1);
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? limit + 1;
}

/** The word meant by a slip, or `null` when none is near: up to a third of its letters wrong, three at most; case does not count. */
export function nearest(word: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  const wanted = word.toLowerCase().replaceAll('-', '_');
  let bestDistance = Math.min(3, word.length < 3 ? 0 : Math.max(1, Math.floor(word.length / 3))) + 1;
  for (const candidate of known) {
    const name = candidate.toLowerCase().replaceAll('-', '_');
    // Letters left out at the end are the commonest slip.
    const distance = editDistance(wanted, name, bestDistance) - (name.startsWith(wanted) ? 0.5 : 0);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}
