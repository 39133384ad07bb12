import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeKubernetes, startFakeKubernetes } from '../../../test/support/kubernetes/fake-kubernetes.ts';
import { aService } from '../../../test/support/kubernetes/objects.ts';
import { silentLog } from '../../../test/support/stage.ts';
import type { Clock } from '../../domain/ports.ts';
import { realClock } from '../clock/real-clock.ts';
import { kubernetesAccess } from './access.ts';
import { clientOn, type KubernetesClient } from './client.ts';
import { KubernetesError } from './errors.ts';
import { type WatchEvent, watchObjects } from './watch.ts';

const path = '/api/v1/namespaces/shop/services';
/** Time limits as they are, pauses between tries none. */
const hasty: Clock = { nowMs: () => realClock.nowMs(), sleep: async (ms, signal) => await realClock.sleep(ms > 4_000 ? ms : 1, signal) };

let kubernetes: FakeKubernetes;
let client: KubernetesClient;
let stop: AbortController;
let events: AsyncGenerator<WatchEvent>;

beforeEach(async () => {
  kubernetes = await startFakeKubernetes({ namespaces: ['shop'] });
  const connection = { server: kubernetes.url, namespace: 'shop', http: {} };
  client = clientOn({ connect: async () => connection }, kubernetesAccess.parse({}), { clock: hasty, log: silentLog });
  await kubernetes.client.create(aService({ name: 'a', namespace: 'shop', selector: {} }));
  stop = new AbortController();
  events = watchObjects(client, path, {}, hasty, stop.signal);
});
afterEach(async () => {
  stop.abort();
  await events.return(undefined);
  await client.close();
  await kubernetes[Symbol.asyncDispose]();
});

async function next(): Promise<string> {
  const { value, done } = await events.next();
  if (done === true) return 'ended';
  return value.kind === 'listed' ? `listed ${value.items.map(({ metadata }) => metadata.name).join()}` : `${value.kind} ${value.object.metadata.name}`;
}
const create = async (name: string): Promise<void> => void (await kubernetes.client.create(aService({ name, namespace: 'shop', selector: {} })));

describe('watchObjects', () => {
  it('lists, and then tells of each change', async () => {
    expect(await next()).toBe('listed a');
    await create('b');
    expect(await next()).toBe('changed b');
    await kubernetes.client.remove(`${path}/a`);
    expect(await next()).toBe('deleted a');
    const watch = kubernetes.requests.find((request) => request.query.get('watch') === '1' && request.userAgent === 'rollbackd');
    expect(watch?.query.get('allowWatchBookmarks')).toBe('true');
    expect(watch?.query.get('timeoutSeconds')).toBe('240');
  });

  it('goes on where it was when a watch ends', async () => {
    await next();
    await create('b');
    await next();
    const following = next();
    kubernetes.endWatches();
    await create('c');

    expect(await following).toBe('changed c');
  });

  it('lists anew when the server has forgotten where it was', async () => {
    await next();
    await create('b');
    await next();
    const following = next();
    // The watch ends, and what came meanwhile cannot be told any more.
    kubernetes.fail({ path: '/services', test: (request) => request.userAgent === 'rollbackd' && request.query.get('watch') === '1' }, 410, { times: 1 });
    kubernetes.endWatches();
    await create('c');

    expect(await following).toMatch(/^listed a,b(,c)?$/);
  });

  it('waits for a server that is away, and does not wait for a right', async () => {
    kubernetes.fail({ method: 'GET' }, 503, { times: 2 });
    expect(await next()).toBe('listed a');

    stop.abort();
    stop = new AbortController();
    events = watchObjects(client, path, {}, hasty, stop.signal);
    kubernetes.fail({ method: 'GET' }, 403, { times: 1 });
    await expect(events.next()).rejects.toBeInstanceOf(KubernetesError);
  });

  it('ends with its signal', async () => {
    await next();
    const following = next();
    stop.abort();

    expect(await following).toBe('ended');
  });
});
