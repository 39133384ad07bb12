import { anyUnpack } from '@bufbuild/protobuf/wkt';
import type { ModelSignature, ValueSpec } from '../../../domain/signature.ts';
import { DataType } from './gen/tensorflow/core/framework/types_pb.ts';
import type { SignatureDef, TensorInfo } from './gen/tensorflow/core/protobuf/meta_graph_pb.ts';
import { type GetModelMetadataResponse, SignatureDefMapSchema } from './gen/tensorflow_serving/apis/get_model_metadata_pb.ts';

/** The only field of metadata there is. */
export const signatureField = 'signature_def';

/** SavedModel's own (`__saved_model_init_op`, `__saved_model_train_op`): nobody sends requests to them, and older exports have none. */
const internal = /^__saved_model_/;

/** `null` when the answer holds none. A request must name exactly the inputs of its signature, but for those with a default (`PreProcessPrediction`). */
export function signatureOf({ metadata }: GetModelMetadataResponse): ModelSignature | null {
  const packed = metadata[signatureField];
  const map = packed === undefined ? undefined : anyUnpack(packed, SignatureDefMapSchema);
  if (map === undefined) return null;
  const named = Object.entries(map.signatureDef).filter(([name]) => !internal.test(name));
  return {
    signatures: Object.fromEntries(
      named.map(([name, { inputs, outputs, defaults }]) => [name, { inputs: specsOf(inputs, defaults), outputs: specsOf(outputs, {}) }]),
    ),
    ignoresUnknownInputs: false,
  };
}

function specsOf(tensors: Readonly<Record<string, TensorInfo>>, defaults: SignatureDef['defaults']): Readonly<Record<string, ValueSpec>> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, tensorShape }]) => {
      const shape = tensorShape === undefined || tensorShape.unknownRank ? null : tensorShape.dim.map(({ size }) => Number(size));
      return [name, { type: typeName(dtype), shape, ...(Object.hasOwn(defaults, name) ? { isOptional: true } : {}) }];
    }),
  );
}

function typeName(dtype: DataType): string {
  const known = Object.entries(DataType).find(([, value]) => value === dtype)?.[0];
  return known ?? `type ${dtype}`;
}
