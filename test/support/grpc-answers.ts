import type { GrpcFault, GrpcGate } from './grpc-gate.ts';

/** https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
const codes: Readonly<Record<string, number>> = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
};

/** Makes a gate give an answer of `grpcAnswers` to the methods that `isHit` says. */
export function refuseWith(gate: GrpcGate, answer: string, isHit: (method: string) => boolean): AsyncDisposable {
  const code = codes[answer];
  const fault: GrpcFault = code === undefined ? (answer as GrpcFault) : { code, message: `planned failure: ${answer}` };
  gate.refuse((method) => (isHit(method) ? fault : null));
  return { [Symbol.asyncDispose]: async () => gate.refuse(() => null) };
}
