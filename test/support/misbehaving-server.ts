import dns, { type LookupOptions } from 'node:dns';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext, TLSSocket } from 'node:tls';
import { makeTestCertificate, type TestCertificate } from './tensorflow-serving/test-certificates.ts';

/** Where the true server listens: `host:port`, or the path of a socket. */
export type Upstream = string;

/** What goes wrong between the two sides, or on the other one. */
export type Misbehaviour =
  /** Nobody listens. */
  | 'refused'
  /** The name does not resolve. */
  | 'unknown host'
  /** Takes the connection and never says anything. */
  | 'silent'
  /** Whoever was connected hears nothing any more, also afterwards; new connections stay mute until it is over. */
  | 'dead'
  /** The connection is reset once something was asked. */
  | 'reset'
  /** The connection is closed once something was asked. */
  | 'hang up'
  /** The answer of some other server. */
  | 'garbage'
  /** The true answer, a byte every 20 ms. */
  | 'drip'
  /** The true answer without its end. */
  | 'cut short'
  /** An answer in HTTP without an end. */
  | 'endless'
  | 'unknown authority'
  | 'expired certificate'
  | 'certificate of another name'
  | 'no TLS'
  /** A whole answer in HTTP. */
  | { readonly status: number; readonly type: string; readonly body: string };

/** A server in front of another one, which does as that one does until it is told to misbehave. Reached as `localhost`. */
export type MisbehavingServer = AsyncDisposable & {
  readonly port: number;
  /** PEM of the authority that the good certificate is signed by. */
  readonly authority: string;
  /** Closes every connection, and behaves so from now on; `null`: well. */
  readonly behave: (how: Misbehaviour | null) => Promise<void>;
};

const authority = { ...makeTestCertificate('faults'), commonName: 'faults' };
const stranger = { ...makeTestCertificate('stranger'), commonName: 'stranger' };
const certificates = {
  good: makeTestCertificate('localhost', authority),
  'unknown authority': makeTestCertificate('localhost', stranger),
  'expired certificate': makeTestCertificate('localhost', authority, { isExpired: true }),
  'certificate of another name': makeTestCertificate('elsewhere', authority, { host: 'elsewhere.example' }),
} as const satisfies Readonly<Record<string, TestCertificate>>;
const contexts = new Map(Object.entries(certificates).map(([name, { key, cert }]) => [name, createSecureContext({ key, cert })]));

const lingerMs = 50;
const dripMs = 20;
const cutBytes = 5;
const endlessPart = Buffer.from(`10000\r\n${' '.repeat(0x10000)}\r\n`);

/** @param tls whether connections are encrypted; `alpn`: what is spoken over them */
export async function startMisbehavingServer(upstream: Upstream, tls: { readonly alpn: string } | null): Promise<MisbehavingServer> {
  let how: Misbehaviour | null = null;
  const sockets = new Set<Socket>();
  const own = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  };
  const serve = (plain: Socket): void => {
    own(plain);
    const isPlain = tls === null || how === 'no TLS';
    const secureContext = (typeof how === 'string' ? contexts.get(how) : undefined) ?? contexts.get('good');
    const socket = isPlain
      ? plain
      : own(new TLSSocket(plain, { isServer: true, ALPNProtocols: [tls.alpn], ...(secureContext === undefined ? {} : { secureContext }) }));
    converse(socket, how, () => own(connect(place(upstream))));
  };
  let server = createServer(serve);
  const listen = async (port: number): Promise<void> => {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  };
  await listen(0);
  const port = portOf(server);
  const names = answerLookups(() => how !== 'unknown host');
  const hangUp = async (): Promise<void> => {
    // The other side shall have seen it before it asks again: a request over a connection that ends just then is lost.
    await Promise.all([...sockets].map(endSoon));
    if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return {
    port,
    authority: authority.cert,
    behave: async (next) => {
      const before = how;
      how = next;
      if (next === 'dead') for (const socket of sockets) socket.unpipe().pause();
      // Nobody tells them.
      if (next === 'dead' || before === 'dead') return;
      await hangUp();
      if (next === 'refused') return;
      server = createServer(serve);
      await listen(port);
    },
    [Symbol.asyncDispose]: async () => {
      names[Symbol.dispose]();
      await hangUp();
    },
  };
}

