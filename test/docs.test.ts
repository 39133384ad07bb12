/**
 * Holds the documents to the code: what they name exists, their examples load, their tables are written from schemas and help texts.
 * After a wanted change of a schema or a flag: npx vitest run --project unit test/docs.test.ts -u
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { isSeq, parse, parseAllDocuments, stringify } from 'yaml';
import { z } from 'zod';
import { runProgram } from '../src/cli/program.ts';
import { registries } from '../src/cli/registries.ts';
import { configJsonSchema, rulesJsonSchema } from '../src/config/json-schema.ts';
import { loadConfig } from '../src/config/load.ts';
import { loadWebConfig } from '../src/config/web-config.ts';
import { guardReasons } from '../src/domain/decision.ts';
import { episodeEnds } from '../src/domain/episode.ts';
import { annotationVariables, parseTemplate } from '../src/domain/template.ts';
import { formatDiagnostics } from '../src/rulefile/diagnostic.ts';
import { parseRuleFile } from '../src/rulefile/parse.ts';
import { checkPromql } from '../src/rulefile/promql.ts';
import { makeTestCertificate } from './support/tensorflow-serving/test-certificates.ts';

const root = path.resolve(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
/** What this test holds; docs/decisions are notes of their day, docs/metrics.md has a test of its own. */
const documents = ['README.md', 'docs/rules.md', 'docs/configuration.md', 'docs/operations.md', 'docs/architecture.md', 'docs/cli.md', 'docs/threat-model.md'];

// ---- Markdown

type Block = { readonly file: string; readonly line: number; readonly language: string; readonly mark: string; readonly text: string };

/** Fenced blocks; the word behind the language says what a block is: `yaml rules`. */
function blocksOf(file: string): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; language: string; mark: string; lines: string[] } | null = null;
  for (const [index, line] of read(file).split('\n').entries()) {
    const fence = /^```(\S*) ?(.*)$/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === null) open = { line: index + 1, language: fence[1] ?? '', mark: fence[2] ?? '', lines: [] };
    else {
      blocks.push({ file, line: open.line, language: open.language, mark: open.mark, text: `${open.lines.join('\n')}\n` });
      open = null;
    }
  }
  expect(open, `${file}: a fence is not closed`).toBeNull();
  return blocks;
}

const allBlocks = documents.flatMap(blocksOf);
const blocksMarked = (mark: string): [string, Block][] =>
  allBlocks.filter((block) => block.mark === mark).map((block) => [`${block.file}:${block.line}`, block]);

function withoutBlocks(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```$/gm, '');
}

