import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type OwnedProcess, startOwnedProcess } from '../owned-process.ts';
import { until } from '../until.ts';
import { FakeKubelet } from './kubelet.ts';
import { KubernetesTestClient } from './kubernetes-client.ts';
import type { KubernetesObject } from './kubernetes-object.ts';

const module = join(import.meta.dirname, 'server');
/** In the order scripts/real-parts.d/kubernetes hashes them. */
const moduleFiles = ['controllers.go', 'go.mod', 'go.sum', 'main.go'];

/** Where scripts/real-parts.d/kubernetes puts it. */
function serverBinary(): string {
  const hash = createHash('sha256');
  for (const file of moduleFiles) hash.update(readFileSync(join(module, file)));
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return join(cache, 'rollbackd', 'kubernetes', hash.digest('hex').slice(0, 16), 'kubernetes-server');
}

/** etcd, kube-apiserver (RBAC, tokens, TLS), the controllers of Deployments, ReplicaSets and endpoints, and a double of the kubelet. */
export class RealKubernetes implements AsyncDisposable {
  readonly url: string;
  /** PEM of the server's certificate authority, and its file. */
  readonly ca: string;
  readonly caFile: string;
  /** An administrator. */
  readonly client: KubernetesTestClient;
  readonly kubelet: FakeKubelet;
  readonly #dir: string;
  readonly #processes: readonly OwnedProcess[];
  readonly #clients: KubernetesTestClient[];
  #namespaces = 0;

  private constructor(facts: { url: string; ca: string; dir: string; processes: readonly OwnedProcess[]; client: KubernetesTestClient; kubelet: FakeKubelet }) {
    this.url = facts.url;
    this.ca = facts.ca;
    this.caFile = join(facts.dir, 'certs', 'apiserver.crt');
    this.client = facts.client;
    this.kubelet = facts.kubelet;
    this.#dir = facts.dir;
    this.#processes = facts.processes;
    this.#clients = [facts.client];
  }

  static async start(): Promise<RealKubernetes> {
    const binary = serverBinary();
    if (!existsSync(binary)) throw new Error(`${binary} is missing; run: npm run real-parts`);
    const dir = await mkdtemp(join(tmpdir(), 'kubernetes-'));
    const processes: OwnedProcess[] = [];
    try {
      const adminToken = await prepare(dir);
      const [clientPort, peerPort, apiPort] = await freePorts();
      const etcdUrl = `http://127.0.0.1:${clientPort}`;
      processes.push(startEtcd(dir, etcdUrl, `http://127.0.0.1:${peerPort}`));
      processes.push(startOwnedProcess(binary, ['apiserver', ...apiServerFlags(dir, etcdUrl, apiPort)], { cwd: dir }));
      const url = `https://127.0.0.1:${apiPort}`;
      const seen = (): string => processes.map((process) => process.stderr().slice(-2_000)).join('\n');
      // It makes its own certificate.
      const ca = await until('the API server’s certificate', async () => readFile(join(dir, 'certs', 'apiserver.crt'), 'utf8'), { withinMs: 60_000, seen });
      const client = new KubernetesTestClient({ url, token: adminToken, ca });
      await until('the API server to be ready', async () => (await client.request('GET', '/readyz')).status === 200, { withinMs: 90_000, seen });
      await client.get('/api/v1/namespaces/default');
      const kubeconfig = join(dir, 'admin.kubeconfig');
      await writeFile(kubeconfig, kubeconfigText(url, ca, adminToken));
      processes.push(startOwnedProcess(binary, ['controllers', '--kubeconfig', kubeconfig], { cwd: dir }));
      return new RealKubernetes({ url, ca, dir, processes, client, kubelet: await FakeKubelet.start(client) });
    } catch (error) {
      await end(processes, dir);
      throw error;
    }
  }

  /** A folder that goes with it. */
  get folder(): string {
    return this.#dir;
  }

  /** A new namespace. */
  async namespace(name: string): Promise<string> {
    await this.client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    return name;
  }

