import net from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';

/**
 * Set up before every test file (vitest.config.ts): a connection that would leave this machine fails and says where it wanted
 * to go. Servers that a test starts on loopback, and Unix sockets, are reached.
 */
const guarded = Symbol.for('rollbackd no-network');
const prototype = net.Socket.prototype as net.Socket & { [guarded]?: true };
if (prototype[guarded] !== true) {
  prototype[guarded] = true;
  const connect = prototype.connect as (this: net.Socket, ...args: unknown[]) => net.Socket;
  prototype.connect = function guardedConnect(this: net.Socket, ...args: unknown[]): net.Socket {
    // While nock is active it connects sockets of its own that lead nowhere, by a name lookup of its own; it refuses the others itself.
    const host = isMocked(args) ? null : hostOf(args);
    if (host === null || isLoopback(host)) return connect.apply(this, args);
    process.nextTick(() => this.destroy(new Error(`no test reaches the network: this one wanted to connect to ${host}`)));
    return this;
  };
}

function isMocked([options]: readonly unknown[]): boolean {
  return typeof options === 'object' && options !== null && 'lookup' in options && typeof options.lookup === 'function' && options.lookup.name === 'mockLookup';
}

/** `null` for a Unix socket and for what names no host (then it is localhost). */
function hostOf(args: readonly unknown[]): string | null {
  // net.connect() hands over its normalized arguments as one array.
  const [first, second] = Array.isArray(args[0]) ? (args[0] as unknown[]) : args;
  if (typeof first === 'object' && first !== null) return 'host' in first && typeof first.host === 'string' ? first.host : null;
  return typeof second === 'string' ? second : null;
}

function isLoopback(host: string): boolean {
  return (
    host === '' ||
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    host === '::1' ||
    host === '::' ||
    host === '0.0.0.0' ||
    /^127\.\d+\.\d+\.\d+$/.test(host) ||
    host.startsWith('::ffff:127.')
  );
}

/**
 * Puts nock before all HTTP of the calling file (or `describe`), loopback too: only declared exchanges happen, each once.
 * A request without mock fails the test even when the code under test swallows the error, and so does a mock without request.
 */
export function noNetwork(): void {
  let strangers: string[] = [];
  // Imported here: the import alone puts nock before HTTP, and this file is set up for every test.
  const loadNock = async () => (await import('nock')).default;
  const note = (request: { readonly method: string; readonly url: string }): void => {
    strangers.push(`${request.method} ${request.url}`);
  };

  beforeAll(async () => {
    const nock = await loadNock();
    if (!nock.isActive()) nock.activate();
    nock.disableNetConnect();
    nock.emitter.on('no match', note);
  });
  beforeEach(() => {
    strangers = [];
  });
  afterEach(async () => {
    const nock = await loadNock();
    const unused = nock.pendingMocks();
    nock.abortPendingRequests();
    nock.cleanAll();
    if (strangers.length > 0) throw new Error(`requests without mock:\n  ${strangers.join('\n  ')}`);
    if (unused.length > 0) throw new Error(`mocks without request:\n  ${unused.join('\n  ')}`);
  });
  afterAll(async () => {
    const nock = await loadNock();
    nock.emitter.off('no match', note);
    nock.enableNetConnect();
    nock.restore();
  });
}