/** As GitHub makes them. */
function anchorsOf(file: string): Set<string> {
  const headings = withoutBlocks(read(file)).matchAll(/^#{1,6} (.+)$/gm);
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** Rows of the first table below a heading, without its head; cells trimmed. */
function tableBelow(file: string, heading: string): string[][] {
  const from = read(file).split(new RegExp(`^#+ ${heading}$`, 'm'))[1] ?? '';
  const lines = from.slice(from.indexOf('\n|')).trimStart().split('\n');
  const end = lines.findIndex((line) => !line.startsWith('|'));
  return lines.slice(2, end === -1 ? undefined : end).map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const codeIn = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);

// ---- tables from JSON Schemas

type Schema = {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema | readonly Schema[];
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly $ref?: string;
  readonly definitions?: Readonly<Record<string, Schema>>;
};

const configFile = configJsonSchema(registries) as Schema;
const ruleFile = rulesJsonSchema() as Schema;
const planeKeys = (kind: string): Schema =>
  z.toJSONSchema(registries.controlPlanes[kind]?.planeKeys ?? z.never(), { target: 'draft-7', io: 'input', unrepresentable: 'any' }) as Schema;

/** Settings that stand in several places and are told in one. */
const shared: Readonly<Record<string, string>> = {
  http_config: 'sources[].prometheus.http_config',
  tls_config: 'sources[].prometheus.http_config.tls_config',
};

/** Where the tables of docs/configuration.md begin; each goes down to where another begins. */
const configTables = [
  '',
  'global',
  'journal',
  'leader_election',
  'sources[]',
  'sources[].mlflow',
  'sources[].prometheus',
  'sources[].scrape',
  'http_config',
  'tls_config',
  'control_planes[]',
  'control_planes[].mlflow',
  'control_planes[].seldon_v1',
  'control_planes[].seldon_v2',
  'control_planes[].seldon_v2.scheduler',
  'control_planes[].kserve',
  'control_planes[].webhook',
  'control_planes[].exec',
  'control_planes[].haproxy',
  'control_planes[].nginx',
  'control_planes[].kubernetes_deployment',
  'control_planes[].kubernetes_service',
  'control_planes[].argo_rollouts',
  'control_planes[].gateway_api',
  'control_planes[].istio',
  'control_planes[].ingress_nginx',
  'control_planes[].tensorflow_serving',
  'control_planes[].tensorflow_serving.model_config_list[]',
  'models[]',
  'models[].signals',
  'models[].rollback',
  'models[].smoke_test',
  'models[].retention',
  'route',
  'route.routes[]',
  'receivers[]',
  'receivers[].slack_configs[]',
];

function elementOf(schema: Schema | undefined): Schema | undefined {
  const items = schema?.items;
  return Array.isArray(items) ? undefined : (items as Schema | undefined);
}

/** The schema at `models[].rollback`; a map's values stand at `.*`. */
function schemaAt(top: Schema, place: string): Schema {
  if (place === 'route.routes[]') return top.definitions?.['route'] ?? {};
  if (place.startsWith('condition.')) return schemaAt(ruleFile.definitions?.['condition'] ?? {}, place.slice('condition.'.length));
  let schema: Schema | undefined = top;
  for (const step of (shared[place] ?? place).split('.').filter((name) => name !== '')) {
    schema = schema?.properties?.[step.replace('[]', '')];
    if (step.endsWith('[]')) schema = elementOf(schema);
  }
  if (schema === undefined) throw new Error(`no schema at ${place}`);
  return schema;
}

type Row = { readonly key: string; readonly schema: Schema; readonly isRequired: boolean };

/** Every key below `schema`, in order; `stops` are told elsewhere. */
function rowsOf(schema: Schema, prefix: string, stops: (full: string, key: string) => boolean): Row[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]): Row[] => {
    const key = `${prefix}${name}`;
    const row = { key, schema: property, isRequired: schema.required?.includes(name) === true };
    const { additionalProperties: values } = property;
    const element = elementOf(property);
    return [
      row,
      ...(stops(key, name) ? [] : rowsOf(property, `${key}.`, stops)),
      ...(element === undefined || stops(`${key}[]`, name) ? [] : rowsOf(element, `${key}[].`, stops)),
      ...(typeof values === 'object' && !stops(key, name) ? rowsOf(values, `${key}.*.`, stops) : []),
    ];
  });
}

function typeOf(schema: Schema): string {
  if (schema.enum !== undefined) return schema.enum.map(String).join(' | ');
  if (schema.const !== undefined) return String(schema.const);
  const written = schema.anyOf?.find((choice) => choice.pattern !== undefined)?.pattern ?? '';
  if (written.startsWith('^(0|([0-9]+y)')) return 'duration';
  if (written.endsWith('%$')) return 'ratio';
  if (schema.anyOf !== undefined) return schema.anyOf.map(choiceOf).join(' | ');
  if (schema.type === 'integer') return `whole number${rangeOf(schema)}`;
  if (schema.type === 'number') return `number${rangeOf(schema)}`;
  if (schema.type === 'boolean') return 'true | false';
  if (schema.type === 'array') return 'list';
  if (schema.type === 'object') return 'map';
  if (schema.$ref !== undefined || 'allOf' in schema) return 'list';
  return 'text';
}

function choiceOf(choice: Schema): string {
  if (choice.const !== undefined) return String(choice.const);
  return choice.properties === undefined ? typeOf(choice) : `{${Object.keys(choice.properties).join()}}`;
}

function rangeOf({ minimum, maximum }: Schema): string {
  if (minimum !== undefined && maximum !== undefined) return `, ${minimum} to ${maximum}`;
  return minimum === undefined ? '' : `, ${minimum} or more`;
}

