import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { silentLog } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { sourcePlugins } from '../adapters/sources/index.ts';
import type { Config } from '../config/config.ts';
import { emptyCalendar } from '../domain/calendar.ts';
import { defaultLimits } from '../domain/limits.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { type Created, createApp } from './create.ts';

function aConfig(url: string): Config {
  const prometheus = Object.values(sourcePlugins).find((plugin) => plugin.kind === 'prometheus');
  const settings: unknown = prometheus?.schema.parse({ url });
  return {
    file: '/etc/rollbackd/rollbackd.yaml',
    evaluationIntervalMs: 15_000,
    globalLabels: {},
    journal: { kind: 'sqlite', path: ':memory:', retentionMs: 90 * 86_400_000 },
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
