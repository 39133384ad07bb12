import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { registries } from '../../src/cli/registries.ts';
import { configSchema } from '../../src/config/schema.ts';
import { formatDiagnostics } from '../../src/rulefile/diagnostic.ts';
import { validate } from '../../src/rulefile/validate.ts';
import { YamlFile } from '../../src/rulefile/yaml-document.ts';

const secret = 'pl4nted-secret';

function shown(text: string): string {
  const yaml = new YamlFile('config.yaml', text);
  validate(yaml, configSchema(registries), { folder: null });
  expect(yaml.diagnostics.length).toBeGreaterThan(0);
  return formatDiagnostics(yaml.diagnostics) + JSON.stringify(yaml.diagnostics);
}

function withHttp(lines: string): string {
  return `sources:\n- name: prom\n  prometheus:\n    url: http://localhost:9090\n    http_config:\n${lines.replace(/^/gm, '      ')}\n`;
}

describe('a secret in a faulty file', () => {
  it.each([
    ['under password', withHttp(`basic_auth: {password: ${secret}, usr: x}`)],
    ['under a slip of password', withHttp(`basic_auth: {passwrod: ${secret}}`)],
    ['as a list', withHttp(`basic_auth: {password: [${secret}]}`)],
    ['as a map', withHttp(`basic_auth: {password: {${secret}: 1}}`)],
    ['under password_file', withHttp(`basic_auth: {password_file: [${secret}]}`)],
    ['under credentials', withHttp(`authorization: {credentials: {a: ${secret}}}`)],
    ['in a block', withHttp(`authorization:\n  credentials: |\n    first\n    ${secret}\n  typ: x`)],
    ['in a block of a broken file', withHttp(`authorization:\n  credentials: >\n    ${secret}\n type: x`)],
    ['under secrets', withHttp(`http_headers: {X-Key: {secrets: [${secret}], value: 1}}`)],
    ['in an inline key', withHttp(`tls_config: {key: ${secret}, x: 1}`)],
    ['as an alias', `x: &pw ${secret}\n${withHttp('basic_auth: {password: *pw, usr: x}')}`],
    ['that looks like an alias', withHttp(`basic_auth: {password: *${secret}, usr: x}`)],
    ['that looks like a tag', withHttp(`basic_auth: {password: !${secret}, usr: x}`)],
    ['that begins with a percent sign', withHttp(`basic_auth: {password: %${secret}, usr: x}`)],
    ['in an unclosed quote', withHttp(`basic_auth: {password: "${secret}, usr: x}`)],
    ['behind an unclosed bracket', withHttp(`basic_auth: {password: ${secret}`)],
    ['in a URL', `sources:\n- name: prom\n  prometheus: {url: 'http://me:${secret}@localhost'}\n`],
    ['in a Slack URL', `receivers:\n- name: a\n  slack_configs: [{api_url: 'https://hooks.slack.com/services/T/B/${secret}', x: 1}]\n`],
    ['in a Slack URL under another key', `receivers:\n- name: a\n  slack_configs: [{url: 'https://hooks.slack.com/services/T/B/${secret}'}]\n`],
    ['twice under one key', withHttp(`basic_auth:\n  password: ${secret}\n  password: ${secret}`)],
    [
      'as a header of a smoke test',
      `models:\n- name: m\n  smoke_test:\n    requests:\n    - {name: a, http: {url: 5, headers: {X-Api-Key: ${secret}, Authorization: [${secret}]}}}\n`,
    ],
    [
      'as an environment variable of a command',
      `models:\n- name: m\n  smoke_test:\n    requests:\n    - {name: a, command: {argv: 5, env: {API_TOKEN: ${secret}, DB_PASSWORD: [${secret}]}}}\n`,
    ],
    ['under journal url_file', `journal: {postgres: {url_file: ${secret}, sslmode: require}}\n`],
  ])('%s is never shown', (_, text) => {
    expect(shown(text)).not.toContain(secret);
  });

  it('is shown as <secret>, and the caret still stands under the fault', () => {
    const text = withHttp(`basic_auth: {password: ${secret}, usrname: x}`);

    expect(shown(text)).toContain('          basic_auth: {password: <secret>, usrname: x}\n                                           ^^^^^^^');
  });

  it('does not hide what is none', () => {
    const yaml = new YamlFile('a.yaml', 'token_count_limit_x: 5\nname: b\n');
    validate(yaml, z.strictObject({}), { folder: null });

    expect(yaml.diagnostics.at(-1)?.sourceLine).toBe('name: b');
  });
});