/** A description says its default in its last sentence. */
function meaningOf({ schema, isRequired }: Row): { meaning: string; fallback: string } {
  const text = schema.description ?? '';
  const split = /^(.*?)\s*Default: (.*?)\.?$/s.exec(text);
  if (split !== null) return { meaning: split[1] ?? '', fallback: split[2] ?? '' };
  const required = /^(.*?)\s*(Required[^.]*)\.$/s.exec(text);
  if (required !== null) return { meaning: required[1] ?? '', fallback: (required[2] ?? '').toLowerCase() };
  return { meaning: text.replace(/\s*No default\.$/, ''), fallback: isRequired ? 'required' : '' };
}

/** `|` would end the cell; GitHub reads `$…$` as mathematics. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll(/\{\{ \$[\w.]+ \}\}|\$\{\w+\}|\$\$/g, (code) => `\`${code}\``);

function tableOf(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const { meaning, fallback } = meaningOf(row);
    const isOurs = meaning.startsWith('+ ');
    return `| \`${row.key}\`${isOurs ? ' +' : ''} | ${cell(typeOf(row.schema))} | ${cell(fallback)} | ${cell(isOurs ? meaning.slice(2) : meaning)} |`;
  });
  return ['| key | type | default | meaning |', '|---|---|---|---|', ...lines].join('\n');
}

function configTable(place: string): string {
  const isShared = (key: string): boolean => Object.hasOwn(shared, key);
  const start = place === '' ? '' : `${place}.`;
  const stops = (full: string, key: string): boolean => isShared(key) || configTables.includes(`${start}${full}`);
  return tableOf(rowsOf(schemaAt(configFile, place), '', stops));
}

const group = ruleFile.definitions?.['group'] ?? {};
const rule = schemaAt(group, 'rules[]');
/** Keys that error_ratio and latency have in common beside `detect: sequential`. */
const isOfDetector = ({ key }: Row): boolean => /^(healthy|false_alarms|burst|severe|bound)\b/.test(key);
const ruleTables: Readonly<Record<string, () => string>> = {
  group: () => tableOf(rowsOf(group, '', (full) => full.startsWith('rules'))),
  rule: () => tableOf(rowsOf(rule, '', (full) => full === 'condition' || full === 'rollback')),
  error_ratio: () => tableOf(rowsOf(schemaAt(rule, 'condition.error_ratio'), '', () => false).filter((row) => !isOfDetector(row))),
  latency: () => tableOf(rowsOf(schemaAt(rule, 'condition.latency'), '', () => false).filter((row) => !isOfDetector(row))),
  sequential: () => tableOf(rowsOf(schemaAt(rule, 'condition.latency'), '', () => false).filter(isOfDetector)),
  request_rate: () => tableOf(rowsOf(schemaAt(rule, 'condition.request_rate'), '', () => false)),
  while_others: () => tableOf(rowsOf(schemaAt(rule, 'condition.while_others'), '', () => false)),
  quality: () => tableOf(rowsOf(schemaAt(rule, 'condition.quality'), '', () => false)),
  burn_rate: () => tableOf(rowsOf(schemaAt(rule, 'condition.burn_rate'), '', () => false)),
};

// ---- the program's help

type HelpItem = { readonly term: string; readonly text: string };
type Help = { readonly usage: string; readonly about: string; readonly sections: Readonly<Record<string, readonly HelpItem[]>> };

async function askHelp(words: readonly string[]): Promise<Help> {
  const written: string[] = [];
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  const code = await runProgram(['node', 'rollbackd', ...words, '--help']).finally(() => spy.mockRestore());
  expect(code).toBe(0);
  return readHelp(written.join(''));
}

function readHelp(text: string): Help {
  const [head = '', ...parts] = text.trimEnd().split(/^(Arguments|Options|Commands):$/m);
  const sections: Record<string, HelpItem[]> = {};
  for (let index = 0; index < parts.length; index += 2) {
    const items: { term: string; text: string }[] = [];
    for (const line of (parts[index + 1] ?? '').split(/\n(?=\S)/)[0]?.split('\n') ?? []) {
      const start = /^ {2}(\S.*?)(?: {2,}(\S.*))?$/.exec(line);
      const last = items.at(-1);
      if (start !== null) items.push({ term: start[1] ?? '', text: start[2] ?? '' });
      else if (last !== undefined && line.trim() !== '') last.text = `${last.text} ${line.trim()}`.trim();
    }
    sections[parts[index] ?? ''] = items;
  }
  const [usage = '', ...about] = head.trim().split('\n\n');
  return { usage: usage.replace(/^Usage: /, '').replaceAll(/\s+/g, ' '), about: about.join(' ').replaceAll(/\s+/g, ' '), sections };
}

