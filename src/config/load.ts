import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { lookUp } from '../domain/lookup.ts';
import type { Route } from '../domain/routing.ts';
import type { RuleGroup } from '../domain/rule.ts';
import { checkActiveTimes } from '../rulefile/active-times.ts';
import type { KnownModel, RuleFileContext } from '../rulefile/context.ts';
import { type Diagnostic, hasErrors, sortDiagnostics } from '../rulefile/diagnostic.ts';
import { nearest } from '../rulefile/nearest.ts';
import { parseRuleFile, withUniqueIds } from '../rulefile/parse.ts';
import { validate, validatePart, valueAt } from '../rulefile/validate.ts';
import { YamlFile } from '../rulefile/yaml-document.ts';
import { toCalendar } from './calendar.ts';
import type { Config, JournalConfig, LeaderElectionConfig } from './config.ts';
import { environment, expandVariables } from './env.ts';
import { displayPath, expandPattern, fileDiagnostic, hashFiles, type ReadFile, readBytes } from './files.ts';
import { toLimits } from './limits-schema.ts';
import { toModel, toPolicy } from './model.ts';
import { checkModelGroups, type ListedModel, toModelGroup } from './model-groups.ts';
import { checkModelPattern } from './model-pattern.ts';
import { rollbackSchema } from './policy-schema.ts';
import { presets } from './presets/index.ts';
import { configSchema, modelSchema, type ParsedConfig, type ParsedRoute, type Registries } from './schema.ts';

/** `config` is `null` when any diagnostic is an error: settings are never taken in part. */
export type LoadResult =
  | { readonly config: Config; readonly diagnostics: readonly Diagnostic[] }
  | { readonly config: null; readonly diagnostics: readonly Diagnostic[] };

type Path = readonly PropertyKey[];
type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the daemon's file and every rule file it names. All faults of all files at once, the daemon's first; never throws
 * for what a file holds.
 * @param registries kinds and schemas of the plug-ins at hand
 */
export async function loadConfig(path: string, registries: Registries, options: { env?: Environment } = {}): Promise<LoadResult> {
  const file = resolve(path);
  const folder = dirname(file);
  const read = await readBytes(file);
  if (read.failure !== undefined) return { config: null, diagnostics: [fileDiagnostic(file, `cannot be read: ${read.failure}`)] };

  const yaml = new YamlFile(displayPath(file), read.bytes);
  const { value, plain } = validate(yaml, configSchema(registries), { folder });
  const globalLabels = expandLabels(yaml, plain, options.env ?? environment());
  const kinds = {
    source: kindsByName(yaml, plain, 'sources', registries.sources),
    plane: kindsByName(yaml, plain, 'control_planes', registries.controlPlanes),
  };
  const actuators = checkActuators(yaml, plain, kinds, registries);
  const planes = checkModels(yaml, plain, { ...kinds, actuators }, registries, folder);
  checkReceivers(yaml, plain);
  checkLeaderElection(yaml, plain);
  checkTimes(yaml, plain);
  checkNames(yaml, plain, 'groups');
  checkModelGroups(yaml, listAt(plain, ['groups']), listedModels(plain));
  await checkBodyFiles(yaml, plain);
  const ruleFiles = await readRuleFiles(yaml, plain, folder);
  const rules = readRules(ruleFiles, {
    models: knownModels(plain, kinds.source, registries),
    ...(value === null ? {} : { evaluationIntervalMs: value.global.evaluation_interval }),
  });

  const diagnostics = sortDiagnostics([...yaml.diagnostics, ...rules.diagnostics]);
  if (value === null || hasErrors(diagnostics)) return { config: null, diagnostics };
  const files: ReadFile[] = [read, ...ruleFiles];
  const modelNames = value.models.map(({ name }) => name);
  return {
    config: {
      file,
      evaluationIntervalMs: value.global.evaluation_interval,
      globalLabels,
      journal: toJournal(value.journal, folder),
      leaderElection: value.journal.postgres === undefined ? null : toLeaderElection(value.leader_election, registries),
      sources: value.sources.map((entry) => pluginConfig(entry, registries.sources)),
      controlPlanes: value.control_planes.map((entry) => pluginConfig(entry, registries.controlPlanes)),
      models: value.models.map((model, i) => toModel(model, planes[i] ?? {}, folder)),
      groups: rules.groups,
      modelGroups: value.groups.map((entry) => toModelGroup(entry, modelNames)),
      limits: toLimits(value.limits),
      calendar: toCalendar(value.freeze_windows, value.time_intervals),
      route: toRoute(value.route),
      receivers: value.receivers.map((entry) => ({
        name: entry.name,
        integrations: Object.keys(registries.receivers).flatMap((kind) => (entry[kind] as readonly unknown[]).map((settings) => ({ kind, settings }))),
      })),
      files: files.map((entry) => entry.path),
      hash: hashFiles(files),
    },
    diagnostics,
  };
}