function converse(socket: Socket, how: Misbehaviour | null, dial: () => Socket): void {
  switch (how) {
    case 'silent':
    case 'dead':
      socket.resume();
      return;
    case 'reset':
    case 'hang up':
      return whenAsked(socket, () => void (how === 'reset' ? socket.destroy() : socket.end()));
    case 'garbage':
      return whenAsked(socket, () => void socket.end('220 mail.example.org ESMTP ready\r\n'));
    case 'drip':
      return drip(socket, dial());
    case 'cut short': {
      const server = dial();
      socket.pipe(server);
      server.once('data', (chunk: Buffer) => socket.end(chunk.subarray(0, -cutBytes)));
      return;
    }
    case 'endless':
      return whenAsked(socket, () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n');
        const pour = (): void => {
          while (socket.writable && socket.write(endlessPart));
        };
        socket.on('drain', pour);
        pour();
      });
    default:
      if (typeof how !== 'object' || how === null) return pipe(socket, dial());
      return whenAsked(socket, () => {
        const { status, type, body } = how;
        socket.end(`HTTP/1.1 ${status} Planned\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
      });
  }
}

function pipe(socket: Socket, server: Socket): void {
  socket.pipe(server).on('error', () => socket.destroy());
  server.pipe(socket).on('error', () => server.destroy());
  socket.on('close', () => server.destroy());
  server.on('close', () => socket.end());
}

/** Once a whole request has come, where it says how long it is; once anything has come, where it is none of HTTP. */
function whenAsked(socket: Socket, act: () => void): void {
  let asked = '';
  let isAnswered = false;
  socket.on('data', (chunk: Buffer) => {
    asked += chunk.toString('latin1');
    const head = asked.indexOf('\r\n\r\n');
    const isHttp = /^[A-Z]+ \S+ HTTP\/1\.1\r\n/.test(asked);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(asked)?.[1] ?? 0);
    if (isAnswered || (isHttp && (head < 0 || asked.length < head + 4 + length))) return;
    isAnswered = true;
    act();
  });
}

function drip(socket: Socket, server: Socket): void {
  socket.pipe(server);
  let waiting = Buffer.alloc(0);
  server.on('data', (chunk: Buffer) => (waiting = Buffer.concat([waiting, chunk])));
  const timer = setInterval(() => {
    if (waiting.length === 0) return;
    socket.write(waiting.subarray(0, 1));
    waiting = waiting.subarray(1);
  }, dripMs);
  socket.on('close', () => {
    clearInterval(timer);
    server.destroy();
  });
}

async function endSoon(socket: Socket): Promise<void> {
  if (socket.closed) return;
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.resume().end();
  await Promise.race([closed, sleep(lingerMs)]);
  socket.destroy();
}

function place(upstream: Upstream): { readonly path: string } | { readonly host: string; readonly port: number } {
  const [host, port] = upstream.split(':');
  return upstream.startsWith('/') ? { path: upstream } : { host: host ?? '', port: Number(port) };
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

type Lookup = (hostname: string, options: LookupOptions, callback: (error: Error | null, address?: unknown, family?: number) => void) => void;

/** Answers for `localhost` in this process: 127.0.0.1, or as the system does for a name that nobody has. */
function answerLookups(isKnown: () => boolean): Disposable {
  const usual = dns.lookup as Lookup;
  const lookup: Lookup = (hostname, options, callback) => {
    if (hostname !== 'localhost') return usual(hostname, options, callback);
    const unknown = Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND', errno: -3008, syscall: 'getaddrinfo', hostname });
    const found = { address: '127.0.0.1', family: 4 };
    setImmediate(() => {
      if (!isKnown()) callback(unknown);
      else if (options.all === true) callback(null, [found]);
      else callback(null, found.address, found.family);
    });
  };
  dns.lookup = lookup as typeof dns.lookup;
  return { [Symbol.dispose]: () => void (dns.lookup = usual as typeof dns.lookup) };
}
