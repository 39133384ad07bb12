import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codePoints } from '../../../../test/support/code-points.ts';
import type { AlertItem, EpisodeContent } from '../../../domain/message.ts';
import { type SlackPayload, slackMessage } from './message.ts';
import { cut, escapeMrkdwn, link } from './mrkdwn.ts';

function anEpisode(changes: Partial<EpisodeContent> = {}): EpisodeContent {
  return {
    id: 'rb_01JD',
    model: 'fraud-detector',
    from: '7',
    to: '6',
    trigger: 'rule',
    rule: 'ModelErrorRatioHigh',
    mode: 'enforce',
    state: 'succeeded',
    outcome: 'success',
    reason: 'error ratio 10.2% (588 of 5771) > 5% for 1m12s, for: 1m',
    detected_at: '2026-11-22T12:00:00.000Z',
    started_at: '2026-11-22T12:00:00.100Z',
    switched_at: '2026-11-22T12:00:03.000Z',
    finished_at: '2026-11-22T12:00:12.400Z',
    evidence: { signal: 'error_ratio', value: 0.102, threshold: 0.05, requests: 5771, window: '1m', baseline: { version: '6', value: 0.001 }, series: [] },
    steps: [
      { name: 'stage 6 on tfs-0:8500', state: 'done', started_at: null, finished_at: null, detail: '' },
      { name: 'unload 7 on tfs-0:8500', state: 'failed', started_at: null, finished_at: null, detail: 'UNAVAILABLE' },
    ],
    smoke_tests: [{ name: 'one known transaction', outcome: 'passed', duration_ms: 181, detail: '' }],
    links: { git_tag: 'https://git.example.org/fraud/tags/v7', runbook: 'https://runbooks.example.org/fraud' },
    externalLabels: { cluster: 'prod-eu1' },
    quarantinedUntil: '2026-11-29T12:00:00.000Z',
    replicas: 3,
    detail: '',
    pinned: false,
    ...changes,
  };
}

/** The message as lines, for reading. */
function lines(payload: SlackPayload): string[] {
  const blocks = payload.blocks.map((block) => {
    if (block.type === 'context') return `[context] ${block.elements.map(({ text }) => text).join('')}`;
    if ('fields' in block) return block.fields.map(({ text }) => `[field] ${text.replaceAll('\n', ' = ')}`).join('\n');
    return `[${block.type}] ${block.text.text}`;
  });
  return [`[text] ${payload.text}`, ...blocks].flatMap((block) => block.split('\n'));
}

function texts(payload: SlackPayload): string[] {
  return payload.blocks.flatMap((block) =>
    block.type === 'context' ? block.elements.map(({ text }) => text) : 'fields' in block ? block.fields.map(({ text }) => text) : [block.text.text],
  );
}

