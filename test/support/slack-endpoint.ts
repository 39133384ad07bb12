import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { keepOutput } from './kept-output.ts';

/** A message as it came in. */
export type SlackDelivery = {
  readonly atMs: number;
  /** The body, word for word. */
  readonly body: string;
  /** `text`, and every text of the blocks, a line each, as a reader sees it. */
  readonly text: string;
};

/** Stands in for Slack's webhooks and remembers what it was told. */
export type SlackEndpoint = {
  /** The webhook's address. */
  readonly url: string;
  readonly deliveries: readonly SlackDelivery[];
  /** What it answers from now on; default 200 `ok`. `hang`: nothing, until it is closed. */
  answer: (how: { status: number; body: string } | 'hang') => void;
  readonly close: () => Promise<void>;
};

/** @param path of the webhook, which is its secret */
export async function startSlackEndpoint(path = '/services/T000/B000/e2e'): Promise<SlackEndpoint> {
  const deliveries: SlackDelivery[] = [];
  const hanging = new Set<ServerResponse>();
  let how: Parameters<SlackEndpoint['answer']>[0] = { status: 200, body: 'ok' };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      keepOutput('Slack message', body);
      deliveries.push({ atMs: Date.now(), body, text: readableText(body) });
      if (how === 'hang') hanging.add(response);
      else response.writeHead(how.status, { 'content-type': 'text/plain' }).end(how.body);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${path}`,
    deliveries,
    answer: (next) => {
      how = next;
    },
    close: async () => {
      for (const response of hanging) response.destroy();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function readableText(body: string): string {
  const texts: string[] = [];
  const collect = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key === 'text' && typeof value === 'string') texts.push(value);
      else collect(value);
    }
  };
  try {
    collect(JSON.parse(body));
  } catch {
    texts.push(body);
  }
  return texts.join('\n').replaceAll('&gt;', '>').replaceAll('&lt;', '<').replaceAll('&amp;', '&');
}
