import type { Answer, Question } from '../../src/domain/measurement.ts';
import type { Source } from '../../src/domain/ports.ts';

/** What a version's traffic looks like, per second. */
export type Traffic = { readonly requests: number; readonly errorRatio: number };

/** A source whose numbers are set by the test: steady traffic per version, newest sample now. */
export class FakeSource implements Source {
  readonly traffic = new Map<string, Traffic>();
  /** Set to make every answer an error. */
  failure: string | null = null;
  readonly askExpr = null;
  /** Set to give the source a history. */
  history: Source['history'] = null;
  /** Windows that were asked for, ms. */
  readonly windows: number[] = [];

  async ask(questions: readonly Question[], atMs: number): Promise<ReadonlyMap<string, Answer>> {
    await Promise.resolve();
    this.windows.push(...questions.map((question) => question.windowMs));
    return new Map(
      questions.map((question) => [question.id, this.failure === null ? this.#answer(question, atMs) : { kind: 'error' as const, reason: this.failure }]),
    );
  }

  describe(questions: readonly Question[]): ReadonlyMap<string, string> {
    return new Map(questions.map((question) => [question.id, `${question.kind}(${question.metric})`]));
  }

  up(): boolean {
    return this.failure === null;
  }

  whyDown(): string | null {
    return this.failure;
  }

  async close(): Promise<void> {}

  #answer(question: Question, atMs: number): Answer {
    const flowing = [...this.traffic].filter(([, traffic]) => traffic.requests > 0);
    if (question.kind === 'newest') return { kind: 'newest', byVersion: new Map(flowing.map(([version]) => [version, atMs])) };
    if (question.kind === 'buckets') return { kind: 'buckets', byVersion: new Map() };
    const isErrors = question.matchers.some((matcher) => matcher.label === 'code');
    const grown = (traffic: Traffic): number => (traffic.requests * (isErrors ? traffic.errorRatio : 1) * question.windowMs) / 1000;
    return { kind: 'increase', byVersion: new Map(flowing.map(([version, traffic]) => [version, grown(traffic)])) };
  }
}
