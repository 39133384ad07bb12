import { create } from '@bufbuild/protobuf';
import { Code } from '../gen/tensorflow/core/protobuf/error_codes_pb.ts';
import { type StatusProto, StatusProtoSchema } from '../gen/tensorflow_serving/apis/status_pb.ts';

/** Upper-case name of a status code, e.g. `FAILED_PRECONDITION`. */
export type CodeName = keyof typeof Code;

/** A non-OK status: what the server answers over gRPC and REST, and what it remembers of a failed load. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly code: CodeName;

  constructor(code: CodeName, message: string) {
    super(message);
    this.code = code;
  }
}

/** Whether a text (from a `behaviour.json`) names a status code. */
export function isCodeName(text: unknown): text is CodeName {
  return typeof text === 'string' && Object.hasOwn(Code, text);
}

/** Anything thrown as a status; what is not one of ours (a port in use, a fault of the double) shows as INTERNAL. */
export function toStatusError(error: unknown): StatusError {
  return error instanceof StatusError ? error : new StatusError('INTERNAL', String(error));
}

/** The status as messages carry it; `undefined` is OK. */
export function toStatusProto(error: StatusError | undefined): StatusProto {
  return create(StatusProtoSchema, { errorCode: Code[error?.code ?? 'OK'], errorMessage: error?.message ?? '' });
}

const HTTP_STATUS: Record<CodeName, number> = {
  OK: 200,
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
  UNAUTHENTICATED: 401,
};

/** HTTP status of the REST API for a code (`ToHTTPStatusCode` in model_servers/http_server.cc). */
export function httpStatus(code: CodeName): number {
  return HTTP_STATUS[code];
}
