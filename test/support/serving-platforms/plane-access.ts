import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ControlPlane } from '../../../src/domain/ports.ts';
import type { FaultySetup } from '../../contract/answers.ts';
import { timeout } from '../../contract/plane-faults.ts';

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

/**
 * A setup of the contract suite around a platform that runs: from v2 to v1, and the same plane towards nobody and towards silence.
 * @param planeOn the plane with a kubeconfig of that path
 */
export async function contractSetupOf<Started extends PlatformSetup>(
  start: () => Promise<Started>,
  planeOn: (kubeconfig: string, more?: { readonly timeout: string }) => ControlPlane,
): Promise<FaultySetup> {
  const owned = new AsyncDisposableStack();
  const setup = owned.use(await start());
  const silence = owned.use(await startSilence());
  const towards = (server: string, more?: { readonly timeout: string }): ControlPlane => {
    const kubeconfig = kubeconfigFor(server);
    owned.defer(kubeconfig.remove);
    return planeOn(kubeconfig.path, more);
  };
  return {
    ...setup,
    from: 'v2',
    to: 'v1',
    mutations: async () => setup.kubernetes.mutations(),
    unreachable: async () => towards(`http://${await freeAddress()}`),
    silent: async () => towards(silence.url),
    secret: plantedToken,
    wires: { 'API server': { upstream: new URL(setup.kubernetes.url).host, connect: async ({ url }) => towards(url, { timeout }) } },
    [Symbol.asyncDispose]: async () => owned.disposeAsync(),
  };
}

/** What a platform's own start gives of it. */
type PlatformSetup = Pick<FaultySetup, 'plane' | 'target' | 'remember' | 'fault' | 'said'> &
  AsyncDisposable & { readonly kubernetes: { readonly url: string; readonly mutations: () => number } };

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
