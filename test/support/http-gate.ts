import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request that passed the gate, or was answered by it. */
export type GateRequest = { readonly method: string; readonly path: string; readonly headers: Readonly<Record<string, string>>; readonly body: string };
/**
 * What the gate does with a request: an answer of its own, `reset` (the connection, once the request is whole), `silence`, `swallow` (hands it on and
 * breaks the connection instead of answering), `keep` (hands it on and never answers).
 */
export type GateFault =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  | 'reset'
  | 'silence'
  | 'swallow'
  | 'keep';

/** An HTTP server in front of another one, which lets requests through until it is told otherwise. */
export type HttpGate = {
  readonly url: string;
  /** All requests so far. */
  readonly seen: readonly GateRequest[];
  /** Asked for each request; `null` lets it through. `onSilence` is called with each that stays without answer. */
  readonly refuse: (decide: (seen: GateRequest) => GateFault | null, onSilence?: () => void) => void;
} & AsyncDisposable;

/** @param upstream where requests go that are let through; `null`: nowhere */
export async function startHttpGate(upstream: string | null): Promise<HttpGate> {
  const seen: GateRequest[] = [];
  let decide: (seen: GateRequest) => GateFault | null = () => null;
  let onSilence: () => void = () => undefined;
  const server = createServer((incoming, response) => void handle(incoming, response));
  const handle = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString('utf8');
    const headers = Object.fromEntries(Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]));
    const record: GateRequest = { method: incoming.method ?? '', path: incoming.url ?? '', headers, body };
    seen.push(record);
    const fault = decide(record);
    if (fault === 'silence') return onSilence();
    if (fault === 'reset') return void incoming.socket.destroy();
    if (typeof fault === 'object' && fault !== null) return void response.writeHead(fault.status, fault.headers).end(fault.body ?? '');
    const answer = await forward(upstream ?? '', record);
    if (fault === 'keep') return onSilence();
    if (fault === 'swallow') return void incoming.socket.destroy();
    response.writeHead(answer.status, answer.headers).end(answer.body);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    refuse: (next, whenSilent = () => undefined) => {
      decide = next;
      onSilence = whenSilent;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function forward(
  upstream: string,
  { method, path, headers, body }: GateRequest,
): Promise<{ status: number; headers: Record<string, string>; body: string }> {
  return await new Promise((resolve, reject) => {
    const sent = request(`${upstream}${path}`, { method, headers, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, headers: { 'content-type': 'application/json' }, body: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
