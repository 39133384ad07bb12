import type { Verdict } from '../domain/verdict.ts';

/** The newest verdict of each rule for each version of each model. */
export class VerdictBoard {
  readonly #byModel = new Map<string, Map<string, Verdict>>();

  post(verdicts: readonly Verdict[]): void {
    for (const verdict of verdicts) {
      let board = this.#byModel.get(verdict.model);
      if (board === undefined) this.#byModel.set(verdict.model, (board = new Map()));
      board.set(`${verdict.rule} ${verdict.version}`, verdict);
    }
  }

  /** Takes down what a rule said of versions it no longer sees. */
  retire(model: string, rule: string, keep: ReadonlySet<string>): readonly Verdict[] {
    const board = this.#byModel.get(model);
    if (board === undefined) return [];
    const gone = [...board.values()].filter((verdict) => verdict.rule === rule && !keep.has(verdict.version));
    for (const verdict of gone) board.delete(`${verdict.rule} ${verdict.version}`);
    return gone;
  }

  of(model: string): readonly Verdict[] {
    return [...(this.#byModel.get(model)?.values() ?? [])];
  }

  all(): readonly Verdict[] {
    return [...this.#byModel.values()].flatMap((board) => [...board.values()]);
  }
}