function toJournal({ sqlite, postgres, retention }: ParsedConfig['journal'], folder: string): JournalConfig {
  if (postgres !== undefined) return { kind: 'postgres', urlFile: postgres.url_file, retentionMs: retention };
  return { kind: 'sqlite', path: sqlite?.path ?? resolve(folder, '../data/rollbackd.db'), backup: sqlite?.backup ?? null, retentionMs: retention };
}

function toLeaderElection(parsed: ParsedConfig['leader_election'], registries: Registries): LeaderElectionConfig {
  const kind = Object.keys(registries.leases).find((key) => parsed[key] !== undefined);
  const lease = kind === undefined ? null : { kind, settings: parsed[kind] };
  return { leaseDurationMs: parsed.lease_duration, renewDeadlineMs: parsed.renew_deadline, retryPeriodMs: parsed.retry_period, lease };
}

function checkLeaderElection(yaml: YamlFile, plain: unknown): void {
  if (valueAt(plain, ['leader_election']) === undefined || valueAt(plain, ['journal', 'postgres']) !== undefined) return;
  yaml.report(['leader_election'], 'stands beside journal.postgres only; one process with a file of its own has nobody to elect among', { code: 'needless' });
}

function pluginConfig(
  entry: { name: string } & Record<string, unknown>,
  kinds: Readonly<Record<string, unknown>>,
): { name: string; kind: string; settings: unknown } {
  const kind = Object.keys(kinds).find((key) => entry[key] !== undefined) ?? '';
  return { name: entry.name, kind, settings: entry[kind] };
}

function listAt(plain: unknown, path: Path): readonly unknown[] {
  const list = valueAt(plain, path);
  return Array.isArray(list) ? list : [];
}

function expandLabels(yaml: YamlFile, plain: unknown, env: Environment): Record<string, string> {
  const path = ['global', 'external_labels'];
  const given = valueAt(plain, path);
  if (typeof given !== 'object' || given === null) return {};
  const entries = Object.entries(given).map(([name, value]) => {
    const { text, missing } = expandVariables(String(value), env);
    for (const variable of missing)
      yaml.report([...path, name], `environment variable ${variable} is not set; set it, or write $$ for a $`, { code: 'environment' });
    return [name, text] as const;
  });
  return Object.fromEntries(entries);
}

/** Names of a list of plug-ins → their kind (`null`: none that we know), and the faults of names that stand twice. */
function kindsByName(yaml: YamlFile, plain: unknown, list: string, known: Readonly<Record<string, unknown>>): ReadonlyMap<string, string | null> {
  const kinds = new Map<string, string | null>();
  listAt(plain, [list]).forEach((entry, i) => {
    const name = valueAt(entry, ['name']);
    if (typeof name !== 'string') return;
    if (kinds.has(name)) repeated(yaml, [list, i, 'name'], name);
    else kinds.set(name, Object.keys(known).find((kind) => valueAt(entry, [kind]) !== undefined) ?? null);
  });
  return kinds;
}

function repeated(yaml: YamlFile, path: Path, name: string): void {
  yaml.report(path, `found ${JSON.stringify(name)} a second time, expected a name of its own`, { code: 'duplicate' });
}

function checkReference(yaml: YamlFile, path: Path, name: unknown, known: Iterable<string>, what: string): void {
  if (typeof name !== 'string') return;
  const names = [...known];
  if (names.includes(name)) return;
  const suggestion = nearest(name, names);
  yaml.report(
    path,
    `found ${JSON.stringify(name)}, expected the name of a ${what}${suggestion === null ? '' : `; did you mean "${suggestion}"?`} ${names.length === 0 ? '(there is none)' : `(there are: ${names.slice(0, 10).join(', ')})`}`,
    { code: 'unknown_name' },
  );
}

