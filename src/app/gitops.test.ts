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
import { passingSmoke, setStage } from '../../test/support/stage.ts';
import { until } from '../../test/support/until.ts';
import { kubernetesDeployment } from '../adapters/control-planes/kubernetes-deployment/index.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { slackMessage } from '../adapters/notify/slack/message.ts';
import type { Episode } from '../domain/episode.ts';
import { viewEpisode } from '../domain/episode-view.ts';
import type { MessageContent } from '../domain/message.ts';
import type { Log } from '../domain/ports.ts';
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

describe('a Deployment that Argo CD keeps as git has it', { timeout: 120_000 }, () => {
  let stop: () => Promise<void> = async () => undefined;
  afterEach(async () => await stop());

  /** 7 serves and fails, git says 7, and 6 is known good. */
  async function setUp(config: JsonMap, application: KubernetesObject) {
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
        cleanUp.use(startControllers(kubernetes.client, { namespace: 'shop' }));
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
        return cleanUp;
      },
    });
    const source = new FakeSource();
    const lines: { fields: Readonly<Record<string, unknown>>; message: string }[] = [];
    const keep = (fields: Readonly<Record<string, unknown>>, message: string): void => void lines.push({ fields, message });
    const log: Log = { debug: keep, info: keep, warn: keep, error: keep, child: () => log };
    const slack: string[] = [];
    const { app } = await setStage({
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
    return { app, argo: argo as ArgoCd, kubernetes: setup.kubernetes, plane: setup.plane, target: setup.target, lines, slack, playUntil };
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
});
