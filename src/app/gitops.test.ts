import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { aModel, aPolicy } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { ArgoCd, anApplication, applicationCrd } from '../../test/support/kubernetes/argo-cd.ts';
import { startControllers } from '../../test/support/kubernetes/controllers.ts';
import type { JsonMap, KubernetesObject } from '../../test/support/kubernetes/kubernetes-object.ts';
import { aDeployment } from '../../test/support/kubernetes/objects.ts';
import { setKubernetesStage } from '../../test/support/kubernetes/plane-stage.ts';
import { passingSmoke, setStage, silentLog } from '../../test/support/stage.ts';
import { until } from '../../test/support/until.ts';
import { kubernetesDeployment } from '../adapters/control-planes/kubernetes-deployment/index.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { slackMessage } from '../adapters/notify/slack/message.ts';
import type { Episode } from '../domain/episode.ts';
import { viewEpisode } from '../domain/episode-view.ts';
import type { MessageContent } from '../domain/message.ts';
import type { Log } from '../domain/ports.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { AppActions } from './actions.ts';
import { MessageTeller } from './message-teller.ts';

const version = 'app.kubernetes.io/version';
const deployment = '/apis/apps/v1/namespaces/shop/deployments/fraud';
const tracking = { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:shop/fraud' };
const podsOf = (id: string): JsonMap => ({
  metadata: { labels: { app: 'fraud', [version]: id } },
  spec: { containers: [{ name: 'server', image: `registry.example.org/fraud:${id}` }] },
});
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['6'] }, convergeTimeoutMs: 120_000, stickMs: 15_000 });

function versionIn(object: KubernetesObject): string | undefined {
  return (object.spec as { template: { metadata: { labels: Record<string, string> } } }).template.metadata.labels[version];
}

/** Lets virtual time pass until something that waits for it is over. */
async function pump(clock: FakeClock, waiting: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const done = waiting.finally(() => over.abort());
  for (let turn = 0; turn < 2_000 && !over.signal.aborted; turn += 1) {
    await clock.advance(50);
    await sleep(1);
  }
  await done;
}

