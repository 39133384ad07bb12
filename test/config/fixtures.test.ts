import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { registries } from '../../src/cli/registries.ts';
import { fingerprinter } from '../../src/config/files.ts';
import { loadConfig } from '../../src/config/load.ts';
import { pickReceivers } from '../../src/domain/routing.ts';
import { formatDiagnostics, hasErrors } from '../../src/rulefile/diagnostic.ts';

const folder = import.meta.dirname;
const root = join(folder, '../..');
const files = readdirSync(folder).sort();
const bad = files.filter((file) => file.endsWith('.bad.yaml'));
const good = files.filter((file) => file.endsWith('.good.yaml'));
const env = { ROLLBACKD_TEST_CLUSTER: 'prod' };

async function load(file: string) {
  return loadConfig(join(folder, file), registries, { env });
}

describe('faulty settings', () => {
  it.each(bad)('%s is refused with its pinned message', async (file) => {
    const { config, diagnostics } = await load(file);

    const shown = `${formatDiagnostics(diagnostics)}\n`.replaceAll(`${root}/`, '');
    expect(config).toBeNull();
    expect(hasErrors(diagnostics)).toBe(true);
    expect(shown).not.toContain('hunter2');
    expect(JSON.stringify(diagnostics)).not.toContain('hunter2');
    await expect(shown).toMatchFileSnapshot(join(folder, 'expected', file.replace('.bad.yaml', '.txt')));
  });

  it('gives five faults for five slips', async () => {
    const { diagnostics } = await load('five-faults.bad.yaml');

    expect(diagnostics.map(({ line, column }) => `${line}:${column}`)).toEqual(['1:31', '4:16', '7:11', '8:18', '9:16']);
  });

  it('tells the faults of the daemon’s file and of all its rule files at once', async () => {
    const { diagnostics } = await load('rule-files-faulty.bad.yaml');

    expect(new Set(diagnostics.map(({ file }) => file.split('/').at(-1)))).toEqual(new Set(['expr-end.bad.yaml', 'five-faults.bad.yaml']));
  });

  it('says so when the file is not there', async () => {
    const { config, diagnostics } = await load('nowhere.yaml');

    expect(config).toBeNull();
    expect(diagnostics.map(({ message }) => message)).toEqual(['cannot be read: no such file']);
  });
});

describe('good settings', () => {
  it.each(good)('%s is taken', async (file) => {
    const { config, diagnostics } = await load(file);

    expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(config).not.toBeNull();
  });

  it.each(['config/rollbackd.yaml', 'config/rollbackd.example.yaml'])('%s is taken without a lint', async (file) => {
    const { config, diagnostics } = await loadConfig(join(root, file), registries, { env: {} });

    expect(formatDiagnostics(diagnostics)).toBe('');
    expect(config?.groups.flatMap(({ rules }) => rules).length).toBeGreaterThan(0);
  });

  it('spells patterns of groups out, and says when a group is only recorded', async () => {
    const { config, diagnostics } = await load('groups.good.yaml');

    expect(config?.modelGroups).toEqual([
      { name: 'ranking', kind: 'together', models: ['ranker-eu', 'ranker-us'], releasedWithinMs: 7_200_000 },
      { name: 'chain', kind: 'ordered', models: ['score', 'features'], releasedWithinMs: 3_600_000 },
      { name: 'others', kind: 'hold_peers', models: ['fraud', 'shop'], releasedWithinMs: 3_600_000 },
    ]);
    expect(diagnostics.map(({ line, column, severity, message }) => `${line}:${column} ${severity}: ${message}`)).toEqual([
      '16:34 warning: features has rollback.mode: dry_run, so nothing of this group is rolled back, only recorded; write enforce for all of them or for none',
    ]);
  });

  it('takes external labels from the environment', async () => {
    const { config } = await load('environment.good.yaml');

    expect(config?.globalLabels).toEqual({ cluster: 'prod', price: '5$', end: 'a$' });
  });

  it('fills in the defaults of the design', async () => {
    const { config } = await load('one-model.good.yaml');

    expect(config?.models[0]?.rollback).toEqual({
      mode: 'dry_run',
      to: { kind: 'last_known_good' },
      knownGood: { minAgeMs: 3_600_000, minRequests: 1000, backfillMs: 604_800_000, versions: [] },
      cooldownMs: 1_800_000,
      maxPer: { count: 2, windowMs: 21_600_000 },
      maxDepth: 3,
      quarantineMs: 604_800_000,
      convergeTimeoutMs: 600_000,
      recoveryWithinMs: 300_000,
      stickMs: 180_000,
      requireApproval: 'never',
      activeTimeIntervals: [],
      approvalTimeoutMs: 1_800_000,
      approvalAfterMs: 604_800_000,
      allowIncompatible: false,
    });
    expect(config?.evaluationIntervalMs).toBe(15_000);
    expect(config?.models[0]?.attribution).toEqual({ kind: 'serving' });
  });

  it('makes paths absolute, relative to the file', async () => {
    const { config } = await load('one-model.good.yaml');

    expect(config?.controlPlanes[0]?.settings).toMatchObject({ model_config_file: join(folder, 'models.config') });
    expect(config?.journal).toEqual({ kind: 'sqlite', path: join(folder, '../data/rollbackd.db'), backup: null, retentionMs: 90 * 86_400_000 });
  });

  it('takes a journal of several replicas', async () => {
    const { config } = await load('postgres.good.yaml');

    expect(config?.journal).toEqual({ kind: 'postgres', urlFile: join(folder, 'journal-url'), retentionMs: 30 * 86_400_000 });
    expect(config?.leaderElection).toMatchObject({
      leaseDurationMs: 30_000,
      renewDeadlineMs: 20_000,
      retryPeriodMs: 5_000,
      lease: { kind: 'kubernetes_lease', settings: { name: 'rollbackd', namespace: 'ml', timeout: 5_000 } },
    });
  });

  it('has a hash that equals the fingerprint of its files', async () => {
    const { config } = await load('one-model.good.yaml');

    expect(await fingerprinter(join(folder, 'one-model.good.yaml'))()).toBe(config?.hash);
    expect(config?.files).toEqual([join(folder, 'one-model.good.yaml'), join(folder, '../rulefile/every-key.good.yaml')]);
  });

  it('routes as Alertmanager does', async () => {
    const { config } = await load('routes.good.yaml');
    const route = config?.route;
    if (route === null || route === undefined) throw new Error('no route');
    const receivers = (labels: Record<string, string>) => pickReceivers(route, labels).map(({ receiver, groupWaitMs }) => `${receiver} ${groupWaitMs}`);

    expect(receivers({ severity: 'page', team: 'a', model: 'shop' })).toEqual(['page 1000', 'all 30000']);
    expect(receivers({ severity: 'page', team: 'ab' })).toEqual(['all 30000']);
    expect(receivers({ severity: 'none' })).toEqual(['all 30000']);
  });
});
