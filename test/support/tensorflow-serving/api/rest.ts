import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { create, toJson } from '@bufbuild/protobuf';
import { httpStatus, StatusError, toStatusError } from '../core/status.ts';
import { GetModelMetadataRequestSchema, SignatureDefMapSchema } from '../gen/tensorflow_serving/apis/get_model_metadata_pb.ts';
import { GetModelStatusRequestSchema, GetModelStatusResponseSchema } from '../gen/tensorflow_serving/apis/get_model_status_pb.ts';
import { type ModelSpec, ModelSpecSchema } from '../gen/tensorflow_serving/apis/model_pb.ts';
import type { ModelServer } from '../model-server.ts';
import type { ApiContext } from './context.ts';
import { infer } from './inference.ts';
import { getModelMetadata, SIGNATURE_DEF, signaturesOf } from './model-metadata.ts';
import { getModelStatus } from './model-status.ts';

/** How the REST port is set up. */
export interface RestOptions {
  timeoutMs: number;
  /** Where the metrics are; `undefined` when monitoring is off. */
  metricsPath: string | undefined;
}

interface Page {
  status: number;
  contentType: string;
  body: string;
  headers?: Record<string, string>;
}

/** What a request under /v1/ came to. `modelVersion` is known as soon as a version was asked for a prediction. */
interface Outcome {
  error?: StatusError | undefined;
  body?: unknown;
  modelVersion?: bigint | undefined;
}

interface ModelRequest {
  method: string;
  path: string;
  body: string;
  model: string;
  /** `predict`, `classify`, `regress`, or empty for a GET. */
  api: string;
  groups: Record<string, string | undefined> | undefined;
}

const SELECTOR = '(?:/versions/(?<version>\\d+)|/labels/(?<label>[^/:]+))?';
const PREDICTION_PATH = new RegExp(`^/v1/models/(?<name>[^/:]+)${SELECTOR}:(?<api>classify|regress|predict)$`, 'i');
const STATUS_PATH = new RegExp(`^/v1/models(?:/(?<name>[^/:]+))?${SELECTOR}(?:/(?<metadata>metadata))?$`, 'i');

/** Where the metrics of a gateway are, with `--extra_versioned_metrics`. */
const GATEWAY_METRICS_PATH = '/metrics';

/** Says which version answered a prediction: an aid of the double for tests and load generators, the original has none such. */
const MODEL_VERSION_HEADER = 'x-model-version';

/** The REST API and the metrics (model_servers/http_server.cc, http_rest_api_handler.cc). There is no reload here. */
export function restHandler(context: ApiContext, options: RestOptions): RequestListener {
  return (request, response) => {
    // What fails here is the connection: answers to bad requests are pages too.
    answer(context, options, request).then(
      (page) => send(response, page),
      () => response.destroy(),
    );
  };
}

