import { afterEach, describe, expect, it } from 'vitest';
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
});
