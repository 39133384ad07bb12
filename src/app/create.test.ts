import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { startSlackEndpoint } from '../../test/support/slack-endpoint.ts';
import { silentLog } from '../../test/support/stage.ts';
import { until } from '../../test/support/until.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { receiverKinds } from '../adapters/notify/index.ts';
import { sourcePlugins } from '../adapters/sources/index.ts';
import type { Config } from '../config/config.ts';
import { emptyCalendar } from '../domain/calendar.ts';
import { defaultLimits } from '../domain/limits.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { type Created, createApp } from './create.ts';
import { AppQueries } from './queries.ts';

function aConfig(url: string): Config {
  const prometheus = Object.values(sourcePlugins).find((plugin) => plugin.kind === 'prometheus');
  const settings: unknown = prometheus?.schema.parse({ url });
  return {
    file: '/etc/rollbackd/rollbackd.yaml',
    evaluationIntervalMs: 15_000,
    globalLabels: {},
    journal: { kind: 'sqlite', path: ':memory:', backup: null, retentionMs: 90 * 86_400_000 },
    leaderElection: null,
    sources: [{ name: 'prom', kind: 'prometheus', settings }],
    controlPlanes: [],
    models: [],
    groups: [],
    modelGroups: [],
    limits: defaultLimits,
    calendar: emptyCalendar,
    route: null,
    receivers: [],
    files: [],
    hash: url,
  };
}

describe('a receiver that fails', () => {
  it('is called down, with why and without its secret, until it takes a message again', async () => {
    const clock = new FakeClock();
    const slack = await startSlackEndpoint('/services/T000/B000/s3cr3t-planted');
    const kind = receiverKinds.get('slack_configs');
    const receivers = [{ name: 'oncall', integrations: [{ kind: 'slack_configs', settings: kind?.config.parse({ api_url: slack.url }) }] }];
    const metrics = new Metrics({ version: 'test' }, { processMetrics: false });
    const config = { ...aConfig('http://a:9090'), receivers };
    const created = await createApp(config, { clock, log: silentLog, metrics, journal: await openMemoryJournal({ clock }), random: () => 0 });
    const queries = new AppQueries(created.app, clock, {
      settings: () => ({ config, loadedMs: 0, faults: [] }),
      messagesWaiting: () => created.outbox.waiting,
    });
    const up = async (): Promise<string | undefined> =>
      (await metrics.render()).body
        .split('\n')
        .find((line) => line.startsWith('rollbackd_receiver_up{'))
        ?.slice(-1);
    created.start();
    expect((await queries.status()).receivers).toEqual([{ name: 'oncall', kind: 'slack', up: null, since: null, last_success: null, error: null }]);
    expect(await up()).toBe('1');

    slack.answer({ status: 503, body: 'no, and not with s3cr3t-planted either' });
    const content = { day: '2026-11-22', wouldHave: [], did: [], externalLabels: {} };
    await created.outbox.enqueue({ id: 'digest/1', receiver: 'oncall', kind: 'digest', content });
    await until('the receiver to be called down', async () => (await queries.status()).receivers[0]?.up === false, { everyMs: 5 });

    expect(await up()).toBe('0');
    const down = await queries.status();
    expect(down).toMatchObject({ messages_waiting: 1, receivers: [{ error: 'answered 503 without a code' }] });
    expect(JSON.stringify(down)).not.toContain('s3cr3t-planted');

    slack.answer({ status: 200, body: 'ok' });
    await until(
      'the message to come in',
      async () => {
        await clock.advance(60_000);
        return (await queries.status()).receivers[0]?.up === true;
      },
      { everyMs: 5 },
    );
    expect(await queries.status()).toMatchObject({ messages_waiting: 0, receivers: [{ error: null }] });
    expect(await up()).toBe('1');
    await created.close(0);
    await slack.close();
  });
});

describe('a reload', () => {
  let created: Created;

  afterEach(async () => {
    await created.close(0);
  });

  it('keeps a source alive whose settings did not change, and makes anew what changed', async () => {
    const clock = new FakeClock();
    const metrics = new Metrics({ version: 'test' }, { processMetrics: false });
    created = await createApp(aConfig('http://a:9090'), { clock, log: silentLog, metrics, journal: await openMemoryJournal({ clock }) });
    const source = created.app.runtime.sources.get('prom');

    await created.apply(aConfig('http://a:9090'));
    expect(created.app.runtime.sources.get('prom')).toBe(source);
    await created.apply(aConfig('http://b:9090'));
    expect(created.app.runtime.sources.get('prom')).not.toBe(source);
  });

  it('that fails half way leaves all of the old in force, and nothing of the new open', async () => {
    const clock = new FakeClock();
    const metrics = new Metrics({ version: 'test' }, { processMetrics: false });
    created = await createApp(aConfig('http://a:9090'), { clock, log: silentLog, metrics, journal: await openMemoryJournal({ clock }) });
    const { runtime } = created.app;
    const source = runtime.sources.get('prom');
    if (source === undefined) throw new Error('no source');
    const closed = vi.spyOn(source, 'close');
    const [old, other] = [aConfig('http://a:9090'), aConfig('http://b:9090')];

    // The sources come first: of the first try the old one is shared, of the second a new one is made.
    for (const { sources } of [old, other])
      await expect(created.apply({ ...old, sources, controlPlanes: [{ name: 'tfs', kind: 'no_such_plane', settings: {} }] })).rejects.toThrow(
        'no kind of control plane',
      );

    expect(created.app.runtime).toBe(runtime);
    expect((await metrics.render()).body).not.toContain('control_plane="tfs"');
    await created.apply(aConfig('http://a:9090'));
    expect(created.app.runtime.sources.get('prom')).toBe(source);
    expect(closed).not.toHaveBeenCalled();
    await created.apply(other);
    expect(closed).toHaveBeenCalledTimes(1);
  });
});
