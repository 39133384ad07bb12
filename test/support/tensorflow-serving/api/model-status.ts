import { create } from '@bufbuild/protobuf';
import { StatusError, toStatusProto } from '../core/status.ts';
import {
  type GetModelStatusRequest,
  type GetModelStatusResponse,
  GetModelStatusResponseSchema,
  ModelVersionStatus_State as State,
} from '../gen/tensorflow_serving/apis/get_model_status_pb.ts';
import type { ModelServer } from '../model-server.ts';

/**
 * Answers what became of every version ever seen (model_servers/get_model_status_impl.cc).
 * @throws {StatusError}
 */
export function getModelStatus(server: ModelServer, { modelSpec }: GetModelStatusRequest): GetModelStatusResponse {
  if (modelSpec === undefined) throw new StatusError('INVALID_ARGUMENT', 'Missing ModelSpec');
  return create(GetModelStatusResponseSchema, {
    modelVersionStatus: server.status(modelSpec).map(({ version, state, error }) => ({ version, state: State[state], status: toStatusProto(error) })),
  });
}
