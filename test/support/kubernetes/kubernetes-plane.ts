import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The secret in every kubeconfig written here. */
export const plantedToken = 'planted-t0ken';

/** A folder for kubeconfigs of a test. */
export function kubeconfigs(): { readonly write: (server: string, namespace: string) => string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'rollbackd-plane-'));
  let count = 0;
  return {
    write: (server, namespace) => {
      const file = join(folder, `config-${(count += 1)}`);
      const content = {
        'current-context': 'test',
        clusters: [{ name: 'test', cluster: { server } }],
        contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace } }],
        users: [{ name: 'test', user: { token: plantedToken } }],
      };
      writeFileSync(file, JSON.stringify(content));
      return file;
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
}

/** A port that takes connections and never answers. */
export async function startSilence(): Promise<{ readonly url: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
