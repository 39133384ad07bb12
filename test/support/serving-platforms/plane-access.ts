import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Token of the kubeconfigs written here; no output may show it. */
export const plantedToken = 'planted-t0ken';

/** A kubeconfig that leads to `server` with the planted token, in a folder of its own. */
export function kubeconfigFor(server: string): { readonly path: string; readonly token: string; readonly remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'rollbackd-kubeconfig-'));
  const path = join(folder, 'config');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster: { server } }],
    users: [{ name: 'test', user: { token: plantedToken } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace: 'shop' } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return { path, token: plantedToken, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Takes connections and never answers. */
export async function startSilence(): Promise<{ readonly url: string; readonly address: string } & Disposable> {
  const server: Server = createServer((socket) => socket.on('error', () => undefined));
  const sockets = new Set<{ destroy: () => void }>();
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    address: `127.0.0.1:${port}`,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** An address where nobody listens. */
export async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  return `127.0.0.1:${port}`;
}
