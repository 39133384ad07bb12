import http2 from 'node:http2';
import { syncBuiltinESMExports } from 'node:module';
import { StatementSync } from 'node:sqlite';
import type { KillAt } from './kill-point.ts';

/**
 * Loaded before `main.ts` (`node --import`): the daemon kills itself with SIGKILL at one exact place, which no signal from outside can hit. It changes
 * nothing else: SQLite's `commit` and the requests to the servers run as they are.
 */
const point = JSON.parse(process.env['KILL_AT'] ?? 'null') as KillAt | null;
if (point !== null) watch(point);

function watch(at: KillAt): void {
  let isCounting = at.since === 'start';
  let seen = 0;
  /** @returns whether this is the operation to die at */
  const count = (operation: KillAt['operation']): boolean => isCounting && operation === at.operation && (seen += 1) === at.nth;
  const die = (): void => void process.kill(process.pid, 'SIGKILL');

  const run = Reflect.get(StatementSync.prototype, 'run') as (this: StatementSync, ...values: never[]) => unknown;
  StatementSync.prototype.run = function (this: StatementSync, ...values: never[]) {
    if (this.sourceSQL.startsWith('insert into "episodes"')) isCounting = true;
    const isDue = this.sourceSQL === 'commit' && count('commit');
    if (isDue && at.side === 'before') die();
    const result = run.apply(this, values);
    if (isDue) die();
    return result;
  } as typeof StatementSync.prototype.run;

  const connect = http2.connect;
  http2.connect = ((...call: Parameters<typeof connect>) => {
    const session = connect(...call);
    const request = session.request.bind(session);
    session.request = (headers, options) => {
      const path = headers !== undefined && ':path' in headers ? String(headers[':path']) : '';
      const isDue = count(path.endsWith('/HandleReloadConfigRequest') ? 'apply' : 'observe');
      if (isDue && at.side === 'before') die();
      const stream = request(headers, options);
      // The answer is there, and nobody has read it.
      if (isDue) stream.once('response', die);
      return stream;
    };
    return session;
  }) as typeof connect;
  syncBuiltinESMExports();
}
