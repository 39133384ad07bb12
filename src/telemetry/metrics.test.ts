import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { anEpisode } from '../../test/support/an-episode.ts';
import type { Rule } from '../domain/rule.ts';
import type { Verdict, VerdictKind } from '../domain/verdict.ts';
import { type KnownNames, Metrics, renderMetricsDocument } from './metrics.ts';

const rule = { group: 'fraud', alert: 'High', model: 'fraud-detector' } as Rule;
const known: KnownNames = {
  models: ['fraud-detector'],
  groups: [{ name: 'fraud', intervalMs: 5000, rules: [rule] }],
  sources: ['prom'],
  controlPlanes: ['tfs', 'registry'],
  observedPlanes: ['tfs'],
  receivers: [{ integration: 'slack', receiver: 'ml-oncall' }],
};

function someMetrics(names: KnownNames = known) {
  const metrics = new Metrics({ version: '0.1.0' }, { processMetrics: false });
  metrics.know(names);
  return { metrics, samples: async () => (await metrics.render()).body.split('\n').filter((line) => line !== '' && !line.startsWith('#')) };
}

const aVerdict = (version: string, kind: VerdictKind, value: number | null): Verdict => ({
  rule: 'fraud/High',
  model: 'fraud-detector',
  version,
  atMs: 0,
  kind,
  reason: '',
  signal: 'error_ratio',
  value,
  threshold: 0.05,
  requests: 100,
  breachingSinceMs: null,
});

describe('Metrics', () => {
  it('has the series of what is configured at zero', async () => {
    const { samples } = someMetrics();

    expect(await samples()).toEqual(
      expect.arrayContaining([
        'rollbackd_rollbacks_total{model="fraud-detector",trigger="rule",outcome="success"} 0',
        'rollbackd_rollbacks_total{model="fraud-detector",trigger="manual",outcome="unknown"} 0',
        'rollbackd_rollback_in_progress{model="fraud-detector"} 0',
        'rollbackd_model_pinned{model="fraud-detector"} 0',
        'rollbackd_rule_group_interval_seconds{rule_group="fraud"} 5',
        'rollbackd_source_up{source="prom"} 0',
        'rollbackd_notifications_failed_total{integration="slack",receiver="ml-oncall",reason="rateLimited"} 0',
        'rollbackd_journal_write_failures_total 0',
      ]),
    );
  });

  it('counts an episode once, by trigger and outcome, and times it', async () => {
    const { metrics, samples } = someMetrics();

    metrics.episodeStarted(anEpisode());
    expect(await samples()).toContain('rollbackd_rollback_in_progress{model="fraud-detector"} 1');
    metrics.episodeFinished(anEpisode());

    expect(await samples()).toEqual(
      expect.arrayContaining([
        'rollbackd_rollbacks_total{model="fraud-detector",trigger="rule",outcome="success"} 1',
        'rollbackd_rollback_duration_seconds_sum{model="fraud-detector",outcome="success"} 12.4',
        'rollbackd_detection_to_recovery_seconds_sum{model="fraud-detector"} 9',
        'rollbackd_rollback_in_progress{model="fraud-detector"} 0',
        'rollbackd_rollback_started_timestamp_seconds{model="fraud-detector"} 0',
      ]),
    );
  });

  it('counts no rollback when one was rejected', async () => {
    const { metrics, samples } = someMetrics();

    metrics.episodeFinished(anEpisode({ state: 'rejected', outcome: null }));

    expect((await samples()).filter((line) => line.startsWith('rollbackd_rollbacks_total') && !line.endsWith(' 0'))).toEqual([]);
  });

  it('shows the gravest verdict over the versions, and forgets numbers of versions that are judged no more', async () => {
    const { metrics, samples } = someMetrics();

    metrics.ruleJudged(rule, [aVerdict('6', 'ok', 0.001), aVerdict('7', 'breach', 0.102)]);
    expect(await samples()).toEqual(
      expect.arrayContaining([
        'rollbackd_rule_state{alertname="High",model="fraud-detector",rule_group="fraud",state="breach"} 1',
        'rollbackd_rule_state{alertname="High",model="fraud-detector",rule_group="fraud",state="ok"} 0',
        'rollbackd_evaluated_value{alertname="High",model="fraud-detector",version="7"} 0.102',
      ]),
    );

    metrics.ruleJudged(rule, [aVerdict('6', 'error', null)], ['6', '7']);
    const after = await samples();
    expect(after).toContain('rollbackd_rule_state{alertname="High",model="fraud-detector",rule_group="fraud",state="error"} 1');
    expect(after).toContain('rollbackd_rule_evaluation_failures_total{rule_group="fraud"} 1');
    expect(after.filter((line) => line.startsWith('rollbackd_evaluated_value'))).toEqual([]);
  });

  it('forgets what left the configuration, also counters and histograms', async () => {
    const { metrics, samples } = someMetrics();
    metrics.smokeTested('fraud-detector', [{ outcome: 'passed', durationMs: 181 }]);
    metrics.episodeFinished(anEpisode());
    metrics.sourceAsked('prom', { code: '200', durationMs: 5 });
    metrics.sourceWarned('prom');
    metrics.alertsAre([{ alertname: 'High', model: 'fraud-detector', version: '7', state: 'firing' }]);

    metrics.know({ models: ['ranker'], groups: [], sources: ['direct'], controlPlanes: [], observedPlanes: [], receivers: [] });

    const after = (await samples()).join('\n');
    expect(after).not.toMatch(/fraud|"prom"|ml-oncall|High/);
    expect(after).toContain('rollbackd_model_paused{model="ranker"} 0');
  });

  it('keeps its numbers when the same is configured again', async () => {
    const { metrics, samples } = someMetrics();
    metrics.episodeFinished(anEpisode());
    metrics.modelPaused('fraud-detector', 60_000);

    metrics.know(known);

    expect(await samples()).toContain('rollbackd_rollbacks_total{model="fraud-detector",trigger="rule",outcome="success"} 1');
    expect(await samples()).toContain('rollbackd_model_paused_since_timestamp_seconds{model="fraud-detector"} 60');
  });

  it('lives twice in one process without mixing', async () => {
    const [first, second] = [someMetrics(), someMetrics()];

    first.metrics.journalWritten(2, true);

    expect(await first.samples()).toContain('rollbackd_journal_writes_total 1');
    expect(await second.samples()).toContain('rollbackd_journal_writes_total 0');
  });

  it('tells of the process too', async () => {
    const { body, contentType } = await new Metrics({ version: '0.1.0', revision: 'abc' }).render();

    expect(body).toContain(`rollbackd_build_info{version="0.1.0",revision="abc",nodeversion="${process.version}"} 1`);
    expect(body).toContain('nodejs_eventloop_lag_p99_seconds');
    expect(contentType).toContain('version=0.0.4');
  });

  it('gives every metric a help text, a unit in its name and no label for free text', () => {
    const document = renderMetricsDocument();

    expect(document).toBe(readFileSync(path.resolve(import.meta.dirname, '../../docs/metrics.md'), 'utf8'));
    for (const row of document.split('\n').filter((line) => line.startsWith('| `'))) {
      expect(row).toMatch(/^\| `rollbackd_[a-z_]+` \| (counter|gauge|histogram) \| .* \| \S.+\. \|$|; `rollbackd unpin` gives its policy back\. \|$/);
      if (row.includes('| counter |')) expect(row).toMatch(/_total` /);
      if (row.includes('| histogram |')) expect(row).toMatch(/_seconds` /);
      expect(row).not.toMatch(/`(reason_text|detail|message|error|url)`/);
    }
  });
});
