import { create, fromJson } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import type { Behaviour } from '../core/behaviour.ts';
import { StatusError } from '../core/status.ts';
import { DataType } from '../gen/tensorflow/core/framework/types_pb.ts';
import { type SignatureDef, SignatureDefSchema, type TensorInfo, TensorInfoSchema } from '../gen/tensorflow/core/protobuf/meta_graph_pb.ts';
import {
  type GetModelMetadataRequest,
  type GetModelMetadataResponse,
  GetModelMetadataResponseSchema,
  type SignatureDefMap,
  SignatureDefMapSchema,
} from '../gen/tensorflow_serving/apis/get_model_metadata_pb.ts';
import type { ModelServer } from '../model-server.ts';

/** The only field of metadata there is. */
export const SIGNATURE_DEF = 'signature_def';

/** Of a version whose behaviour names none. */
const usual: SignatureDefMap = create(SignatureDefMapSchema, { signatureDef: { serving_default: signature() } });

/** What a version takes and gives, as its behaviour says. */
export function signaturesOf({ signatures }: Behaviour): SignatureDefMap {
  return signatures === undefined ? usual : fromJson(SignatureDefMapSchema, { signatureDef: signatures });
}

/**
 * Answers which version a client with this selector gets (servables/tensorflow/get_model_metadata_impl.cc).
 * @throws {StatusError}
 */
export function getModelMetadata(server: ModelServer, { modelSpec, metadataField }: GetModelMetadataRequest): GetModelMetadataResponse {
  if (modelSpec === undefined) throw new StatusError('INVALID_ARGUMENT', 'Missing ModelSpec');
  if (metadataField.length === 0) throw new StatusError('INVALID_ARGUMENT', 'GetModelMetadataRequest must specify at least one metadata_field');
  const unknown = metadataField.find((field) => field !== SIGNATURE_DEF);
  if (unknown !== undefined) throw new StatusError('INVALID_ARGUMENT', `Metadata field ${unknown} is not supported`);

  const { name, version, behaviour } = server.serving(modelSpec);
  return create(GetModelMetadataResponseSchema, {
    modelSpec: { name, versionChoice: { case: 'version', value: { value: version } } },
    metadata: { [SIGNATURE_DEF]: anyPack(SignatureDefMapSchema, signaturesOf(behaviour)) },
  });
}

function signature(): SignatureDef {
  return create(SignatureDefSchema, {
    inputs: { instances: tensor('serving_default_instances:0', [-1n, -1n]) },
    outputs: { scores: tensor('StatefulPartitionedCall:0', [-1n, 2n]) },
    methodName: 'tensorflow/serving/predict',
  });
}

function tensor(name: string, shape: bigint[]): TensorInfo {
  return create(TensorInfoSchema, {
    encoding: { case: 'name', value: name },
    dtype: DataType.DT_FLOAT,
    tensorShape: { dim: shape.map((size) => ({ size })) },
  });
}
