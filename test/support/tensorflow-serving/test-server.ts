import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { type Flags, parseFlags } from './flags.ts';
import { CodeSchema } from './gen/tensorflow/core/protobuf/error_codes_pb.ts';
import { ModelVersionStatus_StateSchema as StateSchema } from './gen/tensorflow_serving/apis/get_model_status_pb.ts';
import { ModelService } from './gen/tensorflow_serving/apis/model_service_pb.ts';
import { PredictionService } from './gen/tensorflow_serving/apis/prediction_service_pb.ts';
import { ModelServerConfigSchema } from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import { type ModelEntry, type ModelRepository, type ModelVersions, makeModelRepository } from './model-repository.ts';
import { serve } from './serve.ts';
import { parseTextProto } from './text-proto/text-proto.ts';

/** The double in this process, on free ports of loopback, and its clients. */
export interface TestServer extends AsyncDisposable {
  repository: ModelRepository;
  rest: string;
  grpcUrl: string;
  modelService: Client<typeof ModelService>;
  predictionService: Client<typeof PredictionService>;
  log: () => string;
  /** Replaces the list of models. */
  reload: (models: ModelEntry[], options?: { timeoutMs?: number }) => Promise<void>;
  /** State of every version of a model in the order of the answer, e.g. `v2 AVAILABLE, v1 END INTERNAL`. */
  states: (model: string) => Promise<string>;
  /** The version that answers a request without a version, or with this one or this label. */
  serving: (model: string, selector?: number | string) => Promise<number>;
}

/** Fast times, and no retries of loading; everything else as in the original. */
const FAST = { port: 0, rest_api_port: 0, file_system_poll_wait_seconds: 0.03, manage_state_interval_micros: 10_000, max_num_load_retries: 0 };

/**
 * Starts a server on a repository of its own.
 * @param boot the models of its configuration file; default: every model of the repository with the default policy
 */
export async function startTestServer(versions: ModelVersions, flags: Partial<Flags> = {}, boot?: ModelEntry[]): Promise<TestServer> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'tensorflow-serving-double-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const repository = await makeModelRepository(join(folder, 'models'), versions);
  const configFile = join(folder, 'models.config');
  await writeFile(configFile, repository.configText(boot ?? Object.keys(versions).map((name) => ({ name }))));
  const monitoringFile = join(folder, 'monitoring.config');
  await writeFile(monitoringFile, 'prometheus_config { enable: true }');

  const lines: string[] = [];
  const allFlags = { ...parseFlags([]), ...FAST, model_config_file: configFile, monitoring_config_file: monitoringFile, ...flags };
  const ports = await serve(
    allFlags,
    (close) => stack.defer(close),
    (line) => lines.push(line),
  );
  const grpcUrl = `http://127.0.0.1:${ports.grpc}`;
  const transport = createGrpcTransport({ baseUrl: grpcUrl });
  const modelService = createClient(ModelService, transport);
  const predictionService = createClient(PredictionService, transport);
  const owned = stack.move();
  return {
    repository,
    rest: `http://127.0.0.1:${ports.rest}`,
    grpcUrl,
    modelService,
    predictionService,
    log: () => lines.join('\n'),
    reload: async (models, options = {}) => {
      const config = parseTextProto(ModelServerConfigSchema, repository.configText(models));
      await modelService.handleReloadConfigRequest({ config }, options);
    },
    states: async (model) => {
      const { modelVersionStatus } = await modelService.getModelStatus({ modelSpec: { name: model } });
      const texts = modelVersionStatus.map(({ version, state, status }) => {
        const error = status?.errorCode ? ` ${CodeSchema.value[status.errorCode]?.name}` : '';
        return `v${version} ${StateSchema.value[state]?.name}${error}`;
      });
      return texts.join(', ');
    },
    serving: async (model, selector) => {
      const { modelSpec } = await predictionService.getModelMetadata({
        modelSpec: { name: model, versionChoice: choose(selector) },
        metadataField: ['signature_def'],
      });
      return Number(modelSpec?.versionChoice.case === 'version' ? modelSpec.versionChoice.value.value : Number.NaN);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function choose(selector: number | string | undefined) {
  if (typeof selector === 'number') return { case: 'version', value: { value: BigInt(selector) } } as const;
  if (typeof selector === 'string') return { case: 'versionLabel', value: selector } as const;
  return { case: undefined };
}

/** Asks again and again until the answer is the wanted one; after 5 s returns what it was last. */
export async function eventually<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  const deadline = performance.now() + 5000;
  for (;;) {
    const answer = await ask();
    if (wanted(answer) || performance.now() > deadline) return answer;
    await sleep(5);
  }
}

/** A version that stays LOADING, with the flags {@link HOLD}, until the test gives it another behaviour: no test has to catch a moment. */
export const HELD = { load_error: 'held' };

/** See {@link HELD}. */
export const HOLD = { max_num_load_retries: 10_000, load_retry_interval_micros: 10_000 };

/** Longer than two polls of the disk and some turns of the manager, as {@link FAST} sets them: what has not happened by then will not. */
export const SETTLE_MS = 150;
