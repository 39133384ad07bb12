import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AnyControlPlaneKind } from '../../../src/adapters/control-planes/control-plane.ts';
import type { Clock, ControlPlane, PlaneTarget } from '../../../src/domain/ports.ts';
import type { FaultySetup } from '../../contract/answers.ts';
import { timeout } from '../../contract/plane-faults.ts';
import { expiringClock } from '../expiring-clock.ts';
import { aPlaneDeps } from '../plane-deps.ts';
import { recordingLog } from '../recording-log.ts';
import { kubernetesFault } from './answers.ts';
import { type FakeKubernetes, startFakeKubernetes } from './fake-kubernetes.ts';

const secret = 'planted-t0ken';

export type KubernetesStage = FaultySetup & {
  readonly kubernetes: FakeKubernetes;
  /** Lets the plane read what an application remembers for it. */
  readonly follow: (memory: () => Readonly<Record<string, unknown>>) => void;
};

/** A plane with the API server at `url` and this token; its kubeconfig is read once and gone when the process ends. */
export async function connectPlane(
  kind: AnyControlPlaneKind,
  options: { readonly url: string; readonly token: string; readonly config?: Readonly<Record<string, unknown>> },
): Promise<ControlPlane> {
  const folder = mkdtempSync(join(tmpdir(), 'rollbackd-plane-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const config = kind.config.parse({ kubeconfig: writeKubeconfig(folder, options.url, options.token), ...options.config });
  return await kind.create(config, aPlaneDeps());
}

function writeKubeconfig(folder: string, url: string, token: string, caFile: string | null = null): string {
  const kubeconfig = join(folder, `${url.replaceAll(/\W/g, '-')}.json`);
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      'current-context': 'test',
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace: 'shop' } }],
      clusters: [{ name: 'test', cluster: { server: url, ...(caFile === null ? {} : { 'certificate-authority': caFile }) } }],
      users: [{ name: 'test', user: { token } }],
    }),
  );
  return kubeconfig;
}

/** A plane on Kubernetes with an API server of its own; what its objects need besides goes with `also`. */
export async function setKubernetesStage(options: {
  readonly kind: AnyControlPlaneKind;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly keys: Readonly<Record<string, unknown>>;
  readonly from: string;
  readonly to: string;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Time of the API server, for what it stamps. Default: the machine's. */
  readonly serverNowMs?: () => number;
  /** Fills the server. @returns what must end with the test */
  readonly fill: (kubernetes: FakeKubernetes) => Promise<AsyncDisposable>;
}): Promise<KubernetesStage> {
  const folder = mkdtempSync(join(tmpdir(), 'rollbackd-plane-'));
  const kubernetes = await startFakeKubernetes({
    namespaces: ['shop'],
    tokens: { [secret]: { name: 'rollbackd', groups: ['system:masters'] } },
    ...(options.serverNowMs === undefined ? {} : { nowMs: options.serverNowMs }),
  });
  const deaf = await startFakeKubernetes();
  deaf.fail({}, 'hang');
  const also = await options.fill(kubernetes);
  let memory: Readonly<Record<string, unknown>> = {};
  const log = recordingLog();
  const clock = expiringClock();
  let remembered = (): Readonly<Record<string, unknown>> => memory;
  const connect = async (url: string, more: Readonly<Record<string, unknown>> = {}, caFile: string | null = null): Promise<ControlPlane> => {
    const kubeconfig = writeKubeconfig(folder, url, secret, caFile);
    const config = options.kind.config.parse({ kubeconfig, ...options.config, ...more });
    return await options.kind.create(config, {
      clock: options.clock ?? clock,
      log,
      memory: () => remembered(),
      onRequest: (method, code) => log.debug({ method, code }, 'request'),
    });
  };
  const plane = await connect(kubernetes.url);
  const target: PlaneTarget = { model: 'fraud', plane: options.kind.planeKeys.parse(options.keys) as Record<string, unknown> };
  return {
    kubernetes,
    follow: (read) => void (remembered = read),
    plane,
    target,
    from: options.from,
    to: options.to,
    secret,
    remember: (values) => (memory = { ...memory, ...values }),
    mutations: async () => kubernetes.mutations(),
    fault: kubernetesFault(kubernetes, clock, secret),
    wires: { 'API server': { upstream: new URL(kubernetes.url).host, connect: async ({ url, caFile }) => await connect(url, { timeout }, caFile) } },
    said: log.text,
    unreachable: async () => await connect('http://127.0.0.1:9'),
    silent: async () => await connect(deaf.url),
    [Symbol.asyncDispose]: async () => {
      await plane.close();
      await also[Symbol.asyncDispose]();
      await kubernetes[Symbol.asyncDispose]();
      await deaf[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}
