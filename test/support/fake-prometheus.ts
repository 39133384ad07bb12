import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Speaks enough of Prometheus's query API to be believed, and says whatever numbers the test wants; for stages without a real one. */
export type FakePrometheus = {
  readonly url: string;
  /** Headers of every request. */
  readonly requests: readonly IncomingMessage['headers'][];
  /** Of 1000 requests so many fail from now on. */
  fail: (ofThousand: number) => void;
  /** Answers otherwise from now on; `null`: normally again. */
  answerBy: (handler: ((request: IncomingMessage, response: ServerResponse) => void) | null) => void;
  readonly close: () => Promise<void>;
};

export async function startFakePrometheus(): Promise<FakePrometheus> {
  const requests: IncomingMessage['headers'][] = [];
  let failing = 0;
  let handler: Parameters<FakePrometheus['answerBy']>[0] = null;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      requests.push(request.headers);
      if (handler !== null) return handler(request, response);
      const asked = new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
      const query = asked.get('query') ?? '';
      const atS = Number(asked.get('time'));
      const value = query.includes('timestamp(') ? atS : query.includes('status!~') ? failing : 1000;
      const result = [{ metric: { model_name: 'fraud' }, value: [atS, String(value)] }];
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ status: 'success', data: { resultType: 'vector', result } }));
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    fail: (ofThousand) => {
      failing = ofThousand;
    },
    answerBy: (next) => {
      handler = next;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
