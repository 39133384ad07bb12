import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/**
 * What of nginx a plane can see: `nginx -t` and a reload as programs, and the marker on the wire. A reload takes what is in the file at that
 * moment; one that fails keeps the old configuration and tells its sender nothing, as nginx does.
 */
export type NginxStandIn = {
  readonly url: string;
  readonly testCommand: readonly [string, ...string[]];
  readonly reloadCommand: readonly [string, ...string[]];
  /** Text that is in force. */
  readonly loaded: () => string;
  readonly reloads: () => number;
  /** From now on reloads fail after a passed test (a port that is already bound). */
  readonly failReloads: () => void;
  /** What the marker's location does instead: an answer, `reset`, or `silence`, of which `onSilence` is told. */
  readonly answer: (instead: MarkerAnswer, onSilence?: () => void) => void;
} & AsyncDisposable;

type MarkerAnswer = { readonly status: number; readonly body: string } | 'silence' | 'reset' | null;

/** The faults that nginx 1.22 finds in such a file, in its words. */
const testProgram = (file: string) => `#!/bin/sh
say() { echo "nginx: [emerg] $1 in ${file}:1" >&2; echo "nginx: configuration file nginx.conf test failed" >&2; exit 1; }
grep -q 'weight=0' ${file} && say 'invalid parameter "weight=0"'
grep -qE '(^|[^0-9.])0(\\.0+)?%|\\.[0-9]{3,}%' ${file} && say 'invalid percent value'
grep -q '\\.invalid' ${file} && say 'host not found in upstream "nowhere.invalid:80"'
[ -e ${file}.refuse ] && say 'unexpected "}"'
exit 0
`;

export async function startNginxStandIn(folder: string, file: string, marker: string): Promise<NginxStandIn> {
  const path = join(folder, file);
  const test = join(folder, 'nginx-t');
  const reload = join(folder, 'nginx-reload');
  const hups = join(folder, 'hups');
  writeFileSync(test, testProgram(path), { mode: 0o755 });
  writeFileSync(reload, `#!/bin/sh\necho HUP >> ${hups}\n`, { mode: 0o755 });
  writeFileSync(hups, '');
  let loaded = readFileSync(path, 'utf8');
  let taken = 0;
  let isFailing = false;
  let instead: MarkerAnswer = null;
  let onSilence: () => void = () => undefined;
  const told = (): number => readFileSync(hups, 'utf8').split('\n').length - 1;
  const follow = (): void => {
    if (told() === taken) return;
    taken = told();
    if (!isFailing) loaded = readFileSync(path, 'utf8');
  };
  const server = createServer((request, response) => {
    follow();
    if (instead === 'silence') return onSilence();
    if (instead === 'reset') return void request.socket.destroy();
    if (instead !== null) return void response.writeHead(instead.status).end(instead.body);
    const value = new RegExp(`map \\S+ \\$${marker} \\{\\s*default "?([^";]*)"?;`).exec(loaded)?.[1];
    response.writeHead(request.url === `/${marker}` && value !== undefined ? 200 : 404).end(value);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    testCommand: [test],
    reloadCommand: [reload],
    loaded: () => {
      follow();
      return loaded;
    },
    reloads: told,
    failReloads: () => {
      isFailing = true;
    },
    answer: (next, whenSilent = () => undefined) => {
      instead = next;
      onSilence = whenSilent;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