describe('slackMessage', () => {
  it('tells a success', () => {
    expect(slackMessage({ kind: 'episode_finished', content: anEpisode() })).toMatchInlineSnapshot(`
      {
        "blocks": [
          {
            "text": {
              "emoji": false,
              "text": "✅ Rolled back fraud-detector 7 → 6",
              "type": "plain_text",
            },
            "type": "header",
          },
          {
            "text": {
              "text": "*ModelErrorRatioHigh*: *10.2%* of 5,771 requests failed in 1m (limit 5%)
      Baseline 6 in the same window: 0.1%
      Verdict: error ratio 10.2% (588 of 5771) &gt; 5% for 1m12s, for: 1m",
              "type": "mrkdwn",
              "verbatim": true,
            },
            "type": "section",
          },
          {
            "fields": [
              {
                "text": "*Smoke test*
      passed, 1/1, 181 ms",
                "type": "mrkdwn",
                "verbatim": true,
              },
              {
                "text": "*Took*
      12.4 s (3 replicas)",
                "type": "mrkdwn",
                "verbatim": true,
              },
              {
                "text": "*Version 7*
      quarantined until 29 Nov 12:00 UTC",
                "type": "mrkdwn",
                "verbatim": true,
              },
              {
                "text": "*Cluster*
      prod-eu1",
                "type": "mrkdwn",
                "verbatim": true,
              },
            ],
            "type": "section",
          },
          {
            "elements": [
              {
                "text": "rb_01JD | <https://git.example.org/fraud/tags/v7|git tag> | <https://runbooks.example.org/fraud|runbook>",
                "type": "mrkdwn",
                "verbatim": true,
              },
            ],
            "type": "context",
          },
        ],
        "text": "rollback success: fraud-detector 7 -&gt; 6 (ModelErrorRatioHigh 10.2% &gt; 5%), prod-eu1",
      }
    `);
  });

  it('tells of a pin', () => {
    expect(lines(slackMessage({ kind: 'episode_finished', content: anEpisode({ pinned: true }) }))).toMatchInlineSnapshot(`
      [
        "[text] rollback success: fraud-detector 7 -&gt; 6 (ModelErrorRatioHigh 10.2% &gt; 5%), prod-eu1",
        "[header] ✅ Rolled back fraud-detector 7 → 6",
        "[section] *ModelErrorRatioHigh*: *10.2%* of 5,771 requests failed in 1m (limit 5%)",
        "Baseline 6 in the same window: 0.1%",
        "Verdict: error ratio 10.2% (588 of 5771) &gt; 5% for 1m12s, for: 1m",
        "[section] 📌 The control plane now holds version 6: newer versions are not served until \`rollbackd unpin fraud-detector\`.",
        "[field] *Smoke test* = passed, 1/1, 181 ms",
        "[field] *Took* = 12.4 s (3 replicas)",
        "[field] *Version 7* = quarantined until 29 Nov 12:00 UTC",
        "[field] *Cluster* = prod-eu1",
        "[context] rb_01JD | <https://git.example.org/fraud/tags/v7|git tag> | <https://runbooks.example.org/fraud|runbook>",
      ]
    `);
  });

  it('tells a failure after the switch: what state things are in, and what to do', () => {
    const content = anEpisode({
      state: 'failed',
      outcome: 'failure',
      detail: 'unload 7 on tfs-0:8500: not there after 10m (converge_timeout)',
      smoke_tests: [{ name: 'one', outcome: 'failed', duration_ms: 20, detail: 'status 500, expected 200' }],
    });

    expect(lines(slackMessage({ kind: 'episode_finished', content }))).toMatchInlineSnapshot(`
      [
        "[text] rollback failure: fraud-detector 7 -&gt; 6 (ModelErrorRatioHigh 10.2% &gt; 5%), prod-eu1",
        "[header] ❌ Rollback failed: fraud-detector 7 → 6",
        "[section] *ModelErrorRatioHigh*: *10.2%* of 5,771 requests failed in 1m (limit 5%)",
        "Baseline 6 in the same window: 0.1%",
        "Verdict: error ratio 10.2% (588 of 5771) &gt; 5% for 1m12s, for: 1m",
        "[section] *Why*: unload 7 on tfs-0:8500: not there after 10m (converge_timeout)",
        "[section] *Now*: traffic was switched to version 6 at 22 Nov 12:00 UTC; rollbackd did not switch it back to 7.",
        "Steps: stage 6 on tfs-0:8500 done; unload 7 on tfs-0:8500 failed (UNAVAILABLE)",
        "[section] *What to do*: look which version serves (\`rollbackd get versions fraud-detector\`) and decide by hand; \`rollbackd describe rollback rb_01JD\` shows every step, <https://runbooks.example.org/fraud|runbook>.",
        "[field] *Smoke test* = failed, 0/1 passed; one: status 500, expected 200",
        "[field] *Took* = 12.4 s (3 replicas)",
        "[field] *Version 7* = quarantined until 29 Nov 12:00 UTC",
        "[field] *Cluster* = prod-eu1",
        "[context] rb_01JD | <https://git.example.org/fraud/tags/v7|git tag> | <https://runbooks.example.org/fraud|runbook>",
      ]
    `);
  });

  it('tells a failure before the switch', () => {
    const content = anEpisode({
      state: 'failed',
      outcome: 'failure',
      switched_at: null,
      detail: 'the smoke test failed on 6',
      quarantinedUntil: null,
      links: {},
      evidence: { signal: 'latency', value: 0.8123, threshold: 0.25, requests: 300, window: '5m', baseline: null, series: [] },
      rule: 'ModelLatencyP99High',
    });

    expect(lines(slackMessage({ kind: 'episode_finished', content }))).toMatchInlineSnapshot(`
      [
        "[text] rollback failure: fraud-detector 7 -&gt; 6 (ModelLatencyP99High 812ms &gt; 250ms), prod-eu1",
        "[header] ❌ Rollback failed: fraud-detector 7 → 6",
        "[section] *ModelLatencyP99High*: latency *812ms* over 300 requests in 5m (limit 250ms)",
        "Verdict: error ratio 10.2% (588 of 5771) &gt; 5% for 1m12s, for: 1m",
        "[section] *Why*: the smoke test failed on 6",
        "[section] *Now*: no switch of traffic was confirmed; version 7 served when this began.",
        "Steps: stage 6 on tfs-0:8500 done; unload 7 on tfs-0:8500 failed (UNAVAILABLE)",
        "[section] *What to do*: look which version serves (\`rollbackd get versions fraud-detector\`) and decide by hand; \`rollbackd describe rollback rb_01JD\` shows every step.",
        "[field] *Smoke test* = passed, 1/1, 181 ms",
        "[field] *Took* = 12.4 s (3 replicas)",
        "[field] *Cluster* = prod-eu1",
        "[context] rb_01JD",
      ]
    `);
  });

  it.each([
    [
      'unknown',
      anEpisode({ state: 'failed', outcome: 'unknown', detail: 'no data on 6 since the switch' }),
      '⚠️ Rollback, outcome unknown: fraud-detector 7 → 6',
    ],
    ['aborted', anEpisode({ state: 'aborted', outcome: 'failure', switched_at: null, detail: 'paused' }), '⏹️ Aborted: rollback of fraud-detector 7 → 6'],
    ['rejected', anEpisode({ state: 'rejected', outcome: 'failure', switched_at: null }), '🚫 Rejected: rollback of fraud-detector 7 → 6'],
    [
      'recorded',
      anEpisode({ state: 'recorded', outcome: null, mode: 'dry_run', detail: 'would have rolled back 7 to 6' }),
      '📝 Dry run: would have rolled back fraud-detector 7 → 6',
    ],
  ])('tells the end %s by sign and word', (_, content, title) => {
    expect(lines(slackMessage({ kind: 'episode_finished', content }))[1]).toBe(`[header] ${title}`);
  });

  it('tells a rollback by hand, started', () => {
    const content = anEpisode({
      state: 'switching',
      outcome: null,
      rule: null,
      trigger: 'manual',
      requestedBy: 'ann',
      reason: 'wrong features',
      finished_at: null,
      evidence: { signal: 'manual', value: null, threshold: null, requests: null, window: null, baseline: null, series: [] },
    });

    expect(lines(slackMessage({ kind: 'episode_started', content }))).toMatchInlineSnapshot(`
      [
        "[text] rollback started: fraud-detector 7 -&gt; 6 (by hand), prod-eu1",
        "[header] ⏳ Rolling back fraud-detector 7 → 6",
        "[section] *By hand* by ann",
        "Reason: wrong features",
        "[section] State: switching.",
        "[field] *Cluster* = prod-eu1",
        "[context] rb_01JD | <https://git.example.org/fraud/tags/v7|git tag> | <https://runbooks.example.org/fraud|runbook>",
      ]
    `);
  });

  it('asks for approval', () => {
    const content = { ...anEpisode({ state: 'pending_approval', outcome: null, switched_at: null, finished_at: null }), expiresAt: '2026-11-22T12:30:00.000Z' };

    expect(lines(slackMessage({ kind: 'approval_needed', content }))).toMatchInlineSnapshot(`
      [
        "[text] approval needed: fraud-detector 7 -&gt; 6 (ModelErrorRatioHigh 10.2% &gt; 5%), prod-eu1",
        "[header] ✋ Approval needed: roll back fraud-detector 7 → 6?",
        "[section] *ModelErrorRatioHigh*: *10.2%* of 5,771 requests failed in 1m (limit 5%)",
        "Baseline 6 in the same window: 0.1%",
        "Verdict: error ratio 10.2% (588 of 5771) &gt; 5% for 1m12s, for: 1m",
        "[section] Version 7 still serves. Without an answer this is rejected at 22 Nov 12:30 UTC.",
        "[section] \`rollbackd approve rb_01JD\` or \`rollbackd reject rb_01JD\`",
        "[field] *Cluster* = prod-eu1",
        "[context] rb_01JD | <https://git.example.org/fraud/tags/v7|git tag> | <https://runbooks.example.org/fraud|runbook>",
      ]
    `);
  });

  const alert = (changes: Partial<AlertItem> = {}): AlertItem => ({
    alert: 'ModelTrafficAbsent',
    model: 'fraud',
    version: '7',
    summary: 'fraud v7: no traffic',
    reason: 'request rate 0/s < 0.1/s for 5m',
    labels: { alertname: 'ModelTrafficAbsent', severity: 'ticket' },
    startsAt: '2026-11-22T12:00:00.000Z',
    endsAt: null,
    ...changes,
  });

  it('tells alerts', () => {
    expect(
      lines(slackMessage({ kind: 'alert', content: { status: 'firing', alerts: [alert()], externalLabels: { cluster: 'prod-eu1' } } })),
    ).toMatchInlineSnapshot(`
      [
        "[text] alert firing: ModelTrafficAbsent: fraud 7, prod-eu1",
        "[header] 🔥 Firing: ModelTrafficAbsent: fraud 7",
        "[section] *ModelTrafficAbsent* firing: fraud 7, since 22 Nov 12:00 UTC",
        "fraud v7: no traffic",
        "request rate 0/s &lt; 0.1/s for 5m",
        "severity=ticket",
        "[section] No rollback follows from this.",
        "[field] *Cluster* = prod-eu1",
      ]
    `);
    expect(
      lines(
        slackMessage({
          kind: 'alert',
          content: {
            status: 'resolved',
            alerts: [alert({ endsAt: '2026-11-22T12:09:00.000Z' }), alert({ version: '8', endsAt: '2026-11-22T12:10:00.000Z' })],
            externalLabels: {},
          },
        }),
      )[1],
    ).toBe('[header] ✅ Resolved: ModelTrafficAbsent: fraud');
  });

  it('tells ten alerts one by one and counts the rest', () => {
    const payload = slackMessage({
      kind: 'alert',
      content: { status: 'firing', alerts: Array.from({ length: 24 }, (_, index) => alert({ version: String(index) })), externalLabels: {} },
    });

    expect(lines(payload)).toContain('[section] and 14 more');
    expect(payload.blocks.length).toBeLessThan(50);
  });

  it('tells the day', () => {
    const content = {
      day: '2026-11-22',
      did: [{ id: 'rb_1', model: 'fraud', from: '7', to: '6', rule: 'ModelErrorRatioHigh', outcome: 'success' as const }],
      wouldHave: [{ model: 'ranker', from: '3', to: '2', rule: null, reason: 'p99 0.8s > 0.25s' }],
      externalLabels: {},
    };

    expect(lines(slackMessage({ kind: 'digest', content }))).toMatchInlineSnapshot(`
      [
        "[text] digest 2026-11-22: 1 rollback, 1 in dry run",
        "[header] 📋 rollbackd on 2026-11-22: 1 rollback, 1 in dry run",
        "[section] *Rolled back*",
        "✅ fraud 7 → 6: success (ModelErrorRatioHigh), rb_1",
        "[section] *Would have rolled back*",
        "📝 ranker 3 → 2 by hand: p99 0.8s &gt; 0.25s",
      ]
    `);
    expect(lines(slackMessage({ kind: 'digest', content: { ...content, did: [], wouldHave: [] } }))).toContain(
      '[section] Nothing was rolled back, and nothing would have been.',
    );
  });

  it('tells a notice', () => {
    expect(
      lines(
        slackMessage({
          kind: 'notice',
          content: { severity: 'warning', title: 'newer version 8 appeared on a pinned plane', text: 'fraud is pinned to 6', externalLabels: {} },
        }),
      ),
    ).toMatchInlineSnapshot(`
      [
        "[text] warning: newer version 8 appeared on a pinned plane",
        "[header] ⚠️ Warning: newer version 8 appeared on a pinned plane",
        "[section] fraud is pinned to 6",
      ]
    `);
  });

  it('lets nothing from labels format, link or ping', () => {
    const evil = '<!channel> @here <@U1> <https://evil|click> *bold* _it_ ~no~ `code` & :x: @everyone';
    const payload = slackMessage({
      kind: 'episode_finished',
      content: anEpisode({
        model: evil,
        rule: evil,
        reason: evil,
        detail: evil,
        state: 'failed',
        outcome: 'failure',
        externalLabels: { cluster: evil },
        links: { [evil]: 'javascript:alert(1)' },
      }),
    });

    const [header, ...formatted] = texts(payload);
    for (const text of [header, payload.text, ...formatted]) expect(text).not.toMatch(/<[!@h]|@here|@everyone|@channel/);
    for (const text of [payload.text, ...formatted]) expect(text).not.toMatch(/\*bold\*|_it_|~no~|`code`/);
    expect(JSON.stringify(payload)).not.toContain('javascript:');
  });

  it('keeps within Slack’s limits, whatever the content', () => {
    const any = fc.oneof(
      fc.string({ maxLength: 20 }),
      codePoints({ maxLength: 30 }).map((text) => text.toWellFormed()),
      fc.integer({ min: 100, max: 9000 }).map((length) => '<&'.repeat(length)),
    );
    fc.assert(
      fc.property(
        any,
        any,
        any,
        fc.dictionary(any, any, { maxKeys: 15 }),
        fc.constantFrom('success', 'failure', 'unknown'),
        (model, reason, detail, labels, outcome) => {
          const content = anEpisode({
            model,
            reason,
            detail,
            rule: reason,
            from: detail,
            externalLabels: labels,
            links: labels,
            state: outcome === 'success' ? 'succeeded' : 'failed',
            outcome,
            smoke_tests: [{ name: model, outcome: 'failed', duration_ms: 1, detail }],
          });
          for (const kind of ['episode_finished', 'episode_started'] as const) {
            const payload = slackMessage({ kind, content });
            const all = texts(payload);
            expect(payload.text.length).toBeLessThanOrEqual(1000);
            expect(all.reduce((sum, text) => sum + text.length, 0)).toBeLessThanOrEqual(12_000);
            for (const block of payload.blocks) {
              if (block.type === 'header') expect(block.text.text.length).toBeLessThanOrEqual(150);
              if (block.type === 'section' && 'text' in block) expect(block.text.text.length).toBeLessThanOrEqual(3000);
              if (block.type === 'section' && 'fields' in block) expect(block.fields.length).toBeLessThanOrEqual(10);
            }
            for (const text of all) {
              expect(text.length).toBeGreaterThan(0);
              expect(text.isWellFormed()).toBe(true);
              expect(text.replaceAll(/&(amp|lt|gt);/g, '').replaceAll(/<https?:[^<>|]*\|[^<>]*>/g, '')).not.toMatch(/[&<>]/);
            }
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('mrkdwn', () => {
  it('keeps names with underscores readable', () => {
    expect(escapeMrkdwn('fraud_detector_v2 _x_')).toBe('fraud_detector_v2 ˍxˍ');
  });

  it('links only http and https, without user and password', () => {
    expect(link('https://a.example/?a=1&b=<2>|3', 'git tag')).toBe('<https://a.example/?a=1&amp;b=%3C2%3E%7C3|git tag>');
    expect(link('ftp://a.example', 'x')).toBe('x');
    expect(link('https://u:p@a.example', 'x')).toBe('x');
    expect(link('{{ $version }}', 'x')).toBe('x');
  });

  it('cuts whole: no half entity, link or surrogate pair', () => {
    expect(cut('abc&amp;def', 7)).toBe('abc…');
    expect(cut('abc <https://a.example|text> def', 12)).toBe('abc …');
    expect(cut('ab🙂cd', 4)).toBe('ab…');
    expect(cut('abcd', 4)).toBe('abcd');
  });
});
