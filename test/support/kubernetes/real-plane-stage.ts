import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realClock } from '../../../src/adapters/clock/real-clock.ts';
import type { AnyControlPlaneKind } from '../../../src/adapters/control-planes/control-plane.ts';
import type { Clock, ControlPlane, PlaneTarget } from '../../../src/domain/ports.ts';
import { all, type ControlPlaneSetup } from '../../contract/control-plane.ts';
import { silentLog } from '../stage.ts';
import { until } from '../until.ts';
import { startSilence } from './kubernetes-plane.ts';
import { kubeconfigText, type RealKubernetes } from './real-kubernetes.ts';
import { grantShippedRole, type RbacRule } from './shipped-role.ts';

const signal = new AbortController().signal;

/** One plane's objects in a namespace of their own. */
export type RealScene = {
  readonly kind: AnyControlPlaneKind;
  readonly from: string;
  readonly to: string;
  /** Fills the namespace, and starts what else acts there. */
  readonly fill: (
    namespace: string,
    defer: (closing: AsyncDisposable) => void,
  ) => Promise<{
    readonly keys: Readonly<Record<string, unknown>>;
    /** Settings of the plane, beside the kubeconfig. */
    readonly config?: Readonly<Record<string, unknown>>;
    /** The same, for a plane that reaches nobody, or somebody silent. */
    readonly configTowards?: (address: string) => Readonly<Record<string, unknown>>;
  }>;
};

export type RealPlaneStage = ControlPlaneSetup & {
  readonly namespace: string;
  /** Lets the plane read what an application remembers for it. */
  readonly follow: (memory: () => Readonly<Record<string, unknown>>) => void;
};

/**
 * A plane on the real API server, as a service account that has the role its README ships and nothing else, once `from` serves, `to`
 * can be gone back to, and nothing moves any more.
 * @param options.isTaken takes rights away
 * @param options.waits default: yes; without the right to look there is nothing to wait for
 */
export async function setRealPlaneStage(
  kubernetes: RealKubernetes,
  { kind, from, to, fill }: RealScene,
  options: { readonly isTaken?: (rule: RbacRule, verb: string) => boolean; readonly clock?: Clock; readonly waits?: boolean } = {},
): Promise<RealPlaneStage> {
  await using owned = new AsyncDisposableStack();
  const namespace = await kubernetes.newNamespace();
  const { keys, config = {}, configTowards = () => config } = await fill(namespace, (closing) => owned.use(closing));
  const token = await grantShippedRole(kubernetes, kind.kind, namespace, options.isTaken);
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-real-plane-'));
  owned.defer(async () => await rm(folder, { recursive: true }));
  const silence = owned.use(await startSilence());
  let memory: Readonly<Record<string, unknown>> = {};
  let remembered = (): Readonly<Record<string, unknown>> => memory;
  let mutations = 0;
  let files = 0;
  const planeTo = async (server: string, settings: Readonly<Record<string, unknown>>): Promise<ControlPlane> => {
    const kubeconfig = join(folder, `config-${(files += 1)}`);
    await writeFile(kubeconfig, kubeconfigText(server, kubernetes.ca, token, namespace));
    return await kind.create(kind.config.parse({ kubeconfig, ...settings }), {
      clock: options.clock ?? realClock,
      log: silentLog,
      memory: () => remembered(),
      onRequest: (method) => {
        // A POST only asks what the account may do.
        if (/^(patch|put|delete)/i.test(method)) mutations += 1;
      },
    });
  };
  const plane = await planeTo(kubernetes.url, config);
  owned.defer(async () => await plane.close());
  const target: PlaneTarget = { model: 'fraud', plane: kind.planeKeys.parse(keys) as PlaneTarget['plane'] };
  if (options.waits ?? true) await untilQuiet(plane, target, { from, to, mayRefuse: options.isTaken !== undefined });
  mutations = 0;
  const stack = owned.move();
  const towards = async (address: string): Promise<ControlPlane> => {
    const other = await planeTo(`http://${address}`, configTowards(address));
    stack.defer(async () => await other.close());
    return other;
  };
  return {
    namespace,
    plane,
    target,
    from,
    to,
    secret: token,
    follow: (read) => void (remembered = read),
    remember: (values) => void (memory = { ...memory, ...values }),
    mutations: async () => mutations,
    unreachable: async () => await towards('127.0.0.1:1'),
    silent: async () => await towards(new URL(silence.url).host),
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

/** The last status writes come after the numbers are right. */
async function untilQuiet(plane: ControlPlane, target: PlaneTarget, wanted: { from: string; to: string; mayRefuse: boolean }): Promise<void> {
  let before = '';
  await until(
    `version ${wanted.from} to serve and ${wanted.to} to be a target, in a quiet cluster`,
    async () => {
      const observation = await plane.observe(target, { thorough: true }, signal);
      const { serving, refusals, token, versions } = observation;
      const now = JSON.stringify([serving, refusals, token, versions]);
      const isQuiet = now === before && (refusals.length === 0 || wanted.mayRefuse) && serving.some(({ version }) => version === wanted.from);
      before = now;
      return isQuiet && plane.plan(target, observation, all(wanted.to)).kind === 'steps';
    },
    { everyMs: 200, withinMs: 60_000, seen: () => before },
  );
}