/** A registry counts no requests, and what counts requests is no registry. */
function checkSourceKind(yaml: YamlFile, path: Path, name: unknown, kinds: Kinds, registries: Registries, wantsRegistry: boolean): void {
  const kind = kinds.source.get(String(name));
  const isRegistry = typeof kind === 'string' ? registries.sources[kind]?.registry : undefined;
  if (isRegistry === undefined || isRegistry === wantsRegistry) return;
  const words = wantsRegistry
    ? 'expected a source that is a registry, of kind mlflow'
    : 'expected a source that counts requests; a registry is named under quality.source';
  yaml.report(path, `found ${JSON.stringify(name)}, ${words}`, { code: 'unknown_name' });
}

type Kinds = { readonly source: ReadonlyMap<string, string | null>; readonly plane: ReadonlyMap<string, string | null> };

/** Checks the planes that registries name to move their traffic. @returns registry → that plane */
function checkActuators(yaml: YamlFile, plain: unknown, kinds: Kinds, registries: Registries): ReadonlyMap<string, string> {
  const named = listAt(plain, ['control_planes']).flatMap((entry, i) => {
    const [name, kind] = [valueAt(entry, ['name']), kinds.plane.get(String(valueAt(entry, ['name'])))];
    const settings = typeof kind === 'string' ? valueAt(entry, [kind]) : undefined;
    const read = typeof kind === 'string' ? registries.controlPlanes[kind]?.actuator : null;
    const actuator = typeof settings === 'object' && settings !== null ? (read?.(settings) ?? null) : null;
    return typeof name === 'string' && typeof kind === 'string' && typeof actuator === 'string'
      ? [{ name, actuator, path: ['control_planes', i, kind, 'actuator'] }]
      : [];
  });
  const actuators = new Map(named.map(({ name, actuator }) => [name, actuator]));
  for (const { name, actuator, path } of named) {
    checkReference(yaml, path, actuator, kinds.plane.keys(), 'control plane');
    if (actuator === name || actuators.has(actuator))
      yaml.report(
        path,
        `found ${JSON.stringify(actuator)}, expected a control plane that moves traffic itself; ${actuator === name ? 'this is the registry' : 'that one is a registry too'}`,
        {
          code: 'unknown_name',
        },
      );
  }
  return actuators;
}

/** Keys of a plane, or of a registry together with those of the plane that moves its traffic. */
function planeKeysOf(name: string, kinds: Kinds & { readonly actuators: ReadonlyMap<string, string> }, registries: Registries): z.ZodType | undefined {
  const schemaOf = (plane: string | undefined): z.ZodType | undefined => {
    const kind = plane === undefined ? null : kinds.plane.get(plane);
    return typeof kind === 'string' ? registries.controlPlanes[kind]?.planeKeys : undefined;
  };
  const [own, ofActuator] = [schemaOf(name), schemaOf(kinds.actuators.get(name))];
  return own instanceof z.ZodObject && ofActuator instanceof z.ZodObject ? ofActuator.safeExtend(own.shape) : own;
}

/** Checks what models refer to. @returns per model its `plane` keys as the plane's schema gave them */
function checkModels(
  yaml: YamlFile,
  plain: unknown,
  kinds: Kinds & { readonly actuators: ReadonlyMap<string, string> },
  registries: Registries,
  folder: string,
): Readonly<Record<string, unknown>>[] {
  const names = new Set<string>();
  return listAt(plain, ['models']).map((model, i) => {
    const path = ['models', i];
    const name = valueAt(model, ['name']);
    if (typeof name === 'string') {
      if (names.has(name)) repeated(yaml, [...path, 'name'], name);
      names.add(name);
    }
    checkReference(yaml, [...path, 'source'], valueAt(model, ['source']), kinds.source.keys(), 'source');
    checkReference(yaml, [...path, 'control_plane'], valueAt(model, ['control_plane']), kinds.plane.keys(), 'control plane');
    checkSourceKind(yaml, [...path, 'source'], valueAt(model, ['source']), kinds, registries, false);
    checkReference(yaml, [...path, 'quality', 'source'], valueAt(model, ['quality', 'source']), kinds.source.keys(), 'source');
    checkSourceKind(yaml, [...path, 'quality', 'source'], valueAt(model, ['quality', 'source']), kinds, registries, true);
    checkVersionLabel(yaml, plain, model, path);
    const schema = planeKeysOf(String(valueAt(model, ['control_plane'])), kinds, registries);
    const keys = valueAt(model, ['plane']);
    if (schema === undefined || (keys !== undefined && (typeof keys !== 'object' || keys === null || Array.isArray(keys)))) return {};
    const parsed = validatePart(yaml, schema, keys === undefined ? {} : yaml.plain(schema, folder, [...path, 'plane']), [...path, 'plane']);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
  });
}

