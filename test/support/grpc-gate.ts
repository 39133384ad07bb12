import { connect, createServer, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';

/**
 * What the gate does with a call once it is whole: ends it with a status of its own, breaks the connection, or hands it on and then breaks the connection
 * or never answers.
 */
export type GrpcFault = { readonly code: number; readonly message: string } | 'reset' | 'reset after send' | 'timeout after send';

/** A gRPC server in front of another one, over HTTP/2 without TLS, which lets calls through until it is told otherwise. */
export type GrpcGate = {
  readonly address: string;
  /** Methods of all calls so far. */
  readonly seen: readonly string[];
  /** Asked for each call, by its method; `null` lets it through. */
  readonly refuse: (decide: (method: string) => GrpcFault | null) => void;
} & AsyncDisposable;

type Answer = { readonly headers: OutgoingHttpHeaders; readonly body: Buffer; readonly trailers: OutgoingHttpHeaders | null };

/** @param upstream `host:port` */
export async function startGrpcGate(upstream: string): Promise<GrpcGate> {
  const seen: string[] = [];
  let decide: (method: string) => GrpcFault | null = () => null;
  const sessions = new Set<ServerHttp2Session>();
  const client = connect(`http://${upstream}`);
  client.on('error', () => undefined);

  const forward = async (headers: IncomingHttpHeaders, body: Buffer): Promise<Answer> => {
    const call = client.request(sendable(headers));
    call.end(body);
    const answer: { headers: OutgoingHttpHeaders; trailers: OutgoingHttpHeaders | null } = { headers: {}, trailers: null };
    call.on('response', (received) => (answer.headers = sendable(received)));
    call.on('trailers', (received) => (answer.trailers = sendable(received)));
    return { body: await whole(call), ...answer };
  };
  const handle = async (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> => {
    const body = await whole(stream);
    const method = headers[':path']?.split('/').at(-1) ?? '';
    seen.push(method);
    const fault = decide(method);
    if (fault === 'reset') return stream.session?.destroy();
    if (typeof fault === 'object' && fault !== null) {
      const status = { 'grpc-status': String(fault.code), 'grpc-message': encodeURIComponent(fault.message) };
      return stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...status }, { endStream: true });
    }
    const answer = await forward(headers, body);
    if (fault === 'reset after send') return stream.session?.destroy();
    if (fault === 'timeout after send' || stream.closed) return;
    if (answer.trailers === null) return stream.respond(answer.headers, { endStream: true });
    stream.respond(answer.headers, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(answer.trailers ?? {}));
    stream.end(answer.body);
  };
  const server = createServer();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => undefined);
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    handle(stream, headers).catch(() => stream.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    refuse: (next) => {
      decide = next;
    },
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      for (const session of sessions) session.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function whole(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Of the headers received, those that may be sent on. */
function sendable(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== ':authority' && name !== ':scheme'));
}
