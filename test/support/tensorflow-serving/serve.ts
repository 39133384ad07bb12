import { readFileSync } from 'node:fs';
import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { GatewayMetrics } from './api/gateway-metrics.ts';
import { restHandler } from './api/rest.ts';
import { TensorFlowMetrics } from './api/tensorflow-metrics.ts';
import { runPeriodically } from './core/periodic.ts';
import { StatusError } from './core/status.ts';
import type { Flags } from './flags.ts';
import { type ModelServerConfig, ModelServerConfigSchema } from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import { MonitoringConfigSchema } from './gen/tensorflow_serving/config/monitoring_config_pb.ts';
import { SSLConfigSchema } from './gen/tensorflow_serving/config/ssl_config_pb.ts';
import { listenForGrpc, listenForRest } from './listen.ts';
import { ModelServer } from './model-server.ts';
import { ReloadJournal } from './reload-journal.ts';
import { parseTextProto } from './text-proto/text-proto.ts';

/** The ports that are open; `rest` is null without `--rest_api_port`. */
export interface Ports {
  grpc: number;
  rest: number | null;
}

/**
 * Starts a server in this process. As in the original the ports open only after every model of the configuration has loaded,
 * which may be never.
 * @param own is given what has to be closed again, in the order of opening
 * @throws {StatusError} when the configuration is refused or a model fails to load
 */
export async function serve(flags: Flags, own: (close: () => void) => void, log: (line: string) => void): Promise<Ports> {
  const server = new ModelServer({
    fileSystemPollWaitSeconds: flags.file_system_poll_wait_seconds,
    allowVersionLabelsForUnavailableModels: flags.allow_version_labels_for_unavailable_models,
    acceptLoggingConfig: flags.accept_logging_config,
    numLoadThreads: flags.num_load_threads,
    numUnloadThreads: flags.num_unload_threads,
    maxNumLoadRetries: flags.max_num_load_retries,
    loadRetryIntervalMs: flags.load_retry_interval_micros / 1000,
    manageStateIntervalMs: flags.manage_state_interval_micros / 1000,
    log,
  });
  own(() => server.stop());
  const journal = new ReloadJournal(server, flags.reload_journal_file);
  await journal.reload('boot', bootConfig(flags));
  if (flags.model_config_file !== undefined && flags.model_config_file_poll_wait_seconds > 0) {
    const path = flags.model_config_file;
    own(runPeriodically(() => applyFile(journal, path, log), flags.model_config_file_poll_wait_seconds * 1000));
  }

  const gatewayMetrics = flags.extra_versioned_metrics ? new GatewayMetrics() : undefined;
  const context = { server, metrics: new TensorFlowMetrics(), gatewayMetrics };
  const ssl = flags.ssl_config_file === undefined ? undefined : readTextProto(SSLConfigSchema, flags.ssl_config_file);
  const grpc = await listenForGrpc(context, journal, { host: flags.bind, port: flags.port }, ssl);
  own(grpc.close);
  if (flags.rest_api_port === undefined) return { grpc: grpc.port, rest: null };
  const handler = restHandler(context, { timeoutMs: flags.rest_api_timeout_in_ms, metricsPath: metricsPath(flags) });
  const rest = await listenForRest(handler, { host: flags.bind, port: flags.rest_api_port });
  own(rest.close);
  return { grpc: grpc.port, rest: rest.port };
}

function readTextProto<Desc extends DescMessage>(schema: Desc, path: string): MessageShape<Desc> {
  try {
    return parseTextProto(schema, readFileSync(path, 'utf8'));
  } catch (error) {
    throw new StatusError('INVALID_ARGUMENT', `Invalid protobuf file: '${path}': ${(error as Error).message}`);
  }
}

function bootConfig(flags: Flags): ModelServerConfig {
  if (flags.model_config_file !== undefined) return readTextProto(ModelServerConfigSchema, flags.model_config_file);
  if (flags.model_base_path === undefined) {
    throw new StatusError('INVALID_ARGUMENT', 'Both server_options.model_base_path and server_options.model_config_file are empty!');
  }
  const model = { name: flags.model_name, basePath: flags.model_base_path, modelPlatform: 'tensorflow' };
  return create(ModelServerConfigSchema, { config: { case: 'modelConfigList', value: { config: [model] } } });
}

/** Applies the file whether it has changed or not: what a client has set since is gone. A fault is logged, and the old state stays. */
async function applyFile(journal: ReloadJournal, path: string, log: (line: string) => void): Promise<void> {
  try {
    await journal.reload('file', readTextProto(ModelServerConfigSchema, path));
  } catch (error) {
    log(`PollFilesystemAndReloadConfig failed to ReloadConfig: ${(error as Error).message}`);
  }
}

function metricsPath(flags: Flags): string | undefined {
  if (flags.monitoring_config_file === undefined) return undefined;
  const { prometheusConfig } = readTextProto(MonitoringConfigSchema, flags.monitoring_config_file);
  if (!prometheusConfig?.enable) return undefined;
  return prometheusConfig.path || '/monitoring/prometheus/metrics';
}
