import { type DescMessage, type DescMethod, type DescService, fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';

/** What a server says to a call: the bytes of its messages (one, where the method has one answer), or the error it ends with. */
export type GrpcAnswer = readonly Uint8Array[] | ConnectError;
type Answering = (method: string) => GrpcAnswer;

let answering: Answering = () => [];

/** Sets what every client of this file is told from now on. */
export function answerCallsBy(answer: Answering): void {
  answering = answer;
}

/** As the client of connect does it: what cannot be decoded is an internal error with its cause. */
function decode(schema: DescMessage, bytes: Uint8Array): unknown {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw ConnectError.from(cause, Code.Internal);
  }
}

function answersTo(method: DescMethod): readonly unknown[] {
  const answer = answering(method.name);
  if (answer instanceof ConnectError) throw answer;
  return answer.map((bytes) => decode(method.output, bytes));
}

async function unary(method: DescMethod): Promise<unknown> {
  const [message] = answersTo(method);
  if (message === undefined) throw new ConnectError('missing message', Code.Unimplemented);
  return message;
}

async function* stream(method: DescMethod): AsyncIterable<unknown> {
  yield* answersTo(method);
}

/** Stands for that of `@connectrpc/connect` (`vi.mock`): messages are decoded from their bytes, only HTTP/2 is left out. */
export function createClient(service: DescService): object {
  return Object.fromEntries(
    service.methods.map((method) => [method.localName, () => (method.methodKind === 'server_streaming' ? stream(method) : unary(method))]),
  );
}

/** Stand for those of `@connectrpc/connect-node`. */
export function createGrpcTransport(): null {
  return null;
}

export class Http2SessionManager {
  abort(): void {
    // Nothing is open.
  }
}
