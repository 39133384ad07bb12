import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { ModelVersionStatus_StateSchema as StateSchema } from './tensorflow-serving/gen/tensorflow_serving/apis/get_model_status_pb.ts';
import { ModelService } from './tensorflow-serving/gen/tensorflow_serving/apis/model_service_pb.ts';
import { PredictionService } from './tensorflow-serving/gen/tensorflow_serving/apis/prediction_service_pb.ts';
import { ModelServerConfigSchema } from './tensorflow-serving/gen/tensorflow_serving/config/model_server_config_pb.ts';
import { parseTextProto } from './tensorflow-serving/text-proto/text-proto.ts';

const timeoutMs = 3_000;

/** Somebody who uses one TensorFlow Serving, on the double's own generated code: what the world sees, not what rollbackd believes. */
export type ServingClient = {
  /** The version that answers a client who names none: gRPC GetModelMetadata. */
  readonly metadataVersion: (model: string, options?: { timeoutMs?: number }) => Promise<string>;
  /** The same by gRPC Predict. */
  readonly predictVersion: (model: string) => Promise<string>;
  /** The same by REST; the double tells the version in a header. */
  readonly restVersion: (model: string) => Promise<string>;
  /** `1 AVAILABLE, 2 END`, ascending. */
  readonly states: (model: string) => Promise<string>;
  /** Replaces the list of models, as anybody on the network may. @param configText ModelServerConfig in text format */
  readonly reload: (configText: string) => Promise<void>;
  readonly close: () => void;
};

/** @param server.grpc `host:port`; `server.rest` URL */
export function createServingClient(server: { readonly grpc: string; readonly rest: string }): ServingClient {
  const sessionManager = new Http2SessionManager(`http://${server.grpc}`);
  const transport = createGrpcTransport({ baseUrl: `http://${server.grpc}`, sessionManager });
  const models: Client<typeof ModelService> = createClient(ModelService, transport);
  const predictions: Client<typeof PredictionService> = createClient(PredictionService, transport);
  return {
    metadataVersion: async (model, options = {}) => {
      const answer = await predictions.getModelMetadata({ modelSpec: { name: model }, metadataField: ['signature_def'] }, { timeoutMs, ...options });
      return versionOf(answer.modelSpec?.versionChoice);
    },
    predictVersion: async (model) => {
      const answer = await predictions.predict({ modelSpec: { name: model } }, { timeoutMs });
      return versionOf(answer.modelSpec?.versionChoice);
    },
    restVersion: async (model) => {
      const answer = await fetch(`${server.rest}/v1/models/${model}:predict`, {
        method: 'POST',
        body: '{"instances": [[1]]}',
        signal: AbortSignal.timeout(timeoutMs),
      });
      await answer.arrayBuffer();
      return answer.headers.get('x-model-version') ?? 'none';
    },
    states: async (model) => {
      const { modelVersionStatus } = await models.getModelStatus({ modelSpec: { name: model } }, { timeoutMs });
      return modelVersionStatus
        .toSorted((a, b) => Number(a.version - b.version))
        .map(({ version, state }) => `${version} ${StateSchema.value[state]?.name}`)
        .join(', ');
    },
    reload: async (configText) => {
      await models.handleReloadConfigRequest({ config: parseTextProto(ModelServerConfigSchema, configText) }, { timeoutMs: 10_000 });
    },
    close: () => sessionManager.abort(),
  };
}

function versionOf(choice: { readonly case: string | undefined; readonly value?: unknown } | undefined): string {
  const value = choice?.case === 'version' ? (choice.value as { readonly value: bigint }).value : undefined;
  return value === undefined ? 'none' : String(value);
}
