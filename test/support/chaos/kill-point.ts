/** One exact place to die at: before or after the n-th commit of the journal, change of a server's list, or look at a server. */
export type KillAt = {
  readonly operation: 'commit' | 'apply' | 'observe';
  readonly side: 'before' | 'after';
  /** From 1. */
  readonly nth: number;
  /** `episode`: counted from the transaction that opens the first episode, that one included. */
  readonly since: 'start' | 'episode';
};

/** A place, or an instant: so long after the decision, in a later life after it listens. */
export type Kill = KillAt | { readonly operation: 'instant'; readonly afterMs: number };

/** How often each happens in one rollback of two servers, about: a kill beyond the last one never strikes. */
const mostOf = { commit: 30, apply: 4, observe: 60 } as const;

/** One to three kills, one for each life of the daemon. */
export function drawKills(random: () => number): readonly Kill[] {
  const upTo = (most: number): number => 1 + Math.floor(random() * most);
  return Array.from({ length: upTo(3) }, (_, life): Kill => {
    if (random() < 0.3) return { operation: 'instant', afterMs: upTo(3_200) };
    const operation = (['commit', 'apply', 'observe'] as const)[Math.floor(random() * 3)] ?? 'commit';
    return { operation, side: random() < 0.5 ? 'before' : 'after', nth: upTo(mostOf[operation]), since: life === 0 ? 'episode' : 'start' };
  });
}
