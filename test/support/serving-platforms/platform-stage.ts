import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type DaemonProcess, startDaemonProcess } from '../daemon-process.ts';
import { errorRatioRule, modelName } from '../stage-files.ts';
import type { Fate } from './controller.ts';
import type { PlatformCluster } from './platform-cluster.ts';
import { type Routed, Traffic } from './traffic.ts';

type Settings = Readonly<Record<string, unknown>>;

/** What a platform's controllers and objects are given. */
export type PlatformGround = Pick<PlatformCluster, 'client' | 'namespace' | 'decidePods'> & {
  /** By the last part of the artifact's address, which is the version. */
  readonly fateOf: (artifact: string) => Fate;
  readonly defer: (closing: AsyncDisposable) => void;
};

/** What one platform puts on the stage. */
export type Platform = {
  readonly kind: string;
  /** Creates its objects and starts its controllers; what they need closed goes to `defer`. */
  readonly start: (ground: PlatformGround) => Promise<{
    readonly route: () => Promise<Routed>;
    /** Settings of the control plane, beside the kubeconfig. */
    readonly plane?: Settings;
  }>;
  /** Keys of the model: preset, plane. */
  readonly model: (namespace: string) => Settings;
  readonly line: (name: string, ok: boolean, namespace: string) => string;
  /** `host:port` of a real server's metrics, instead of those of the traffic on this stage. */
  readonly metrics?: string;
};

export type PlatformStage = AsyncDisposable & {
  readonly namespace: string;
  /** Decides what becomes of a version from now on. */
  readonly decide: (version: string, fate: Fate) => Promise<void>;
  readonly failing: Map<string, number>;
  readonly traffic: Traffic;
  readonly route: () => Promise<Routed>;
  readonly startDaemon: () => Promise<DaemonProcess>;
};

/**
 * A platform with controllers, traffic and the files of a daemon that watches it.
 * @param knownGood the version to go back to
 * @param cluster ends with the stage
 */
export async function setPlatformStage(platform: Platform, knownGood: string, cluster: PlatformCluster): Promise<PlatformStage> {
  await using owned = new AsyncDisposableStack();
  const { client, namespace, decidePods, kubeconfig } = owned.use(cluster);
  const fates = new Map<string, Fate>();
  const failing = new Map<string, number>();
  const fateOf = (artifact: string): Fate => fates.get(artifact.split('/').at(-1) ?? '') ?? 'serves';
  const { route, plane = {} } = await platform.start({ client, namespace, decidePods, fateOf, defer: (closing) => owned.use(closing) });
  const line = (name: string, ok: boolean): string => platform.line(name, ok, namespace);
  const traffic = owned.use(await Traffic.start({ route, line, failRatioOf: (version) => failing.get(version) ?? 0 }));
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
      control_planes: [{ name: 'platform', [platform.kind]: { kubeconfig, timeout: '2s', ...plane } }],
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
          ...platform.model(namespace),
        },
      ],
    }),
  );
  await writeFile(join(folder, 'rules', 'fraud.yaml'), stringify({ groups: [{ name: modelName, model: modelName, interval: '1s', rules: [errorRatioRule] }] }));
  const stack = owned.move();
  return {
    namespace,
    decide: async (version, fate) => {
      fates.set(version, fate);
      await cluster.lookAtPods();
    },
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
