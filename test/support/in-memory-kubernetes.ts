import type { Connection, ConnectionSource } from '../../src/adapters/kubernetes/connection.ts';
import { answerIn, jsonOf } from './fuzz.ts';
import { answerBy } from './in-memory-http.ts';

/** What an API server says: path → document. What is not there is `NotFound`. */
export type KubernetesAnswers = Readonly<Record<string, unknown>>;

const connection: Connection = { server: 'http://kubernetes.test', namespace: 'shop', http: {} };
const notFound = JSON.stringify({ kind: 'Status', status: 'Failure', reason: 'NotFound', code: 404, message: 'not found' });
const texts = new WeakMap<object, string>();

/** Sets what every client of this file is told from now on. */
export function tell(said: unknown): void {
  answerBy((method, url) => {
    const document = answerIn(said, `${method} ${url.slice(connection.server.length)}`);
    return document === undefined ? { status: 404, body: notFound } : { body: textOf(document) };
  });
}

function textOf(document: unknown): string {
  if (typeof document !== 'object' || document === null) return jsonOf(document);
  const text = texts.get(document) ?? jsonOf(document);
  texts.set(document, text);
  return text;
}

/** Stands for that of `src/adapters/kubernetes/kubeconfig.ts` (`vi.mock`), without a file. */
export class Kubeconfig implements ConnectionSource {
  async connect(): Promise<Connection> {
    return connection;
  }
}