async function answer(context: ApiContext, options: RestOptions, request: IncomingMessage): Promise<Page> {
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  if (path === options.metricsPath) return { status: 200, contentType: 'text/plain', body: context.metrics.render() };
  if (path === GATEWAY_METRICS_PATH && context.gatewayMetrics) {
    const { contentType, page } = await context.gatewayMetrics.render();
    return { status: 200, contentType, body: page };
  }
  if (!/^\/v1\//i.test(path)) return { status: 404, contentType: 'text/html', body: '<h1>Not Found</h1>' };
  return answerModelRequest(context, options, request.method ?? 'GET', path, await bodyOf(request));
}

/** Every request under /v1/ is counted, GETs too; only successes are timed. */
async function answerModelRequest(context: ApiContext, options: RestOptions, method: string, path: string, body: string): Promise<Page> {
  const began = performance.now();
  const pattern = { POST: PREDICTION_PATH, GET: STATUS_PATH }[method];
  const groups = pattern?.exec(path)?.groups;
  const model = decode(groups?.['name'] ?? '');
  const api = groups?.['api'] ?? '';
  const { error, body: found, modelVersion } = await outcomeOf(context, options, { method, path, body, model, api, groups });
  const elapsedMs = performance.now() - began;
  if (error === undefined) context.metrics.observeLatency(model, api, 'REST', elapsedMs * 1000);
  context.metrics.countRequest(model, error?.code ?? 'OK');
  if (method === 'POST') context.gatewayMetrics?.observe(model, { version: modelVersion, error }, elapsedMs / 1000);
  return {
    status: httpStatus(error?.code ?? 'OK'),
    contentType: 'application/json',
    body: JSON.stringify(error ? { error: error.message } : found, undefined, 4),
    headers: modelVersion === undefined ? {} : { [MODEL_VERSION_HEADER]: String(modelVersion) },
  };
}

async function outcomeOf(context: ApiContext, options: RestOptions, request: ModelRequest): Promise<Outcome> {
  const { method, path, body, model, api, groups } = request;
  try {
    if (groups === undefined) throw new StatusError('INVALID_ARGUMENT', `Malformed request: ${method} ${path}`);
    const spec = specOf(model, groups['version'], groups['label']);
    if (method === 'POST') return await predict(context.server, options, spec, api, body);
    if (model === '') throw new StatusError('INVALID_ARGUMENT', 'Missing model name in request.');
    return { body: groups['metadata'] === undefined ? statusJson(context, spec) : metadataJson(context, spec) };
  } catch (error) {
    return { error: toStatusError(error) };
  }
}

function specOf(name: string, version: string | undefined, label: string | undefined): ModelSpec {
  if (version !== undefined) {
    const number = BigInt(version);
    if (BigInt.asIntN(64, number) !== number) throw new StatusError('INVALID_ARGUMENT', `Failed to convert version: ${version} to numeric.`);
    return create(ModelSpecSchema, { name, versionChoice: { case: 'version', value: { value: number } } });
  }
  if (label !== undefined) return create(ModelSpecSchema, { name, versionChoice: { case: 'versionLabel', value: decode(label) } });
  return create(ModelSpecSchema, { name });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function statusJson({ server }: ApiContext, modelSpec: ModelSpec): unknown {
  const response = getModelStatus(server, create(GetModelStatusRequestSchema, { modelSpec }));
  return toJson(GetModelStatusResponseSchema, response, { alwaysEmitImplicit: true });
}

function metadataJson({ server }: ApiContext, spec: ModelSpec): unknown {
  const { modelSpec } = getModelMetadata(server, create(GetModelMetadataRequestSchema, { modelSpec: spec, metadataField: [SIGNATURE_DEF] }));
  const signatures = signaturesOf(server.serving(spec).behaviour);
  const asProtobuf = { alwaysEmitImplicit: true, useProtoFieldName: true };
  return {
    model_spec: toJson(ModelSpecSchema, modelSpec ?? spec, asProtobuf),
    metadata: { [SIGNATURE_DEF]: toJson(SignatureDefMapSchema, signatures, asProtobuf) },
  };
}

/** Parses before it looks for the model, as the original does: a body that is no JSON is a 400 also for a model that is not there. */
async function predict(server: ModelServer, options: RestOptions, spec: ModelSpec, api: string, body: string): Promise<Outcome> {
  if (api !== 'predict') throw new StatusError('UNIMPLEMENTED', `the double only predicts: ${api}`);
  const request = parseBody(body);
  server.serving(spec);
  const rows = rowsOf(request);

  const { version: modelVersion, error, score } = await infer(server, spec, options.timeoutMs);
  if (error) return { error, modelVersion };
  const scores = Array.from({ length: rows }, () => [score, 1 - score]);
  return { body: 'instances' in request ? { predictions: scores } : { outputs: scores }, modelVersion };
}

function parseBody(body: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    throw new StatusError('INVALID_ARGUMENT', `JSON Parse error: ${(error as Error).message}`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new StatusError('INVALID_ARGUMENT', 'When parsing request, expected a JSON object');
}

function rowsOf({ instances, inputs }: Record<string, unknown>): number {
  if (instances === undefined && inputs === undefined) throw new StatusError('INVALID_ARGUMENT', "Missing 'inputs' or 'instances' key");
  if (instances !== undefined) {
    if (Array.isArray(instances) && instances.length > 0) return instances.length;
    throw new StatusError('INVALID_ARGUMENT', "Expecting 'instances' value to be a non-empty list");
  }
  const columns = Array.isArray(inputs) ? inputs : Object.values(inputs ?? {}).find((column) => Array.isArray(column));
  return columns?.length ?? 1;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, { status, contentType, body, headers }: Page): void {
  response.writeHead(status, { 'content-type': contentType, ...headers }).end(body);
}
