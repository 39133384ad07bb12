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
  retire(model: string, rule: string, keep: { has(version: string): boolean }): readonly Verdict[] {
    const board = this.#byModel.get(model);
    if (board === undefined) return [];
    const gone: Verdict[] = [];
    for (const verdict of board.values()) if (verdict.rule === rule && !keep.has(verdict.version)) gone.push(verdict);
    for (const verdict of gone) board.delete(`${verdict.rule} ${verdict.version}`);
    return gone;
  }

  /** Takes down what rules said that are no longer in the files: nobody would ever judge it anew. */
  retain(isThere: (rule: string) => boolean): void {
    for (const [model, board] of this.#byModel) {
      for (const [key, verdict] of board) if (!isThere(verdict.rule)) board.delete(key);
      if (board.size === 0) this.#byModel.delete(model);
    }
  }

  of(model: string): readonly Verdict[] {
    return [...(this.#byModel.get(model)?.values() ?? [])];
  }

  all(): readonly Verdict[] {
    return [...this.#byModel.values()].flatMap((board) => [...board.values()]);
  }
}
