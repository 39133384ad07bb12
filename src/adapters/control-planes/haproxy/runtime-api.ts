import { connect } from 'node:net';
import { type PlaneDeps, PlaneError } from '../../../domain/ports.ts';
import { parseAddress } from './schema.ts';

const maxAnswerBytes = 4 * 1024 * 1024;

/**
 * One command over a connection of its own, as the runtime API wants it: the answer ends with the connection.
 * @see https://docs.haproxy.org/2.6/management.html#9.3
 * @throws {PlaneError} transient when it could not be sent, indeterminate when the answer did not come
 */
export async function ask(address: string, command: string, timeoutMs: number, deps: PlaneDeps, signal: AbortSignal): Promise<string> {
  const startedMs = deps.clock.nowMs();
  const verb = command.split(' ').slice(0, 2).join(' ');
  try {
    const answer = await exchange(address, command, timeoutMs, deps, signal);
    deps.onRequest(verb, faultIn(answer) === null ? 'OK' : 'ERROR', deps.clock.nowMs() - startedMs);
    return answer;
  } catch (cause) {
    deps.onRequest(verb, cause instanceof PlaneError ? cause.class : 'ABORTED', deps.clock.nowMs() - startedMs);
    throw cause;
  }
}

async function exchange(address: string, command: string, timeoutMs: number, deps: PlaneDeps, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const to = parseAddress(address);
  if (to === null) throw new PlaneError('permanent', `${address} is no address`);
  const socket = connect(to);
  const done = new AbortController();
  let isSent = false;
  try {
    return await new Promise<string>((resolve, reject) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const lost = (what: string): void => reject(new PlaneError(isSent ? 'indeterminate' : 'transient', `${address}: ${command}: ${what}`));
      socket.once('connect', () => {
        isSent = true;
        socket.write(`${command}\n`);
      });
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > maxAnswerBytes) lost(`the answer is longer than ${maxAnswerBytes} bytes`);
      });
      socket.once('end', () => {
        const answer = Buffer.concat(chunks).toString('utf8');
        if (isWhole(answer)) resolve(answer);
        else lost(bytes === 0 ? 'the connection ended without an answer' : 'the answer was cut short, or is none of HAProxy');
      });
      socket.once('error', (error: NodeJS.ErrnoException) =>
        error.code === 'EACCES' || error.code === 'EPERM'
          ? reject(new PlaneError('auth', `${address}: no right to open the socket (${error.code}); give rollbackd its group`))
          : lost(error.code ?? error.message),
      );
      deps.clock.sleep(timeoutMs, done.signal).then(
        () => lost(`no answer within ${timeoutMs} ms`),
        () => undefined,
      );
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true, signal: done.signal });
    });
  } finally {
    done.abort();
    socket.destroy();
  }
}

/** Every answer ends with an empty line, and success of a change is nothing but that. */
function isWhole(answer: string): boolean {
  return answer === '\n' || answer.endsWith('\n\n');
}

/** What HAProxy found wrong with a command that changes something; `null` for success, which is an empty line. */
export function faultIn(answer: string): string | null {
  const text = answer.trim();
  return text === '' || /^(#|1$|0x)/m.test(text) ? null : (text.split('\n')[0] ?? text);
}
