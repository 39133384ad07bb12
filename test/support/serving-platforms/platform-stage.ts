import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type DaemonProcess, startDaemonProcess } from '../daemon-process.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../kubernetes/fake-kubernetes.ts';
import type { KubernetesObject } from '../kubernetes/kubernetes-object.ts';
import { errorRatioRule, modelName } from '../stage-files.ts';
import type { Fate } from './controller.ts';
import { kubeconfigFor } from './plane-access.ts';
import { type Routed, Traffic } from './traffic.ts';

type Settings = Readonly<Record<string, unknown>>;

/** What one platform puts on the stage. */
export type Platform = {
  readonly crds: readonly KubernetesObject[];
  readonly objects: readonly KubernetesObject[];
  /** Starts its controllers; what they need closed goes to `defer`. */
  readonly start: (stage: { kubernetes: FakeKubernetes; fateOf: (artifact: string) => Fate; defer: (closing: AsyncDisposable) => void }) => Promise<{
    readonly route: () => Promise<Routed>;
    /** Settings of the control plane, beside the kubeconfig. */
    readonly plane: Settings;
  }>;
  readonly kind: string;
  /** Keys of the model: preset, plane. */
  readonly model: Settings;
  readonly line: (name: string, ok: boolean) => string;
  /** `host:port` of a real server's metrics, instead of those of the traffic on this stage. */
  readonly metrics?: string;
};

export type PlatformStage = AsyncDisposable & {
  readonly kubernetes: FakeKubernetes;
  readonly fates: Map<string, Fate>;
  readonly failing: Map<string, number>;
  readonly traffic: Traffic;
  readonly route: () => Promise<Routed>;
  readonly startDaemon: () => Promise<DaemonProcess>;
};

/**
 * A platform with controllers, traffic and the files of a daemon that watches it.
 * @param knownGood the version to go back to
 */
export async function setPlatformStage(platform: Platform, knownGood: string): Promise<PlatformStage> {
  await using owned = new AsyncDisposableStack();
  const kubernetes = owned.use(await startFakeKubernetes({ namespaces: ['shop'] }));
  for (const crd of platform.crds) await kubernetes.installCrd(crd);
  for (const object of platform.objects) await kubernetes.client.create(object);
  const fates = new Map<string, Fate>();
  const failing = new Map<string, number>();
  const fateOf = (artifact: string): Fate => fates.get(artifact.split('/').at(-1) ?? '') ?? 'serves';
  const { route, plane } = await platform.start({ kubernetes, fateOf, defer: (closing) => owned.use(closing) });
  const traffic = owned.use(await Traffic.start({ route, line: platform.line, failRatioOf: (version) => failing.get(version) ?? 0 }));
  const kubeconfig = kubeconfigFor(kubernetes.url);
  owned.defer(kubeconfig.remove);
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-platform-'));
  owned.defer(async () => await rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  await mkdir(join(folder, 'rules'));
  const configFile = join(folder, 'rollbackd.yaml');
  await writeFile(
    configFile,
    stringify({
      global: { evaluation_interval: '1s' },
      rule_files: ['rules/*.yaml'],
      journal: { sqlite: { path: 'rollbackd.db' } },
      sources: [
        {
          name: 'metrics',
          scrape: {
            scrape_interval: platform.metrics === undefined ? '500ms' : '2s',
            metrics_path: '/metrics',
            static_configs: [{ targets: [platform.metrics ?? traffic.address] }],
          },
        },
      ],
      control_planes: [{ name: 'platform', [platform.kind]: { kubeconfig: kubeconfig.path, timeout: '2s', ...plane } }],
      models: [
        {
          name: modelName,
          source: 'metrics',
          control_plane: 'platform',
          observe_interval: '1s',
          rollback: {
            mode: 'enforce',
            known_good: { versions: [knownGood], backfill: '0s' },
            converge_timeout: '15s',
            recovery: { within: '20s' },
            stick: '2s',
          },
          smoke_test: {
            timeout: '5s',
            requests: [{ name: 'one request', http: { method: 'POST', url: `http://${traffic.address}/predict`, body: '{}' }, expect: { status: 200 } }],
          },
          ...platform.model,
        },
      ],
    }),
  );
  await writeFile(join(folder, 'rules', 'fraud.yaml'), stringify({ groups: [{ name: modelName, model: modelName, interval: '1s', rules: [errorRatioRule] }] }));
  const stack = owned.move();
  return {
    kubernetes,
    fates,
    failing,
    traffic,
    route,
    startDaemon: async () => {
      const daemon = await startDaemonProcess({ configFile, model: modelName, cwd: folder });
      stack.defer(async () => await daemon.kill());
      return daemon;
    },
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}