describe('a Deployment that Argo CD keeps as git has it', { timeout: 120_000 }, () => {
  let stop: () => Promise<void> = async () => undefined;
  afterEach(async () => await stop());

  /** 7 serves and fails, git says 7, and 6 is known good. */
  async function setUp(config: JsonMap, application: KubernetesObject, { isBroken = () => false }: { isBroken?: (image: string) => boolean } = {}) {
    let isRolledOut = false;
    const clock = new FakeClock();
    const journal = await openMemoryJournal({ clock });
    const cleanUp = new AsyncDisposableStack();
    let argo: ArgoCd | null = null;
    const setup = await setKubernetesStage({
      kind: kubernetesDeployment,
      config,
      keys: { namespace: 'shop', deployment: 'fraud' },
      from: '7',
      to: '6',
      clock,
      fill: async (kubernetes) => {
        cleanUp.use(startControllers(kubernetes.client, { namespace: 'shop', isBroken: (image) => isRolledOut && isBroken(image) }));
        await kubernetes.installCrd(applicationCrd);
        const facts = { name: 'fraud', namespace: 'shop', image: '-', annotations: tracking };
        const asArgo = { query: { fieldManager: 'argocd-controller' } };
        await kubernetes.client.request('POST', dirname(deployment), { body: aDeployment({ ...facts, spec: { template: podsOf('6') } }), ...asArgo });
        for (const id of ['6', '7']) {
          const merge = { body: { spec: { template: podsOf(id) } }, contentType: 'application/merge-patch+json' };
          if (id === '7') await kubernetes.client.request('PATCH', deployment, { ...merge, ...asArgo });
          await until(`${id} to be rolled out`, async () => {
            const { metadata, status } = await kubernetes.client.get(deployment);
            return status?.['observedGeneration'] === metadata.generation && status?.['availableReplicas'] === 2 && status['replicas'] === 2;
          });
        }
        argo = cleanUp.use(
          new ArgoCd(kubernetes, { application: { namespace: 'argocd', name: 'shop' }, object: deployment, git: { spec: { template: podsOf('7') } } }),
        );
        await kubernetes.client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'argocd' } });
        await kubernetes.client.create(application);
        isRolledOut = true;
        return cleanUp;
      },
    });
    const source = new FakeSource();
    const lines: { fields: Readonly<Record<string, unknown>>; message: string }[] = [];
    const keep = (fields: Readonly<Record<string, unknown>>, message: string): void => void lines.push({ fields, message });
    const log: Log = { debug: keep, info: keep, warn: keep, error: keep, child: () => log };
    const slack: string[] = [];
    const { app, teller } = await setStage({
      clock,
      journal,
      source,
      plane: setup.plane,
      smoke: passingSmoke,
      model: { ...aModel(), plane: setup.target.plane, rollback: policy },
      tell: (parts) =>
        new MessageTeller({
          ...parts,
          log,
          sink: {
            enqueue: async () => true,
            events: (messages) => {
              for (const { kind, content } of messages) slack.push(JSON.stringify(slackMessage({ kind, content } as unknown as MessageContent)));
              return [];
            },
          },
        }),
    });
    setup.follow(() => app.memory.planeMemory('tfs'));
    stop = async () => {
      await app.stop(0);
      await setup[Symbol.asyncDispose]();
      await journal.close();
    };
    source.traffic.set('6', { requests: 0, errorRatio: 0 }).set('7', { requests: 100, errorRatio: 0.2 });
    app.start();
    /** Lets virtual time pass until the newest episode fits; requests follow what serves. */
    async function playUntil(isThere: (episode: Episode) => boolean): Promise<Episode> {
      for (let turn = 0; turn < 4_000; turn += 1) {
        await clock.advance(250);
        // The API server answers in real time.
        await sleep(1);
        if (turn % 20 === 0) {
          const serving = versionIn(await setup.kubernetes.client.get(deployment));
          source.traffic.set('6', { requests: serving === '6' ? 100 : 0, errorRatio: 0 }).set('7', { requests: serving === '7' ? 100 : 0, errorRatio: 0.2 });
        }
        const [episode] = await journal.episodes({});
        if (episode !== undefined && isThere(episode)) return episode;
      }
      throw new Error(`not there: ${JSON.stringify(await journal.episodes({}))} ${JSON.stringify(await journal.decisions({}))}`);
    }
    if (argo === null) throw new Error('no Argo CD');
    return { app, clock, teller, argo: argo as ArgoCd, kubernetes: setup.kubernetes, plane: setup.plane, target: setup.target, lines, slack, playUntil };
  }

  const isOver = ({ finishedAtMs }: Episode): boolean => finishedAtMs !== null;
  const served = async (stage: Awaited<ReturnType<typeof setUp>>): Promise<string | undefined> => versionIn(await stage.kubernetes.client.get(deployment));
  const willRevert = 'deployment shop/fraud: this will be reverted by Argo CD application shop unless git is changed';

  it('says with «alert» who will take the rollback back, in the episode and in Slack', async () => {
    const stage = await setUp({ gitops: 'alert' }, anApplication({ automated: { prune: true } }));

    const episode = await stage.playUntil(isOver);

    expect(episode).toMatchObject({ state: 'succeeded', detail: expect.stringContaining(willRevert) });
    expect(viewEpisode(episode).notes).toEqual([expect.stringContaining(willRevert)]);
    const [started, finished] = stage.slack;
    expect(started).toContain(willRevert);
    expect(finished).toContain('Rolled back');
    expect(finished?.split(willRevert)).toHaveLength(2);
  });

  it('names who took the switch back, and leaves it at that', async () => {
    const stage = await setUp({ gitops: 'alert' }, anApplication({ automated: { prune: true } }));
    await stage.playUntil(({ state }) => state === 'watching');

    await stage.argo.commit();
    const episode = await stage.playUntil(isOver);

    const who = /the switch was taken back by argocd-controller \(Update, \d{4}-\d\d-\d\dT[\d:]{8}Z\), which is Argo CD application shop: /;
    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure', detail: expect.stringMatching(who) });
    expect(episode.detail).toContain('Not fought');
    expect(stage.slack.at(-1)).toMatch(who);
    expect(stage.lines.find(({ message }) => message.startsWith('rollback failure'))?.message).toMatch(who);
    expect(stage.kubernetes.mutations()).toBe(1);
    expect(await served(stage)).toBe('7');
  });

  describe('with gitops: pause', () => {
    const automated = { prune: true, selfHeal: true, allowEmpty: false };
    const policyOf = (application: KubernetesObject): unknown => (application.spec as { syncPolicy?: { automated?: unknown } }).syncPolicy?.automated;

    it('turns automated sync off first, so that self-healing leaves the rollback alone, and gives it back on unpin', async () => {
      const stage = await setUp({ gitops: 'pause' }, anApplication({ automated }));

      const episode = await stage.playUntil(isOver);

      expect(episode).toMatchObject({ state: 'succeeded', pinned: true, detail: expect.stringContaining('revert the commit, then run rollbackd unpin') });
      expect(episode.steps.map(({ name }) => name)).toEqual([
        'pause Argo CD application argocd/shop on shop/fraud',
        expect.stringContaining('roll shop/fraud to 6'),
      ]);
      expect([await served(stage), stage.argo.syncs, policyOf(await stage.argo.application())]).toEqual(['6', 0, undefined]);

      const metrics = new Metrics({ version: 'test' }, { processMetrics: false });
      const actions = new AppActions(stage.app, { clock: stage.clock, teller: stage.teller, metrics, log: silentLog });
      const unpinned = actions.unpin('fraud', { by: 'ada', reason: 'git is right again' });
      await pump(stage.clock, unpinned);

      const application = await stage.argo.application();
      expect(policyOf(application)).toEqual(automated);
      expect(application.metadata.annotations ?? {}).toEqual({});
      await until('Argo CD to bring what git says', async () => (await served(stage)) === '7');
    });

    it('takes the pause back when the target is given up before traffic moved', async () => {
      const stage = await setUp({ gitops: 'pause' }, anApplication({ automated }), { isBroken: (image) => image.endsWith(':6') });

      const episode = await stage.playUntil(isOver);

      expect(episode).toMatchObject({ state: 'failed', detail: expect.stringContaining('Nothing moved: 7 still serves') });
      expect(policyOf(await stage.argo.application())).toEqual(automated);
    });

    it('moves nothing when whoever made the Application puts its sync policy back', async () => {
      const stage = await setUp({ gitops: 'pause' }, anApplication({ automated }));
      stage.argo.parent = { syncPolicy: { automated } };

      const episode = await stage.playUntil(isOver);

      // Whichever the plane sees first: the pause gone, or self-healing at work.
      expect(episode.state).toBe('failed');
      expect(episode.detail).toMatch(/taken back by argocd-applicationset-controller|argocd-controller/);
      expect(await served(stage)).toBe('7');
      expect(policyOf(await stage.argo.application())).toEqual(automated);
    });
  });
});