/**
 * A preset's metrics carry the labels they carry: with another one every answer would be empty. Only where they come whole from the preset, and unless the
 * scrape itself adds the label.
 */
function checkVersionLabel(yaml: YamlFile, plain: unknown, model: unknown, path: Path): void {
  const label = valueAt(model, ['version_label']);
  const preset = lookUp(presets, String(valueAt(model, ['preset'])));
  if (typeof label !== 'string' || !/^[a-zA-Z_]\w*$/.test(label) || valueAt(model, ['attribution']) !== undefined) return;
  if (preset?.versionLabels === undefined || preset.versionLabels.includes(label)) return;
  if (valueAt(model, ['signals', 'requests']) !== undefined) return;
  const source = listAt(plain, ['sources']).find((entry) => valueAt(entry, ['name']) === valueAt(model, ['source']));
  if (listAt(source, ['scrape', 'static_configs']).some((entry) => valueAt(entry, ['labels', label]) !== undefined)) return;
  yaml.report([...path, 'version_label'], `preset ${preset.name} has no label ${label}; ${preset.attributionHint ?? 'spell signals out'}`, {
    code: 'no_label',
  });
}

function checkReceivers(yaml: YamlFile, plain: unknown): void {
  const names = new Set<string>();
  listAt(plain, ['receivers']).forEach((entry, i) => {
    const name = valueAt(entry, ['name']);
    if (typeof name !== 'string') return;
    if (names.has(name)) repeated(yaml, ['receivers', i, 'name'], name);
    names.add(name);
  });
  const visit = (route: unknown, path: Path): void => {
    checkReference(yaml, [...path, 'receiver'], valueAt(route, ['receiver']), names, 'receiver');
    listAt(route, ['routes']).forEach((child, i) => {
      visit(child, [...path, 'routes', i]);
    });
  };
  visit(valueAt(plain, ['route']), ['route']);
}

function namesIn(plain: unknown, list: string): readonly string[] {
  return listAt(plain, [list]).flatMap((entry) => {
    const name = valueAt(entry, ['name']);
    return typeof name === 'string' ? [name] : [];
  });
}

function checkNames(yaml: YamlFile, plain: unknown, list: string): void {
  const names = new Set<string>();
  listAt(plain, [list]).forEach((entry, i) => {
    const name = valueAt(entry, ['name']);
    if (typeof name !== 'string') return;
    if (names.has(name)) repeated(yaml, [list, i, 'name'], name);
    names.add(name);
  });
}

function listedModels(plain: unknown): readonly ListedModel[] {
  return listAt(plain, ['models']).flatMap((model) => {
    const [name, mode] = [valueAt(model, ['name']), valueAt(model, ['rollback', 'mode'])];
    return typeof name === 'string' ? [{ name, mode: typeof mode === 'string' ? mode : 'dry_run' }] : [];
  });
}

/** Names of freeze windows and time intervals, and what refers to them. */
function checkTimes(yaml: YamlFile, plain: unknown): void {
  for (const list of ['time_intervals', 'freeze_windows']) checkNames(yaml, plain, list);
  const models = namesIn(plain, 'models');
  listAt(plain, ['freeze_windows']).forEach((entry, i) => {
    listAt(entry, ['models']).forEach((glob, j) => {
      if (typeof glob === 'string' && glob !== '') checkModelPattern(yaml, ['freeze_windows', i, 'models', j], glob, models);
    });
  });
  const intervals = namesIn(plain, 'time_intervals');
  listAt(plain, ['models']).forEach((model, i) => {
    const rollback = rollbackSchema.safeParse(valueAt(model, ['rollback']) ?? {}).data;
    if (rollback !== undefined) checkActiveTimes(yaml, ['models', i, 'rollback'], { written: rollback, policy: toPolicy(rollback), intervals });
  });
}

async function checkBodyFiles(yaml: YamlFile, plain: unknown): Promise<void> {
  const wanted = listAt(plain, ['models']).flatMap((model, i) =>
    listAt(model, ['smoke_test', 'requests']).flatMap((request, j) => {
      const path = valueAt(request, ['http', 'body_file']);
      return typeof path === 'string' && path !== '' ? [{ path, at: ['models', i, 'smoke_test', 'requests', j, 'http', 'body_file'] }] : [];
    }),
  );
  const found = await Promise.all(
    wanted.map(async ({ path }) =>
      stat(path).then(
        (entry) => entry.isFile(),
        () => false,
      ),
    ),
  );
  wanted.forEach(({ path, at }, i) => {
    if (found[i] !== true) yaml.report(at, `no file ${displayPath(path)}; paths are relative to the folder of this file`, { code: 'no_file' });
  });
}

