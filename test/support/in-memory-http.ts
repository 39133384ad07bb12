import type { HttpClient, HttpRequest, HttpResponse } from '../../src/adapters/http/client.ts';
import { HttpError } from '../../src/adapters/http/http-error.ts';

export type InMemoryAnswer = { readonly status?: number; readonly body: string };
type Answering = (method: string, url: string) => InMemoryAnswer;

let answering: Answering = () => ({ status: 404, body: '' });

/** Sets what every client of this file is told from now on. */
export function answerBy(answer: Answering): void {
  answering = answer;
}

async function request({ method, url, expectStatus }: HttpRequest): Promise<HttpResponse> {
  const { status = 200, body } = answering(method, url);
  if (expectStatus?.(status) === false) throw new HttpError({ method, host: new URL(url).host, status, code: 'STATUS', detail: `answered ${status}` });
  return { status, headers: {}, body, durationMs: 0 };
}

/**
 * Stands for that of `src/adapters/http/client.ts` (`vi.mock`), so that thousands of answers are read in a second: what is left out, connections, limits of
 * time and size and redirects, is most of the time that a call takes, and none of what reads an answer.
 */
export function createHttpClient(): HttpClient {
  const stream = async (): Promise<never> => await Promise.reject(new Error('nothing is watched here'));
  return { request, stream, redact: (text) => text, close: () => undefined };
}
