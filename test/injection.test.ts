import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { realClock } from '../src/adapters/clock/real-clock.ts';
import { execConfig } from '../src/adapters/control-planes/exec/schema.ts';
import { ExecTransport } from '../src/adapters/control-planes/exec/transport.ts';
import { renderJson } from '../src/adapters/control-planes/webhook/json-template.ts';
import { slackMessage } from '../src/adapters/notify/slack/message.ts';
import { createSmokeRunner } from '../src/adapters/smoke/index.ts';
import { renderChangelog } from '../src/cli/changelog-markdown.ts';
import { describeEpisode } from '../src/cli/looks.ts';
import { renderTable } from '../src/cli/table.ts';
import { viewEpisode } from '../src/domain/episode-view.ts';
import { planQueries } from '../src/domain/query-plan.ts';
import { annotationVariables, parseTemplate, renderTemplate } from '../src/domain/template.ts';
import { checkPromql } from '../src/rulefile/promql.ts';
import { createLog } from '../src/telemetry/log.ts';
import { anEpisode } from './contract/journal-builders.ts';
import { aServer } from './support/a-web-server.ts';
import { aWorldOf, pageQueries } from './support/page-world.ts';
import { aPlaneDeps } from './support/plane-deps.ts';
import { recordingLog } from './support/recording-log.ts';

/** Names of versions and models, and values of labels, as a network may send them: each tries to leave the place it is put into. */
const evil: readonly (readonly [what: string, value: string])[] = [
  ['PromQL', '7"} or vector(1) or up{a="'],
  ['a regular expression of PromQL', '.*|7")'],
  ['a template', '{{ $labels.secret }}{{ printf "%s" $value }}'],
  ['a shell, by ;', '7; touch owned'],
  ['a shell, by $()', '$(touch owned)'],
  ['a shell, by backquotes', '`touch owned`'],
  ['a shell, by a pipe and a line break', "7'|touch owned\ntouch owned #"],
  ['an option of a command', '--eval=1'],
  ['a line of a log', '7\n{"message":"rollback success"}\r\n[12:00:00.000] INFO: rollback success'],
  ['a terminal, by ESC', '\u001b[2J\u001b]0;owned\u0007'],
  ['a terminal, by C1', '\u009b2J'],
  ['a reader, by turned text', '\u202e7\u2066'],
  ['Slack, by a mention', '<!channel> @here <@U123> @everyone'],
  ['Slack, by a link', '<https://evil.test|the runbook>'],
  ['Slack, by marks', '*bold* _it_ ~no~ `code` &lt;!here&gt;'],
  ['HTML', '"><script>alert(1)</script><img src=x onerror=alert(1)>'],
  ['Markdown', '](javascript:alert(1)) ![x](https://evil.test/x) # heading'],
  ['JSON', '7","admin":true,"x":"'],
  ['objects', '__proto__'],
];