async function readRuleFiles(yaml: YamlFile, plain: unknown, folder: string): Promise<ReadFile[]> {
  const paths = new Set<string>();
  for (const [i, pattern] of listAt(plain, ['rule_files']).entries()) {
    if (typeof pattern !== 'string' || pattern === '') continue;
    const found = await expandPattern(pattern, folder);
    if (found.length === 0)
      yaml.report(['rule_files', i], `no file matches ${JSON.stringify(pattern)}; paths are relative to the folder of this file`, { code: 'no_file' });
    for (const path of found) paths.add(path);
  }
  return Promise.all([...paths].sort().map(readBytes));
}

function readRules(files: readonly ReadFile[], context: RuleFileContext): { groups: readonly RuleGroup[]; diagnostics: Diagnostic[] } {
  const results = files.map((file) =>
    file.failure === undefined
      ? parseRuleFile(file.bytes, displayPath(file.path), context)
      : { groups: [], diagnostics: [fileDiagnostic(file.path, `cannot be read: ${file.failure}`)] },
  );
  return { groups: withUniqueIds(results.flatMap((result) => result.groups)), diagnostics: results.flatMap((result) => [...result.diagnostics]) };
}

/** What rules must know of the models; a model with faults of its own is known by name only, so that its rules are not blamed for it. */
function knownModels(plain: unknown, sources: Kinds['source'], registries: Registries): ReadonlyMap<string, KnownModel> {
  const known = new Map<string, KnownModel>();
  const timeIntervals = namesIn(plain, 'time_intervals');
  for (const entry of listAt(plain, ['models'])) {
    const name = valueAt(entry, ['name']);
    if (typeof name !== 'string') continue;
    const kind = sources.get(String(valueAt(entry, ['source'])));
    const promql = typeof kind === 'string' ? (registries.sources[kind]?.promql ?? null) : null;
    const model = modelSchema.safeParse(entry).data;
    if (model === undefined) {
      known.set(name, { promql, hasErrors: null, hasLatency: null, hasQuality: null, highestBucketSeconds: null, hasSmokeTest: null, policy: null });
      continue;
    }
    const preset = model.preset === undefined ? null : (presets[model.preset] ?? null);
    const ofPreset = preset?.signals({ name: '', plane: {} }) ?? null;
    known.set(name, {
      promql,
      hasErrors: (model.signals?.errors ?? ofPreset?.errors ?? null) !== null,
      hasLatency: (model.signals?.latency ?? ofPreset?.latency ?? null) !== null,
      lacks: preset?.lacks ?? {},
      highestBucketSeconds: model.signals?.latency === undefined ? (preset?.highestBucketSeconds ?? null) : null,
      bucketBoundsSeconds: model.signals?.latency === undefined ? (preset?.bucketBoundsSeconds ?? null) : null,
      hasQuality: model.quality !== undefined,
      hasSmokeTest: model.smoke_test !== undefined,
      policy: toPolicy(model.rollback),
      timeIntervals,
    });
  }
  return known;
}

function toRoute(root: ParsedConfig['route']): Route | null {
  if (root === undefined) return null;
  const route = {
    receiver: root.receiver,
    groupBy: root.group_by,
    groupWaitMs: root.group_wait,
    groupIntervalMs: root.group_interval,
    repeatIntervalMs: root.repeat_interval,
    matchers: [],
    continue: false,
  };
  return { ...route, routes: root.routes.map((child) => inherit(child, route)) };
}

function inherit(parsed: ParsedRoute, parent: Omit<Route, 'routes'>): Route {
  const route = {
    receiver: parsed.receiver ?? parent.receiver,
    groupBy: parsed.group_by ?? parent.groupBy,
    groupWaitMs: parsed.group_wait ?? parent.groupWaitMs,
    groupIntervalMs: parsed.group_interval ?? parent.groupIntervalMs,
    repeatIntervalMs: parsed.repeat_interval ?? parent.repeatIntervalMs,
    matchers: parsed.matchers,
    continue: parsed.continue,
  };
  return { ...route, routes: parsed.routes.map((child) => inherit(child, route)) };
}
