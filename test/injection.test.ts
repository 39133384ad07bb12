import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { realClock } from '../src/adapters/clock/real-clock.ts';
import { execConfig } from '../src/adapters/control-planes/exec/schema.ts';
import { ExecTransport } from '../src/adapters/control-planes/exec/transport.ts';
import { haproxyKeys } from '../src/adapters/control-planes/haproxy/schema.ts';
import { nginxKeys } from '../src/adapters/control-planes/nginx/schema.ts';
import { labelSelector, selectorText } from '../src/adapters/control-planes/pod-template.ts';
import { renderJson } from '../src/adapters/control-planes/webhook/json-template.ts';
import { webhookConfig } from '../src/adapters/control-planes/webhook/schema.ts';
import { WebhookTransport } from '../src/adapters/control-planes/webhook/transport.ts';
import { pointer } from '../src/adapters/kubernetes/guarded-patch.ts';
import { selectorOf } from '../src/adapters/kubernetes/label-selector.ts';
import { resourcePath } from '../src/adapters/kubernetes/object.ts';
import { filterText } from '../src/adapters/mlflow/filter.ts';
import { slackMessage } from '../src/adapters/notify/slack/message.ts';
import { createSmokeRunner } from '../src/adapters/smoke/index.ts';
import { parseExposition } from '../src/adapters/sources/scrape/exposition.ts';
import { renderChangelog } from '../src/cli/changelog-markdown.ts';
import { describeEpisode } from '../src/cli/looks.ts';
import { renderTable } from '../src/cli/table.ts';
import { viewEpisode } from '../src/domain/episode-view.ts';
import { PlaneError } from '../src/domain/ports.ts';
import { planQueries } from '../src/domain/query-plan.ts';
import { annotationVariables, parseTemplate, renderTemplate } from '../src/domain/template.ts';
import { historyOf } from '../src/domain/version-history.ts';
import { checkPromql } from '../src/rulefile/promql.ts';
import { createLog } from '../src/telemetry/log.ts';
import { Metrics } from '../src/telemetry/metrics.ts';
import { anEpisode } from './contract/journal-builders.ts';
import { aServer } from './support/a-web-server.ts';
import { answerInProcess, type InProcessRequest } from './support/in-process-http.ts';
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
  ['a path, by dots', '..'],
  ['a path, by slashes', '../../secrets/x'],
  ['a query', '7?limit=1&labelSelector=x#y'],
  ['a JSON pointer', '~1../0~01/-'],
  ['a selector of labels', '7,app in (other),!x'],
  ['a filter of MLflow', "7' or name != '"],
  ['a filter of MLflow, by a backslash', '7\\'],
  ['a command of HAProxy', '7;disable server fraud/a'],
  ['a file of NGINX', '7; } server { listen 81; } #'],
  ['a page of metrics', '7"} 1\nup{x="'],
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

  it.each(['its head', 'a section'])('is text in the changelog, in %s', (part) => {
    const episode = anEpisode({ model: value, from: value, to: value, rule: value, reason: value, detail: value, switchedAtMs: 1 });
    const sections = historyOf({ episodes: [episode], ledger: [], quarantine: [], decisions: [] }, () => ({
      [value]: value,
      tag: `https://git.test/${value}`,
    }));
    const markdown = part === 'its head' ? renderChangelog(value, []) : renderChangelog('fraud', sections);

    // Within < and > the address of a link is literal, too.
    const code = /(?<!`)(`+)(?!`)[^\n]*?(?<!`)\1(?!`)/g;
    expect(markdown.replaceAll(code, 'CODE').replaceAll(/\]\(<https:[^<>\s]*>\)/g, 'LINK')).not.toMatch(/<script|\]\(javascript:|!\[x\]\(/);
    expect(markdown).not.toMatch(steering);
  });
});

/** What `make` gives, or `null` where it refuses the value by class. */
function unlessRefused<Value>(make: () => Value): Value | null {
  try {
    return make();
  } catch (error) {
    if (error instanceof PlaneError && error.class === 'permanent') return null;
    throw error;
  }
}

describe.each(evil)('a value that aims at %s, in what a control plane is asked', (_what, value) => {
  it('is one segment of a path of Kubernetes, or refused', () => {
    const resource = { group: 'apps', version: 'v1', resource: 'deployments' };
    for (const [namespace, name] of [
      ['shop', value],
      [value, 'fraud'],
    ] as const) {
      const path = unlessRefused(() => resourcePath(resource, namespace, name));
      if (path === null) continue;
      const url = new URL(`https://kubernetes.test${path}?limit=1`);

      expect(url.pathname.split('/').map(decodeURIComponent)).toEqual(['', 'apis', 'apps', 'v1', 'namespaces', namespace, 'deployments', name]);
      expect([url.search, url.hash]).toEqual(['?limit=1', '']);
    }
  });

  it('is one segment of a JSON pointer', () => {
    const path = pointer('metadata', 'annotations', value);

    // RFC 6901, section 4.
    const [, ...segments] = path.split('/').map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
    expect(segments).toEqual(['metadata', 'annotations', value]);
  });

  it('is one label of a selector, or refused', () => {
    for (const labels of [{ app: value }, { [value]: 'fraud' }]) {
      const text = unlessRefused(() => selectorOf({ ...labels, tier: 'a' }));
      if (text !== null) expect(text.split(',').map((term) => term.split('='))).toEqual(Object.entries({ ...labels, tier: 'a' }));
    }
    for (const expression of [
      { key: value, operator: 'Exists' },
      { key: 'app', operator: 'In', values: [value, 'b'] },
    ]) {
      const text = unlessRefused(() => selectorText(labelSelector.parse({ matchExpressions: [expression] })));
      if (text !== null) expect([value, `app in (${value},b)`]).toContain(text);
      if (text !== null) expect(value).toMatch(/^[\w.-]*$/);
    }
  });

  it('is one text in a filter of MLflow, or refused', () => {
    const text = unlessRefused(() => filterText(value));
    if (text === null) return;

    // As sqlparse finds texts.
    expect(/^(?:'(?:''|\\'|[^'])*'|"(?:""|\\"|[^"])*")/.exec(`${text} and tags.x = '7'`)?.[0]).toBe(text);
    expect(text.slice(1, -1)).toBe(value);
  });

  it('is one word of a command of HAProxy and of a file of NGINX, or refused', () => {
    const words = [
      haproxyKeys.safeParse({ weights: { backend: value, versions: { '6': [value] } } }),
      haproxyKeys.safeParse({ map: { file: value, key: value, versions: { '6': value } } }),
      nginxKeys.safeParse({ file: 'f.conf', marker: 'm', upstream: { name: value, versions: { '6': [value] } } }),
      nginxKeys.safeParse({ file: 'f.conf', marker: 'm', map: { variable: '$v', versions: { '6': { value } } } }),
    ];
    for (const { success } of words) if (success) expect(value).toMatch(/^[^\s;{}"'\\#]+$/);
    expect(nginxKeys.safeParse({ file: value, marker: 'm', map: { variable: '$v', versions: {} } }).success).toBe(false);
    expect(nginxKeys.safeParse({ file: 'f.conf', marker: 'm', map: { variable: value, versions: {} } }).success).toBe(false);
  });

  it('stays inside its place of a webhook', async () => {
    const config = webhookConfig.parse({
      observe: { url: 'http://hook.test/models/{{ $model }}?of={{ $labels.x }}' },
      switch: { url: 'http://hook.test/switch/{{ $to }}', body: '{"to": "{{ $to }}", "x": "{{ $labels.x }}", "admin": false}' },
      signing_secret: 'planted-webhook',
    });
    const sent: InProcessRequest[] = [];
    using _answers = answerInProcess((request) => {
      sent.push(request);
      return { body: JSON.stringify({ serving: [{ version: '7', share: 1 }] }) };
    });
    const transport = new WebhookTransport(config, aPlaneDeps());
    const subject = { model: value, labels: { x: value } };

    await transport.observe(subject, new AbortController().signal).catch(() => undefined);
    await transport.act({ action: 'switch', action_id: `rb_1:switch:${value}`, ...subject, from: '7', to: value, expect: null }, new AbortController().signal);
    transport.close();

    // A value that would climb the path is not sent at all.
    if (value === '..') expect(sent).toEqual([]);
    else expect(sent).toHaveLength(2);
    for (const { method, url, body } of sent) {
      expect([url.origin, url.hash]).toEqual(['http://hook.test', '']);
      const [, place, last] = url.pathname.split('/').map(decodeURIComponent);
      expect([place, last, [...url.searchParams]]).toEqual(method === 'GET' ? ['models', value, [['of', value]]] : ['switch', value, []]);
      if (method === 'POST') expect(JSON.parse(body)).toEqual({ to: value, x: value, admin: false });
    }
  });

  it('is one label of the metrics', async () => {
    const metrics = new Metrics({ version: '0' }, { processMetrics: false });
    metrics.modelPaused(value, 1_000);
    const { body } = await metrics.render();

    const models = [...parseExposition(body, { format: 'text' })].flatMap(({ labels }) => (labels['model'] === undefined ? [] : [labels['model']]));
    expect(new Set(models)).toEqual(new Set([value]));
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