/** Every command by its words (`get models`); those that only hold others too. */
const commands = new Map<string, Help>();

async function walkCommands(words: readonly string[]): Promise<void> {
  const help = await askHelp(words);
  commands.set(words.join(' '), help);
  for (const { term } of help.sections['Commands'] ?? []) {
    const name = term.split(' ')[0] ?? '';
    if (name !== 'help') await walkCommands([...words, name]);
  }
}

const isLeaf = (help: Help): boolean => help.sections['Commands'] === undefined;

function helpTable(name: string): string {
  const help = commands.get(name);
  if (help === undefined) throw new Error(`docs/cli.md: rollbackd has no command "${name}"`);
  const items = [...(help.sections['Arguments'] ?? []), ...(help.sections['Options'] ?? [])].filter(({ term }) => term !== '-h, --help');
  const rows = items.map(({ term, text }) => `| \`${cell(term)}\` | ${cell(text)} |`);
  return [`\`${help.usage}\`: ${help.about}`, ...(rows.length === 0 ? [] : ['', '| argument, flag | meaning |', '|---|---|', ...rows])].join('\n');
}

const table = /<!-- table: (\w+) ?(.*?) -->\n[\s\S]*?<!-- \/table -->/g;

function withFreshTables(file: string): string {
  const render: Readonly<Record<string, (name: string) => string>> = {
    config: configTable,
    plane: (kind) => tableOf(rowsOf(planeKeys(kind), '', () => false)),
    rules: (name) => ruleTables[name]?.() ?? `no table ${name}`,
    help: helpTable,
  };
  return read(file).replaceAll(table, (_whole, kind: string, name: string) => {
    const space = name === '' ? '' : ' ';
    return `<!-- table: ${kind}${space}${name} -->\n${render[kind]?.(name) ?? `no tables ${kind}`}\n<!-- /table -->`;
  });
}

const tablesIn = (file: string): string[] => [...read(file).matchAll(table)].map(([, kind, name]) => `${kind} ${name}`.trim());

/** Whether the words after `rollbackd` are a command with flags it has. */
function expectCommand(line: string, called: string): void {
  const words = called.split(/\s+/).filter((word) => word !== '' && word !== '--');
  let name = '';
  for (const word of words) {
    const next = `${name} ${word}`.trim();
    if (!commands.has(next)) break;
    name = next;
  }
  expect(name, `no command in: ${line}`).not.toBe('');
  const flags = (commands.get(name)?.sections['Options'] ?? []).flatMap(({ term }) => term.split(/[ ,]+/).filter((word) => word.startsWith('-')));
  for (const flag of words.filter((word) => /^--?[a-z]/.test(word)).map((word) => word.split('=')[0] ?? '')) expect(flags, line).toContain(flag);
}

// ---- tests

beforeAll(async () => await walkCommands([]));

describe('the threat model', () => {
  it('claims only what a test holds that is there', () => {
    const rows = tableBelow('docs/threat-model.md', 'What is defended');

    expect(rows.length).toBeGreaterThan(10);
    for (const [attack = '', , test = ''] of rows) {
      const files = codeIn(test).filter((name) => name !== '');
      expect(files.length, attack).toBeGreaterThan(0);
      for (const file of files) expect(existsSync(path.join(root, file)), file).toBe(true);
    }
  });
});

