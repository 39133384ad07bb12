import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A web server that answers as Slack's webhooks do, and hands over the text of each message. */
export async function startSlackStandIn(onMessage: (text: string) => void): Promise<{ url: string; stop(): Promise<void> }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = readText(Buffer.concat(chunks).toString('utf8'));
      response.writeHead(text === null ? 400 : 200, { 'Content-Type': 'text/plain' }).end(text === null ? 'invalid_payload' : 'ok');
      if (text !== null) onMessage(unescape(text));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/services/T000/B000/demo`,
    stop: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Slack shows `&gt;` as `>`. */
function unescape(text: string): string {
  return text.replaceAll('&gt;', '>').replaceAll('&lt;', '<').replaceAll('&amp;', '&');
}

function readText(body: string): string | null {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null && 'text' in parsed && typeof parsed.text === 'string' ? parsed.text : null;
  } catch {
    return null;
  }
}