  /** A new namespace, under a name of its own. */
  async newNamespace(): Promise<string> {
    return await this.namespace(`world-${(this.#namespaces += 1)}`);
  }

  /** A token of a service account, that may do what its roles allow. Valid for an hour. */
  async serviceAccountToken(namespace: string, name: string): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    if ((await this.client.find(`${path}/${name}`)) === null)
      await this.client.create({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } });
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3_600 } };
    const answer = await this.client.request('POST', `${path}/${name}/token`, { body });
    return (answer.body['status'] as { token?: string } | undefined)?.token ?? '';
  }

  /** The test's client, as somebody else. */
  clientFor(token: string): KubernetesTestClient {
    const client = new KubernetesTestClient({ url: this.url, token, ca: this.ca, userAgent: 'somebody/1' });
    this.#clients.push(client);
    return client;
  }

  /** Installs CustomResourceDefinitions, and waits until their objects are served in every version. */
  async installCrds(crds: readonly KubernetesObject[]): Promise<void> {
    for (const crd of crds) await this.client.create(crd);
    for (const crd of crds) {
      const { group, names, versions } = crd.spec as { group: string; names: { plural: string }; versions: { name: string }[] };
      for (const { name } of versions)
        await until(
          `${names.plural}.${group} ${name} to be served`,
          async () => (await this.client.request('GET', `/apis/${group}/${name}/${names.plural}`)).status === 200,
          { everyMs: 50 },
        );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kubelet[Symbol.asyncDispose]();
    for (const client of this.#clients) client.close();
    await end(this.#processes, this.#dir);
  }
}

/** @returns the administrator's token */
async function prepare(dir: string): Promise<string> {
  await promisify(execFile)('openssl', ['genrsa', '-out', join(dir, 'service-accounts.key'), '2048']);
  const token = createHash('sha256').update(dir).digest('hex');
  await writeFile(join(dir, 'tokens.csv'), `${token},admin,admin,"system:masters"\n`);
  return token;
}

function startEtcd(dir: string, url: string, peerUrl: string): OwnedProcess {
  return startOwnedProcess('etcd', [
    `--data-dir=${join(dir, 'etcd')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    '--logger=zap',
    // What a test leaves behind is thrown away.
    '--unsafe-no-fsync',
  ]);
}

function apiServerFlags(dir: string, etcdUrl: string, port: number): string[] {
  const key = join(dir, 'service-accounts.key');
  return [
    `--etcd-servers=${etcdUrl}`,
    `--secure-port=${port}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--cert-dir=${join(dir, 'certs')}`,
    '--service-cluster-ip-range=10.96.0.0/16',
    '--authorization-mode=RBAC',
    `--token-auth-file=${join(dir, 'tokens.csv')}`,
    '--service-account-issuer=https://kubernetes.test',
    `--service-account-key-file=${key}`,
    `--service-account-signing-key-file=${key}`,
    '--endpoint-reconciler-type=none',
    // Pods need no account of their own: no controller would make them one.
    '--disable-admission-plugins=ServiceAccount',
  ];
}

/** Administrator's by default; `token` is another's. */
export function kubeconfigText(url: string, ca: string, token: string, namespace = 'default'): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
    users: [{ name: 'test', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace } }],
    'current-context': 'test',
  });
}

async function freePorts(): Promise<[number, number, number]> {
  const servers = [createServer(), createServer(), createServer()];
  const ports = await Promise.all(
    servers.map(
      async (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
        }),
    ),
  );
  await Promise.all(servers.map(async (server) => new Promise((resolve) => server.close(resolve))));
  return ports as [number, number, number];
}

async function end(processes: readonly OwnedProcess[], dir: string): Promise<void> {
  // The API server waits for its clients when it is asked to end; nothing here is worth that.
  for (const process of processes.toReversed()) process.kill('SIGKILL');
  await Promise.all(processes.map(async (process) => process.ended));
  await rm(dir, { recursive: true, force: true });
}

/** Starts all of it; it goes with `await using`. */
export async function startRealKubernetes(): Promise<RealKubernetes> {
  return RealKubernetes.start();
}