describe('tables', () => {
  it.each(['docs/configuration.md', 'docs/rules.md', 'docs/cli.md'])('of %s are those of the code', async (file) => {
    await expect(withFreshTables(file)).toMatchFileSnapshot(path.join(root, file));
  });

  it('of docs/configuration.md hold every key of the schema, and nothing else', () => {
    const planes = Object.keys(registries.controlPlanes).map((kind) => `plane ${kind}`);

    expect(tablesIn('docs/configuration.md').toSorted()).toEqual([...configTables.map((place) => `config ${place}`.trim()), ...planes].toSorted());
    const kinds = [
      ...Object.keys(registries.sources).map((kind) => `sources[].${kind}`),
      ...Object.keys(registries.receivers).map((kind) => `receivers[].${kind}[]`),
    ];
    for (const kind of [...kinds, ...Object.keys(registries.controlPlanes).map((name) => `control_planes[].${name}`)]) expect(configTables).toContain(kind);
  });

  it('tell once what stands in several places', () => {
    const without = (schema: Schema): unknown => JSON.parse(JSON.stringify({ ...schema, description: '' }));
    const places = rowsOf(configFile, '', () => false);
    for (const [name, place] of Object.entries(shared)) {
      const found = places.filter(({ key }) => key.split('.').at(-1) === name);
      expect(found.length).toBeGreaterThan(1);
      for (const { schema } of found) expect(without(schema)).toEqual(without(schemaAt(configFile, place)));
    }
    expect(without(schemaAt(rule, 'rollback'))).toEqual(without(schemaAt(configFile, 'models[].rollback')));
  });

  it('of docs/rules.md are all there', () => {
    expect(tablesIn('docs/rules.md').toSorted()).toEqual(
      Object.keys(ruleTables)
        .map((name) => `rules ${name}`)
        .toSorted(),
    );
    expect(Object.keys(ruleFile.definitions?.['condition']?.properties ?? {})).toEqual(expect.arrayContaining(['error_ratio', 'all', 'any']));
    // Lists of conditions have no keys of their own.
    const signals = Object.keys(ruleFile.definitions?.['condition']?.properties ?? {}).filter((key) => key !== 'all' && key !== 'any');
    expect(signals.every((signal) => Object.hasOwn(ruleTables, signal))).toBe(true);
  });

  it('of docs/cli.md hold every command', () => {
    const leaves = [...commands].filter(([, help]) => isLeaf(help)).map(([name]) => `help ${name}`);

    expect(tablesIn('docs/cli.md').toSorted()).toEqual(leaves.toSorted());
    expect(leaves.length).toBeGreaterThan(15);
  });
});

