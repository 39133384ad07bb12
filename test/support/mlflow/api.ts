import type { ModelRecord, RegistryState, RunRecord, VersionRecord } from './registry-state.ts';

/** A failure as MLflow tells it. */
export class ApiFailure extends Error {
  readonly status: number;
  readonly errorCode: string;
  constructor(status: number, errorCode: string, message: string) {
    super(message);
    this.status = status;
    this.errorCode = errorCode;
  }
}

/** An answer that is a file. */
export class Artifact {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Behaviour = {
  /** As servers before the fix: an alias of a deleted version stays and leads nowhere. */
  danglingAliases: boolean;
  /** As servers before MLflow 3: no logged models. */
  withoutLoggedModels: boolean;
};

export type Call = { readonly method: string; readonly path: string; readonly query: URLSearchParams; readonly body: Readonly<Record<string, unknown>> };

const invalid = (message: string): ApiFailure => new ApiFailure(400, 'INVALID_PARAMETER_VALUE', message);
const missing = (message: string): ApiFailure => new ApiFailure(404, 'RESOURCE_DOES_NOT_EXIST', message);

/** Answers one call of the REST API as MLflow 3 on its SQL store does. @throws {ApiFailure} */
export function answer(state: RegistryState, behaviour: Behaviour, call: Call): object {
  const route = `${call.method} ${call.path}`;
  const logged = /^GET logged-models\/(.+)$/.exec(route)?.[1];
  if (logged !== undefined && !behaviour.withoutLoggedModels) return { model: loggedModel(state, decodeURIComponent(logged)) };
  switch (route) {
    case 'GET registered-models/get':
      return { registered_model: registeredModel(modelOf(state, text(call.query.get('name'), 'name'))) };
    case 'GET registered-models/alias': {
      const model = modelOf(state, text(call.query.get('name'), 'name'));
      const version = model.aliases.get(text(call.query.get('alias'), 'alias'));
      if (version === undefined) throw invalid(`Registered model alias ${call.query.get('alias')} not found.`);
      return { model_version: shownVersion(model, versionOf(model, String(version))) };
    }
    case 'POST registered-models/alias':
      return setAlias(state, call.body);
    case 'DELETE registered-models/alias':
      modelOf(state, text(call.body['name'], 'name')).aliases.delete(text(call.body['alias'], 'alias'));
      return {};
    case 'GET model-versions/get': {
      const model = modelOf(state, text(call.query.get('name'), 'name'));
      return { model_version: shownVersion(model, versionOf(model, text(call.query.get('version'), 'version'))) };
    }
    case 'GET model-versions/search':
      return searchVersions(state, call.query);
    case 'POST model-versions/set-tag': {
      const { version } = located(state, call.body);
      const [key, value] = [text(call.body['key'], 'key'), text(call.body['value'], 'value')];
      if (!/^[/\w.\- ]{1,250}$/.test(key)) throw invalid(`Invalid value "${key}" for parameter 'key' supplied.`);
      if (value.length > 5000) throw invalid(`Model version value has length ${value.length}, which exceeds the length limit of 5000`);
      version.tags.set(key, value);
      return {};
    }
    case 'DELETE model-versions/delete': {
      const { model, version } = located(state, call.body);
      version.deleted = true;
      if (!behaviour.danglingAliases) for (const [alias, to] of model.aliases) if (to === version.version) model.aliases.delete(alias);
      return {};
    }
    case 'GET /model-versions/get-artifact': {
      const version = versionOf(modelOf(state, text(call.query.get('name'), 'name')), text(call.query.get('version'), 'version'));
      const path = text(call.query.get('path'), 'path');
      if (path !== 'MLmodel' || version.modelFile === null)
        throw missing(`No such artifact: '1/models/${version.source.replace('models:/', '')}/artifacts/${path}'`);
      return new Artifact(version.modelFile);
    }
    case 'GET runs/get': {
      const run = state.runs.get(text(call.query.get('run_id'), 'run_id'));
      if (run === undefined) throw missing(`Run with id=${call.query.get('run_id')} not found`);
      return { run: shownRun(run) };
    }
    case 'POST runs/search':
      return searchRuns(state, call.body);
    default:
      throw new ApiFailure(404, 'ENDPOINT_NOT_FOUND', `API request to endpoint ${call.path} failed with error code 404 != 200.`);
  }
}

function setAlias(state: RegistryState, body: Call['body']): object {
  const { model, version } = located(state, body);
  const alias = text(body['alias'], 'alias');
  if (/^(latest|v\d+)$/i.test(alias)) throw invalid(`Version alias name '${alias}' is reserved.`);
  if (!/^[\w-]{1,255}$/.test(alias)) throw invalid(`Invalid alias name: '${alias}'.`);
  model.aliases.set(alias, version.version);
  return {};
}

/** As sqlparse finds a text and MLflow strips its quotes: a backslash in it stays, and one before the last quote runs on. */
function comparisonIn(clause: string): { key: string; value: string } | null {
  const match = /^(?:name|tags\.`([^`]+)`) ?= ?('(?:''|\\'|[^'])*'|"(?:""|\\"|[^"])*")$/.exec(clause);
  const text = match?.[2] ?? '';
  return match === null || text.endsWith(`\\${text[0]}`) ? null : { key: match[1] ?? 'name', value: text.slice(1, -1) };
}

function searchVersions(state: RegistryState, query: URLSearchParams): object {
  const name = comparisonIn(query.get('filter') ?? '')?.value;
  if (name === undefined) throw invalid(`Invalid filter '${query.get('filter')}'`);
  const model = state.models.get(name);
  const all = [...(model?.versions.values() ?? [])].filter(({ deleted }) => !deleted).toSorted((a, b) => b.version - a.version);
  const from = Number(query.get('page_token') ?? '0');
  const size = Number(query.get('max_results') ?? '200000');
  if (!(size > 0 && size <= 200_000)) throw invalid('Invalid value for max_results. It must be a positive number no greater than 200000.');
  const page = all.slice(from, from + size);
  const next = from + size < all.length ? { next_page_token: String(from + size) } : {};
  // No aliases here, ever.
  return { ...(page.length === 0 ? {} : { model_versions: page.map((version) => withoutAliases(model as ModelRecord, version)) }), ...next };
}

function searchRuns(state: RegistryState, body: Call['body']): object {
  const experiments = body['experiment_ids'];
  const filter = String(body['filter'] ?? '');
  const wanted = filter === '' ? [] : filter.split(' and ').map(comparisonIn);
  if (wanted.includes(null) || !Array.isArray(experiments)) throw invalid(`Invalid clause(s) in filter string: ${filter}`);
  const runs = [...state.runs.values()]
    .filter((run) => experiments.includes(run.experimentId) && !run.deleted)
    .filter((run) => wanted.every((clause) => run.tags.get(clause?.key ?? '') === clause?.value))
    .toSorted((a, b) => b.startMs - a.startMs)
    .slice(0, Number(body['max_results'] ?? 1000));
  return runs.length === 0 ? {} : { runs: runs.map(shownRun) };
}

function modelOf(state: RegistryState, name: string): ModelRecord {
  const model = state.models.get(name);
  if (model === undefined) throw missing(`Registered Model with name=${name} not found`);
  return model;
}

function versionOf(model: ModelRecord, version: string): VersionRecord {
  if (!/^\d+$/.test(version)) throw invalid(`Parameter 'version' must be an integer, got '${version}'.`);
  const found = model.versions.get(Number(version));
  if (found === undefined || found.deleted) throw missing(`Model Version (name=${model.name}, version=${version}) not found`);
  return found;
}

function located(state: RegistryState, body: Call['body']): { model: ModelRecord; version: VersionRecord } {
  const model = modelOf(state, text(body['name'], 'name'));
  return { model, version: versionOf(model, text(body['version'], 'version')) };
}

/** The handlers insist on texts: a version written as number is refused. */
function text(value: unknown, name: string): string {
  if (value === undefined || value === null) throw invalid(`Missing value for required parameter '${name}'.`);
  if (typeof value !== 'string')
    throw invalid(
      `Invalid value ${JSON.stringify(value)} for parameter '${name}' supplied:  Hint: Value was of type '${typeof value === 'number' ? 'int' : typeof value}'.`,
    );
  return value;
}

function registeredModel(model: ModelRecord): object {
  const newest = [...model.versions.values()].filter(({ deleted }) => !deleted).at(-1);
  const aliases = [...model.aliases].map(([alias, version]) => ({ alias, version: String(version) }));
  return {
    name: model.name,
    creation_timestamp: 1_790_000_000_000,
    ...(newest === undefined ? {} : { latest_versions: [withoutAliases(model, newest)] }),
    // Protobuf leaves out what is empty.
    ...(aliases.length === 0 ? {} : { aliases }),
  };
}

function withoutAliases(model: ModelRecord, version: VersionRecord): object {
  const tags = [...version.tags].map(([key, value]) => ({ key, value }));
  return {
    name: model.name,
    version: String(version.version),
    creation_timestamp: version.createdMs,
    current_stage: version.stage,
    description: '',
    source: version.source,
    run_id: version.runId,
    status: version.status,
    ...(version.statusMessage === '' ? {} : { status_message: version.statusMessage }),
    ...(tags.length === 0 ? {} : { tags }),
    run_link: '',
  };
}

function shownVersion(model: ModelRecord, version: VersionRecord): object {
  const aliases = [...model.aliases].filter(([, to]) => to === version.version).map(([alias]) => alias);
  return { ...withoutAliases(model, version), ...(aliases.length === 0 ? {} : { aliases }) };
}

/** The newest value of each metric, as `runs/get` shows it: NaN as text, infinity as the greatest double. */
function shownRun(run: RunRecord): object {
  const newest = new Map(run.metrics.toSorted((a, b) => a.step - b.step || a.timestamp - b.timestamp).map((metric) => [metric.key, metric]));
  const metrics = [...newest.values()].map(({ key, value, timestamp, step }) => ({ key, value: runValue(value), timestamp, step }));
  const tags = [...run.tags].map(([key, value]) => ({ key, value }));
  return {
    info: {
      run_uuid: run.id,
      run_id: run.id,
      experiment_id: run.experimentId,
      status: run.status,
      start_time: run.startMs,
      lifecycle_stage: run.deleted ? 'deleted' : 'active',
    },
    data: { ...(metrics.length === 0 ? {} : { metrics }), ...(tags.length === 0 ? {} : { tags }) },
    inputs: {},
    outputs: {},
  };
}

function runValue(value: number): number | string {
  if (Number.isNaN(value)) return 'NaN';
  return Number.isFinite(value) ? value : Math.sign(value) * Number.MAX_VALUE;
}

/** Here MLflow shows NaN as 0. */
function loggedModel(state: RegistryState, modelId: string): object {
  const metrics = [...state.runs.values()].flatMap((run) =>
    run.metrics
      .filter((metric) => metric.modelId === modelId)
      .map(({ key, value, timestamp, step }) => ({
        key,
        value: Number.isNaN(value) ? 0 : runValue(value),
        timestamp,
        step,
        model_id: modelId,
        run_id: run.id,
      })),
  );
  const exists = [...state.models.values()].some((model) => [...model.versions.values()].some(({ source }) => source === `models:/${modelId}`));
  if (metrics.length === 0 && !exists) throw missing(`Logged model with ID '${modelId}' not found.`);
  return { info: { model_id: modelId, status: 'LOGGED_MODEL_READY' }, data: metrics.length === 0 ? {} : { metrics } };
}
