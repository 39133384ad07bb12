import { create } from '@bufbuild/protobuf';
import { type Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';
import { StatusError, toStatusError, toStatusProto } from '../core/status.ts';
import { type TensorProto, TensorProtoSchema } from '../gen/tensorflow/core/framework/tensor_pb.ts';
import { DataType } from '../gen/tensorflow/core/framework/types_pb.ts';
import { type ReloadConfigRequest, type ReloadConfigResponse, ReloadConfigResponseSchema } from '../gen/tensorflow_serving/apis/model_management_pb.ts';
import { ModelSpecSchema } from '../gen/tensorflow_serving/apis/model_pb.ts';
import { ModelService } from '../gen/tensorflow_serving/apis/model_service_pb.ts';
import { type PredictRequest, type PredictResponse, PredictResponseSchema } from '../gen/tensorflow_serving/apis/predict_pb.ts';
import { PredictionService } from '../gen/tensorflow_serving/apis/prediction_service_pb.ts';
import type { ReloadJournal } from '../reload-journal.ts';
import type { ApiContext } from './context.ts';
import { infer } from './inference.ts';
import { getModelMetadata } from './model-metadata.ts';
import { getModelStatus } from './model-status.ts';

/** The gRPC services of the server. A client that gives up ends nothing here: a reload goes on, and keeps others waiting. */
export function grpcRoutes(context: ApiContext, journal: ReloadJournal): (router: ConnectRouter) => void {
  return (router) => {
    router.service(ModelService, {
      getModelStatus: (request) => asGrpc(() => getModelStatus(context.server, request)),
      handleReloadConfigRequest: (request) => asGrpc(() => handleReload(journal, request)),
    });
    router.service(PredictionService, {
      predict: (request, call) => asGrpc(() => predict(context, request, call)),
      getModelMetadata: (request) => asGrpc(() => getModelMetadata(context.server, request)),
    });
  };
}

/** Length from which the original cuts the text of an error. */
const ERROR_MESSAGE_LIMIT = 1024;

async function asGrpc<T>(answer: () => T | Promise<T>): Promise<T> {
  try {
    return await answer();
  } catch (error) {
    const status = toStatusError(error);
    const { message } = status;
    const text = message.length > ERROR_MESSAGE_LIMIT ? `${message.slice(0, ERROR_MESSAGE_LIMIT)}...TRUNCATED` : message;
    // The numbers of TensorFlow's codes are those of gRPC, and Connect's too.
    throw new ConnectError(text, toStatusProto(status).errorCode as unknown as Code);
  }
}

async function handleReload(journal: ReloadJournal, { config, metricNames }: ReloadConfigRequest): Promise<ReloadConfigResponse> {
  if (config?.config.case !== 'modelConfigList') {
    throw new StatusError('INVALID_ARGUMENT', 'ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported');
  }
  await journal.reload('rpc', config);
  const metric = metricNames.map((name) => ({ name, valueIncrease: { case: 'int64ValueIncrease' as const, value: 0n } }));
  return create(ReloadConfigResponseSchema, { status: toStatusProto(undefined), metric });
}

async function predict(context: ApiContext, request: PredictRequest, call: HandlerContext): Promise<PredictResponse> {
  const began = performance.now();
  const spec = request.modelSpec ?? create(ModelSpecSchema);
  const inference = await infer(context.server, spec, call.timeoutMs());
  const { version, error, score } = inference;
  const elapsedMs = performance.now() - began;
  if (error === undefined) context.metrics.observeLatency(spec.name, 'Predict', 'GRPC', elapsedMs * 1000);
  context.metrics.countRequest(spec.name, error?.code ?? 'OK');
  context.gatewayMetrics?.observe(spec.name, inference, elapsedMs / 1000);
  if (error) throw error;
  return create(PredictResponseSchema, {
    modelSpec: {
      name: spec.name,
      signatureName: spec.signatureName || 'serving_default',
      versionChoice: { case: 'version', value: { value: version ?? 0n } },
    },
    outputs: { scores: scores(batchSize(request), score) },
  });
}

function batchSize({ inputs }: PredictRequest): number {
  const [input] = Object.values(inputs);
  return Number(input?.tensorShape?.dim[0]?.size ?? 1n);
}

function scores(rows: number, score: number): TensorProto {
  return create(TensorProtoSchema, {
    dtype: DataType.DT_FLOAT,
    tensorShape: { dim: [{ size: BigInt(rows) }, { size: 2n }] },
    floatVal: Array.from({ length: rows }, () => [score, 1 - score]).flat(),
  });
}