describe('examples', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'rollbackd-docs-'));
  mkdirSync(path.join(folder, 'config/smoke'), { recursive: true });
  mkdirSync(path.join(folder, 'rules'));
  writeFileSync(path.join(folder, 'config/smoke/fraud.json'), '{}');
  afterAll(() => rmSync(folder, { recursive: true }));

  const base = {
    sources: [
      { name: 'prom', prometheus: { url: 'http://127.0.0.1:9090' } },
      { name: 'direct', scrape: { static_configs: [{ targets: ['127.0.0.1:8501'] }] } },
    ],
    control_planes: [{ name: 'tfs', tensorflow_serving: { endpoints: ['127.0.0.1:8500'], model_config_file: '/models/models.config' } }],
  };
  const baseModel = { name: 'fraud-detector', source: 'prom', control_plane: 'tfs', preset: 'tensorflow-serving' };

  async function faultsOf(settings: object): Promise<string> {
    writeFileSync(path.join(folder, 'rules/rules.yaml'), 'groups: []\n');
    const file = path.join(folder, 'config/rollbackd.yaml');
    writeFileSync(file, stringify(settings));
    return formatDiagnostics((await loadConfig(file, registries, { env: { CLUSTER: 'prod-eu1' } })).diagnostics);
  }

  it.each(blocksMarked('rules'))('%s: the rules load without a fault or lint', (place, block) => {
    const { diagnostics, groups } = parseRuleFile(block.text, place);

    expect(formatDiagnostics(diagnostics)).toBe('');
    expect(groups.flatMap(({ rules }) => rules).length).toBeGreaterThan(0);
  });

  it.each(blocksMarked('config'))('%s: the settings load', async (_place, block) => {
    const settings = parse(block.text) as {
      readonly groups?: readonly { readonly together?: string[]; readonly ordered?: string[]; readonly hold_peers?: string[] }[];
    };
    const named = (settings.groups ?? []).flatMap(({ together = [], ordered = [], hold_peers = [] }) => [...together, ...ordered, ...hold_peers]);
    const models = named.map((name) => ({ ...baseModel, name: name.replace('*', 'eu') }));

    expect(await faultsOf({ ...base, models, ...settings })).toBe('');
  });

  it.each(blocksMarked('model'))('%s: the keys of a model load', async (_place, block) => {
    expect(await faultsOf({ ...base, models: [{ ...baseModel, ...(parse(block.text) as object) }] })).toBe('');
  });

  it.each(blocksMarked('web'))('%s: the web configuration loads', async (_place, block) => {
    const { cert, key } = makeTestCertificate('server');
    for (const [name, text] of Object.entries({ 'tls.crt': cert, 'tls.key': key, 'clients-ca.crt': cert, 'web.yaml': block.text }))
      writeFileSync(path.join(folder, name), text);

    expect(formatDiagnostics((await loadWebConfig(path.join(folder, 'web.yaml'))).diagnostics)).toBe('');
  });

  it.each(blocksMarked('prometheus'))('%s: the alerts are PromQL on metrics that exist', (_place, block) => {
    const { groups } = parse(block.text) as { groups: { rules: { alert: string; expr: string }[] }[] };
    for (const { alert, expr } of groups.flatMap(({ rules }) => rules)) expect(checkPromql(expr).faults, alert).toEqual([]);
  });

  it.each(blocksMarked('kubernetes'))('%s: the manifests are YAML', (_place, block) => {
    const manifests = parseAllDocuments(block.text);

    expect(manifests.flatMap(({ errors }) => errors)).toEqual([]);
    for (const manifest of manifests) {
      expect(manifest.toJS()).toMatchObject({ apiVersion: expect.any(String), kind: expect.any(String) });
      const args = manifest.getIn(['spec', 'template', 'spec', 'containers', 0, 'args']);
      if (isSeq(args)) expectCommand(block.text, (args.toJSON() as string[]).join(' '));
    }
  });

  it('that are faulty give the message that stands behind them', () => {
    const faulty = allBlocks.filter(({ mark }) => mark.startsWith('faulty '));
    for (const block of faulty) {
      const answer = allBlocks[allBlocks.indexOf(block) + 1];
      const { diagnostics } = parseRuleFile(block.text, block.mark.slice('faulty '.length));
      expect(`${formatDiagnostics(diagnostics)}\n`).toBe(answer?.text);
    }
    expect(faulty.length).toBeGreaterThan(0);
  });

  it('in docs/rules.md use every key of a rule file', () => {
    const used = blocksOf('docs/rules.md')
      .filter(({ mark }) => mark === 'rules')
      .map(({ text }) => text)
      .join('\n');
    const keys = [...Object.keys(group.properties ?? {}), ...rowsOf(rule, '', (full) => full === 'rollback').map(({ key }) => key.split('.').at(-1) ?? '')];

    for (const key of keys) expect(used, key).toMatch(new RegExp(`(^|[\\s{,-])${key}:`));
  });

  it('are all marked: a YAML block says what it is', () => {
    const known = /^(rules|config|model|prometheus|kubernetes|filebeat|web|faulty \S+)$/;

    expect(allBlocks.filter(({ language, mark }) => language === 'yaml' && !known.test(mark)).map(({ file, line }) => `${file}:${line}`)).toEqual([]);
  });
});