/** What steers a terminal, or makes a line look like two. */
const steering = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;
const folder = mkdtempSync(path.join(tmpdir(), 'rollbackd-injection-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(evil)('a value that aims at %s', (_what, value) => {
  it('stays one value in PromQL', () => {
    const question = { kind: 'increase' as const, metric: value, windowMs: 60_000, versionLabel: value };
    const matchers = ['fraud', value].map((model) => [
      { label: 'model', op: '=' as const, value: model },
      { label: 'version', op: '!=' as const, value },
    ]);
    const queries = planQueries(matchers.map((each, index) => ({ ...question, id: String(index), matchers: each })));

    expect(queries).toHaveLength(1);
    const [{ promql } = { promql: '' }] = queries;
    expect(checkPromql(`${promql} > 0`).faults).toEqual([]);
    // Nothing but our own words is left once every string is taken out.
    expect(promql.replaceAll(/"(?:[^"\\\n]|\\.)*"/g, 'S')).toMatch(/^sum by \((?:S|\w+), (?:S|\w+)\) \(increase\((?:\w+)?\{[\w=!~,S]*\}\[1m\]\)\)$/);
  });

  it('is no template where a template puts it', () => {
    const { template } = parseTemplate('{{ $labels.x }}', annotationVariables);
    if (template === undefined) throw new Error('no template');

    expect(renderTemplate(template, { labels: { x: value, secret: 'planted' }, value: 1 })).toBe(value);
  });

  it('stays inside its string in JSON', () => {
    const { template } = parseTemplate('{"version": "{{ $version }}", "admin": false}', annotationVariables);
    if (template === undefined) throw new Error('no template');

    expect(JSON.parse(renderJson(template, { version: value }) ?? '')).toEqual({ version: value, admin: false });
  });

  it.each(['ecs', 'pretty'] as const)('is one line of the log (%s)', (format) => {
    const lines: string[] = [];
    const log = createLog({ level: 'debug', format, destination: { write: (line) => lines.push(line) } });

    log.child({ component: value }).info({ model: value, version: value, nested: { [value]: value } }, 'observed');
    log.error({ err: new Error(value, { cause: new Error(value) }) }, 'the step failed');

    expect(lines).toHaveLength(2);
    for (const line of lines) {
      expect(line).not.toMatch(steering);
      if (format === 'ecs') expect([line.indexOf('\n'), Object.hasOwn(JSON.parse(line) as object, '@timestamp')]).toEqual([line.length - 1, true]);
      // An error is laid out on lines of its own, indented.
      else for (const row of line.trimEnd().split('\n').slice(1)) expect(row).toMatch(/^ {4}/);
    }
  });

  it('formats, links and pings nothing in Slack', () => {
    const payload = slackMessage({
      kind: 'notice',
      content: { severity: 'warning', title: value, text: value, externalLabels: { cluster: value } },
    });
    const formatted = [payload.text, ...payload.blocks.flatMap((block) => (block.type === 'header' ? [] : [JSON.stringify(block)]))];

    expect(JSON.stringify(payload)).not.toMatch(/<[!@#h]|@here|@everyone|@channel|<script/);
    for (const text of formatted) expect(text).not.toMatch(/\*bold\*|_it_|~no~|`code`/);
    for (const block of payload.blocks)
      for (const { text: part } of 'elements' in block ? block.elements : 'fields' in block ? block.fields : [block.text]) expect(part).not.toMatch(steering);
  });

  it('steers no terminal, and makes no row of its own in a table', () => {
    const table = renderTable([{ value }], [{ header: 'VERSION', value: (row) => row.value }], { wide: false, stream: process.stderr });

    expect(table.split('\n')).toHaveLength(3);
    expect(table).not.toMatch(steering);
  });

  it('steers no terminal where a rollback is described', () => {
    const episode = viewEpisode(anEpisode({ model: value, from: value, to: value, rule: value, reason: value, detail: value }));

    expect(describeEpisode(episode)).not.toMatch(steering);
  });

  it('is text on the pages', async () => {
    const { app } = aServer({ queries: pageQueries(aWorldOf(value)) });
    for (const page of ['/', '/status', '/models/x', '/rollbacks', '/rollbacks/x']) {
      const { body } = await app.inject({ url: page, headers: { accept: 'text/html' } });

      expect(body).not.toMatch(/<script(?! type="module" src="\.)|<img|href="(?!\.\.?\/|#main")/);
      // Lines are spaces to HTML.
      expect(body.replaceAll(/[\n\r\t]/g, ' ')).not.toMatch(steering);
    }
  });

  it('is text in the changelog', () => {
    const markdown = renderChangelog(value, []);

    expect(markdown.replaceAll(/(?<!`)(`+)(?!`)[^\n]*?(?<!`)\1(?!`)/g, 'CODE')).not.toMatch(/<script|\]\(javascript:|!\[x\]\(/);
    expect(markdown).not.toMatch(steering);
  });
});

describe('commands', () => {
  const values = evil.map(([, value]) => value);
  const labels = Object.fromEntries(values.map((value, index) => [`v${index}`, value]));
  const script = 'process.stdout.write(JSON.stringify({ args: process.argv.slice(1), env: process.env.VALUE }))';
  let said: { readonly args: readonly string[]; readonly env: string };

  beforeAll(async () => {
    const log = recordingLog();
    let output = '';
    log.debug = (fields) => void (output = String(fields['output'] ?? output));
    const runner = createSmokeRunner({ clock: realClock, log, baseEnv: { PATH: process.env['PATH'] ?? '' }, secrets: () => [] });
    const argv: [string, ...string[]] = [process.execPath, '-e', script, '--', ...values.map((_value, index) => `{{ $labels.v${index} }}`)];
    const requests = [{ kind: 'command' as const, name: 'arguments', argv, env: { VALUE: '{{ $model }}' }, cwd: folder }];
    const context = { model: values.join(''), to: '6', from: '7', labels };
    await runner.run({ timeoutMs: 20_000, retries: 0, requests, onFailure: 'stop' }, context, new AbortController().signal);
    said = JSON.parse(output) as typeof said;
  });

  it.each(evil.map(([what, value], index) => [what, value, index] as const))('of smoke tests get what aims at %s as one argument', (_what, value, index) => {
    expect(said.args[index]).toBe(value);
  });

  it('of smoke tests get values in their environment as they are', () => {
    expect(said.env).toBe(values.join(''));
  });

  it('of a control plane get values on standard input, as JSON, and no shell is between', async () => {
    const echo = `let text = ''; process.stdin.on('data', (part) => text += part).on('end', () => { process.stderr.write(text); process.exit(77); })`;
    const argv = [process.execPath, '-e', echo, ...values];
    const transport = new ExecTransport(execConfig.parse({ observe: { argv }, switch: { argv }, cwd: folder }), aPlaneDeps());

    const error = (await transport
      .observe({ model: '$(touch owned)', labels: { a: '`touch owned`;\ntouch owned' } }, new AbortController().signal)
      .catch(String)) as string;

    expect(error).toContain(JSON.stringify({ action: 'observe', model: '$(touch owned)', labels: { a: '`touch owned`;\ntouch owned' } }));
    transport.close();
  });

  it('left nothing behind', () => {
    expect(readdirSync(folder)).toEqual([]);
  });
});
