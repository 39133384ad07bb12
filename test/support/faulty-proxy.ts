import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What can go wrong between rollbackd and Prometheus. */
export const faults = ['503', 'hang', 'cut', 'hang up', 'NaN', 'empty', 'warnings'] as const;
export type Fault = (typeof faults)[number];

/** Stands before a Prometheus and spoils its answers while it is told to. */
export type FaultyProxy = {
  readonly url: string;
  /** From the next request on; `null`: answers pass as they are. Requests that hang are let go then. */
  readonly setFault: (fault: Fault | null) => void;
  /** Answers it spoiled so far. */
  readonly spoilt: () => number;
  readonly close: () => Promise<void>;
};

type Envelope = { status: string; warnings?: string[]; data: { resultType: string; result: { value?: [number, string]; values?: [number, string][] }[] } };

/** @param target URL of the Prometheus */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  let fault: Fault | null = null;
  let spoilt = 0;
  const hanging = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      answer(request.method ?? 'GET', request.url ?? '/', request.headers['content-type'], Buffer.concat(chunks), response).catch(() => response.destroy());
    });
  });
  const answer = async (method: string, path: string, contentType: string | undefined, body: Buffer<ArrayBuffer>, response: ServerResponse): Promise<void> => {
    const present = fault;
    if (present !== null) spoilt += 1;
    if (present === '503') return void response.writeHead(503, { 'content-type': 'text/plain' }).end('Service Unavailable');
    if (present === 'hang') return void hanging.add(response);
    const init: RequestInit = {
      method,
      ...(contentType === undefined ? {} : { headers: { 'content-type': contentType } }),
      ...(method === 'GET' ? {} : { body }),
    };
    const upstream = await fetch(`${target}${path}`, init);
    const text = await upstream.text();
    const headers = { 'content-type': upstream.headers.get('content-type') ?? 'application/json' };
    const spoiled = present === null ? text : spoil(text, present);
    if (present === 'hang up') {
      response.writeHead(upstream.status, { ...headers, 'content-length': Buffer.byteLength(text) });
      response.write(spoiled, () => response.destroy());
      return;
    }
    response.writeHead(upstream.status, headers).end(spoiled);
  };
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const letGo = (): void => {
    for (const response of hanging) response.destroy();
    hanging.clear();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    setFault: (next) => {
      fault = next;
      letGo();
    },
    spoilt: () => spoilt,
    close: async () => {
      letGo();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function spoil(text: string, fault: Fault): string {
  if (fault === 'cut' || fault === 'hang up') return text.slice(0, Math.floor(text.length / 2));
  const envelope = JSON.parse(text) as Envelope;
  if (fault === 'warnings') return JSON.stringify({ ...envelope, warnings: ['fetching series: store 10.0.0.7:10901 did not answer: partial response'] });
  if (fault === 'empty') return JSON.stringify({ ...envelope, data: { ...envelope.data, result: [] } });
  for (const element of envelope.data.result) {
    if (element.value !== undefined) element.value[1] = 'NaN';
    for (const value of element.values ?? []) value[1] = 'NaN';
  }
  return JSON.stringify(envelope);
}