describe('what the documents name', () => {
  const prose = documents.map((file) => [file, read(file)] as const);

  it.each(documents)('%s: its links lead somewhere', (file) => {
    const links = withoutBlocks(read(file)).matchAll(/\]\(([^)\s]+)\)/g);
    for (const [, link = ''] of links) {
      if (/^https?:/.test(link)) continue;
      const [target = '', anchor] = link.split('#');
      const aim = target === '' ? file : path.posix.join(path.posix.dirname(file), target);
      expect(statSync(path.join(root, aim), { throwIfNoEntry: false }), `${file}: ${link}`).toBeDefined();
      if (anchor !== undefined) expect([...anchorsOf(aim)], `${file}: ${link}`).toContain(anchor);
    }
  });

  it.each(documents)('%s: its commands exist, with their flags', (file) => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const lines = [
      ...blocksOf(file)
        .filter(({ language }) => ['sh', 'text', 'ini'].includes(language))
        .flatMap(({ text }) => text.replaceAll(/\\\n */g, '').split('\n')),
      ...[...withoutBlocks(read(file)).matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code),
    ];
    for (const line of lines) {
      for (const [, script = ''] of line.matchAll(/npm run (?:-s )?([\w:-]+)/g)) expect(Object.keys(scripts), line).toContain(script);
      const called = /(?:^|[\s$&|])(?:rollbackd|npm run -s rollbackd --|npm run(?= demo)|\S+\/main\.[jt]s) (?:-- )?([a-z][^#|&]*)/.exec(line)?.[1];
      if (called !== undefined && /^(?:\$ )?(?:rollbackd|npm|docker|kubectl|alias|\S*node|ExecStart=)/.test(line)) expectCommand(line, called);
    }
  });

  it('metrics', () => {
    const known = new Set([...read('docs/metrics.md').matchAll(/`(rollbackd_\w+)`/g)].map(([, name]) => name));
    for (const [file, text] of prose) {
      for (const [name] of text.matchAll(/\brollbackd_[a-z_]+[a-z]\b/g))
        expect(known.has(name.replace(/_(bucket|sum|count)$/, '')), `${file}: ${name}`).toBe(true);
    }
  });

  it('guards, in their order', () => {
    expect(tableBelow('docs/operations.md', 'The guards').map(([name = '']) => codeIn(name)[0])).toEqual([...guardReasons]);
  });

  it('ends of an episode, in words that the code says', () => {
    const rows = tableBelow('docs/operations.md', 'Every end');
    const said = ['src/app/episode-runner.ts', 'src/app/actions.ts', 'src/app/episode-opening.ts', 'src/domain/group-rollback.ts'].map(read).join('\n');

    expect(new Set(rows.flatMap(([state = '']) => codeIn(state)))).toEqual(new Set(episodeEnds));
    for (const [, , words = ''] of rows) for (const fragment of codeIn(words)) expect(said, fragment).toContain(fragment);
  });

  it('lints, all of them', () => {
    const codes = [...read('src/rulefile/lint.ts').matchAll(/code: '(\w+)'/g)].map(([, code = '']) => code);

    expect(
      tableBelow('docs/rules.md', 'Lints')
        .flatMap(([name = '']) => codeIn(name))
        .toSorted(),
    ).toEqual([...new Set(codes)].toSorted());
  });

  it('functions of templates, all of them', () => {
    const known = /known: (.*)$/.exec(parseTemplate('{{ nosuchfunction 1 }}', annotationVariables).fault?.message ?? '')?.[1]?.split(', ');

    expect(
      tableBelow('docs/rules.md', 'Templates')
        .flatMap(([name = '']) => codeIn(name))
        .toSorted(),
    ).toEqual(known?.toSorted());
  });

  it('folders and files of the repository', () => {
    for (const [file, text] of prose) {
      for (const [, code = ''] of withoutBlocks(text).matchAll(/`((?:src|test|config|rules|schema|docs|scripts|bench)\/[\w./-]+)`/g))
        expect(statSync(path.join(root, code), { throwIfNoEntry: false }), `${file}: ${code}`).toBeDefined();
    }
    const folders = readdirSync(path.join(root, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const { name } of folders) expect(read('docs/architecture.md')).toContain(`\`src/${name}\``);
  });

  it('no place of one machine, and no host but examples', () => {
    for (const [file, text] of prose) {
      expect(text, file).not.toMatch(/(?<![\w.])\/(?:work|root|home|Users)\//);
      const hosts = [...text.matchAll(/https?:\/\/([\w.-]+)/g)].map(([, host = '']) => host);
      expect(
        hosts.filter((host) => !/^(127\.0\.0\.1|localhost|[a-z0-9-]+(\.[a-z-]+\.svc)?|(\w+\.)*example\.org|hooks\.slack\.com|prometheus\.io)$/.test(host)),
        file,
      ).toEqual([]);
    }
  });

  it('README.md leads to the README of every kind of control plane', () => {
    for (const kind of Object.keys(registries.controlPlanes))
      expect(read('README.md')).toContain(`[\`${kind}\`](src/adapters/control-planes/${kind.replaceAll('_', '-')}/README.md)`);
  });

  it('shows a rollback in twelve lines on the first screen', () => {
    const [shown] = blocksOf('README.md');

    expect(shown?.text.trimEnd().split('\n')).toHaveLength(12);
    expect(shown?.line).toBeLessThan(15);
  });
});
