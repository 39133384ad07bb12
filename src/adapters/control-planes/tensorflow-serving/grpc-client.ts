import type { SecureClientSessionOptions } from 'node:http2';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { VersionObservation } from '../../../domain/observation.ts';
import { PlaneError } from '../../../domain/ports.ts';
import type { ModelSignature } from '../../../domain/signature.ts';
import type { ErrorClass } from '../../../domain/step.ts';
import { GrpcSession } from '../grpc-session.ts';
import { Code as StatusCode } from './gen/tensorflow/core/protobuf/error_codes_pb.ts';
import { type ModelVersionStatus, ModelVersionStatus_State as State } from './gen/tensorflow_serving/apis/get_model_status_pb.ts';
import { ModelService } from './gen/tensorflow_serving/apis/model_service_pb.ts';
import { PredictionService } from './gen/tensorflow_serving/apis/prediction_service_pb.ts';
import type { ModelServerConfig } from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import { compareVersions } from './model-state.ts';
import { signatureField, signatureOf } from './signature.ts';

type OnRequest = (method: string, code: string, durationMs: number) => void;

/** What a reload came to. `unsent`: the server was not reached at all. `lost`: nobody knows. */
export type ReloadAnswer =
  | { readonly kind: 'ok' }
  | { readonly kind: 'answered' | 'lost'; readonly code: string; readonly message: string }
  | { readonly kind: 'unsent'; readonly message: string };

/** Where a selector (label, or none) leads: a version, or why to none. */
export type RouteAnswer = { readonly version: string } | { readonly version: null; readonly reason: string };

/** gRPC's own names: https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
const codeNames: Readonly<Record<Code, string>> = {
  [Code.Canceled]: 'CANCELLED',
  [Code.Unknown]: 'UNKNOWN',
  [Code.InvalidArgument]: 'INVALID_ARGUMENT',
  [Code.DeadlineExceeded]: 'DEADLINE_EXCEEDED',
  [Code.NotFound]: 'NOT_FOUND',
  [Code.AlreadyExists]: 'ALREADY_EXISTS',
  [Code.PermissionDenied]: 'PERMISSION_DENIED',
  [Code.ResourceExhausted]: 'RESOURCE_EXHAUSTED',
  [Code.FailedPrecondition]: 'FAILED_PRECONDITION',
  [Code.Aborted]: 'ABORTED',
  [Code.OutOfRange]: 'OUT_OF_RANGE',
  [Code.Unimplemented]: 'UNIMPLEMENTED',
  [Code.Internal]: 'INTERNAL',
  [Code.Unavailable]: 'UNAVAILABLE',
  [Code.DataLoss]: 'DATA_LOSS',
  [Code.Unauthenticated]: 'UNAUTHENTICATED',
};

/** Class of an answer: reference control-planes-serving 6.3. */
export function classOf(code: string): ErrorClass {
  switch (code) {
    case 'UNAVAILABLE':
    case 'RESOURCE_EXHAUSTED':
    case 'ABORTED':
      return 'transient';
    case 'FAILED_PRECONDITION':
      return 'staging_needed';
    case 'INVALID_ARGUMENT':
    case 'UNIMPLEMENTED':
    case 'NOT_FOUND':
    case 'OUT_OF_RANGE':
    case 'ALREADY_EXISTS':
      return 'permanent';
    case 'UNAUTHENTICATED':
    case 'PERMISSION_DENIED':
      return 'auth';
    default:
      return 'indeterminate';
  }
}

/** A connection that ends once nobody uses it any more. */
class Connection {
  readonly session: GrpcSession;
  readonly models: Client<typeof ModelService>;
  readonly predictions: Client<typeof PredictionService>;
  #users = 0;
  #isRetired = false;

  constructor(address: string, tls: SecureClientSessionOptions | null, connectTimeoutMs: number) {
    const baseUrl = `${tls === null ? 'http' : 'https'}://${address}`;
    this.session = new GrpcSession(baseUrl, { tls, connectTimeoutMs });
    const transport = createGrpcTransport({ baseUrl, sessionManager: this.session });
    this.models = createClient(ModelService, transport);
    this.predictions = createClient(PredictionService, transport);
  }

  async use<T>(work: () => Promise<T>): Promise<T> {
    this.#users += 1;
    try {
      return await work();
    } finally {
      this.#users -= 1;
      this.#endIfUnused();
    }
  }

  retire(): void {
    this.#isRetired = true;
    this.#endIfUnused();
  }

  #endIfUnused(): void {
    if (this.#isRetired && this.#users === 0) this.session.abort();
  }
}

/** Speaks to one replica; reconnects by itself. */
export class GrpcClient {
  readonly address: string;
  readonly #tls: SecureClientSessionOptions | null;
  readonly #timeoutMs: number;
  readonly #onRequest: OnRequest;
  #connection: Connection;

  constructor(address: string, tls: SecureClientSessionOptions | null, timeoutMs: number, onRequest: OnRequest) {
    this.address = address;
    this.#tls = tls;
    this.#timeoutMs = timeoutMs;
    this.#onRequest = onRequest;
    this.#connection = new Connection(address, tls, timeoutMs);
  }

  /** Every version this server ever saw; `null` when it does not know the model. @throws {PlaneError} */
  async versions(model: string, signal: AbortSignal): Promise<readonly VersionObservation[] | null> {
    const answer = await this.#read('GetModelStatus', signal, (connection, options) =>
      connection.models.getModelStatus({ modelSpec: { name: model } }, options),
    );
    if ('code' in answer) {
      if (answer.code === 'NOT_FOUND') return null;
      throw this.#error('GetModelStatus', answer);
    }
    return answer.value.modelVersionStatus.map(observed).toSorted((a, b) => compareVersions(a.id, b.id));
  }

  /** The version a client gets that asks for a label, or (`null`) for none. gRPC metadata calls are not counted by the server. @throws {PlaneError} */
  async route(model: string, label: string | null, signal: AbortSignal): Promise<RouteAnswer> {
    const modelSpec = label === null ? { name: model } : { name: model, versionChoice: { case: 'versionLabel' as const, value: label } };
    const answer = await this.#read('GetModelMetadata', signal, (connection, options) =>
      connection.predictions.getModelMetadata({ modelSpec, metadataField: [signatureField] }, options),
    );
    if ('code' in answer) {
      const isGone = answer.code === 'NOT_FOUND' || (label !== null && (answer.code === 'INVALID_ARGUMENT' || answer.code === 'FAILED_PRECONDITION'));
      if (isGone) return { version: null, reason: answer.message };
      throw this.#error('GetModelMetadata', answer);
    }
    const choice = answer.value.modelSpec?.versionChoice;
    if (choice?.case !== 'version') return { version: null, reason: 'the answer names no version' };
    return { version: String(choice.value.value) };
  }

  /** What a version takes and gives; `null` while it is not loaded. gRPC metadata calls are not counted by the server. @throws {PlaneError} */
  async signature(model: string, version: string, signal: AbortSignal): Promise<ModelSignature | null> {
    const modelSpec = { name: model, versionChoice: { case: 'version' as const, value: { value: BigInt(version) } } };
    const answer = await this.#read('GetModelMetadata', signal, (connection, options) =>
      connection.predictions.getModelMetadata({ modelSpec, metadataField: [signatureField] }, options),
    );
    if ('code' in answer) {
      if (answer.code === 'NOT_FOUND') return null;
      throw this.#error('GetModelMetadata', answer);
    }
    return signatureOf(answer.value);
  }

  /** Replaces the server's list. One attempt, never repeated here. */
  async reload(config: ModelServerConfig, timeoutMs: number, signal: AbortSignal): Promise<ReloadAnswer> {
    const method = 'HandleReloadConfigRequest';
    const startedMs = performance.now();
    const connection = this.#connection;
    return connection.use(async () => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(this.#timeoutMs)]);
      const state = await Promise.race([connection.session.connect(), aborted(limit)]);
      if (state === 'aborted' || state === 'error') {
        const message =
          state === 'aborted'
            ? signal.aborted
              ? 'aborted before anything was sent'
              : `no connection within ${this.#timeoutMs} ms`
            : reasonOf(connection.session.error());
        this.#onRequest(method, signal.aborted ? 'CANCELLED' : 'UNAVAILABLE', performance.now() - startedMs);
        return { kind: 'unsent', message };
      }
      try {
        const { status } = await connection.models.handleReloadConfigRequest({ config }, { signal, timeoutMs });
        const code = status?.errorCode ?? StatusCode.OK;
        // Both enumerations number the codes alike.
        const name = code === StatusCode.OK ? 'OK' : (codeNames[code as number as Code] ?? 'UNKNOWN');
        this.#onRequest(method, name, performance.now() - startedMs);
        return code === StatusCode.OK ? { kind: 'ok' } : { kind: 'answered', code: name, message: status?.errorMessage ?? '' };
      } catch (cause) {
        const error = ConnectError.from(cause);
        const code = codeNames[error.code];
        this.#onRequest(method, code, performance.now() - startedMs);
        // What the server itself said comes in trailers; an error with a cause was made on this side of the wire.
        const isLost = error.cause !== undefined || error.code === Code.DeadlineExceeded || error.code === Code.Canceled;
        return { kind: isLost ? 'lost' : 'answered', code, message: error.rawMessage };
      }
    });
  }

  close(): void {
    this.#connection.retire();
  }

  /** At once, whatever is under way. */
  abort(): void {
    this.#connection.session.abort();
  }

  async #read<T>(
    method: string,
    signal: AbortSignal,
    call: (connection: Connection, options: { signal: AbortSignal; timeoutMs: number }) => Promise<T>,
  ): Promise<{ value: T } | { code: string; message: string }> {
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted();
      const startedMs = performance.now();
      const connection = this.#connection;
      try {
        const value = await connection.use(async () => call(connection, { signal, timeoutMs: this.#timeoutMs }));
        this.#onRequest(method, 'OK', performance.now() - startedMs);
        return { value };
      } catch (cause) {
        signal.throwIfAborted();
        const error = ConnectError.from(cause);
        this.#onRequest(method, codeNames[error.code], performance.now() - startedMs);
        // CANCELLED, since not by us: the stream was cut off.
        const isOfTheWire = error.cause !== undefined || error.code === Code.DeadlineExceeded || error.code === Code.Canceled;
        // A connection that went stale (server replaced, network moved) shows only when it is used: once more on a new one.
        if (isOfTheWire) this.#reconnect(connection);
        if (isOfTheWire && error.code !== Code.DeadlineExceeded && attempt === 1) continue;
        if (isTlsFailure(error.cause)) throw new PlaneError('auth', `${this.address}: TLS: ${reasonOf(error.cause)}`, { cause });
        return {
          code: isOfTheWire && error.code !== Code.DeadlineExceeded ? 'UNAVAILABLE' : codeNames[error.code],
          message: reasonOf(error.cause ?? error, error.rawMessage),
        };
      }
    }
  }

  #reconnect(broken: Connection): void {
    if (this.#connection !== broken) return;
    this.#connection = new Connection(this.address, this.#tls, this.#timeoutMs);
    broken.retire();
  }

  #error(method: string, answer: { code: string; message: string }): PlaneError {
    const errorClass = classOf(answer.code);
    // Reading changes nothing, so a reading without an answer may simply be tried again.
    return new PlaneError(errorClass === 'indeterminate' ? 'transient' : errorClass, `${this.address}: ${method} answered ${answer.code}: ${answer.message}`);
  }
}

function observed(status: ModelVersionStatus): VersionObservation {
  const id = String(status.version);
  const hasError = (status.status?.errorCode ?? StatusCode.OK) !== StatusCode.OK;
  switch (status.state) {
    case State.START:
      return { id, state: 'pending' };
    case State.LOADING:
      return { id, state: 'loading' };
    case State.AVAILABLE:
      return { id, state: 'available' };
    case State.UNLOADING:
      return { id, state: 'draining' };
    case State.END:
      return hasError ? { id, state: 'failed', detail: status.status?.errorMessage ?? '' } : { id, state: 'unloaded' };
    default:
      return { id, state: 'pending' };
  }
}

async function aborted(signal: AbortSignal): Promise<'aborted'> {
  if (signal.aborted) return 'aborted';
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve('aborted'), { once: true }));
}

/** Node's and OpenSSL's codes for a certificate that is refused, on either side. */
function isTlsFailure(cause: unknown): boolean {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
  return /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/.test(code);
}

function reasonOf(cause: unknown, fallback = 'connection failed'): string {
  if (!(cause instanceof Error)) return fallback;
  const code = (cause as NodeJS.ErrnoException).code;
  if (cause instanceof ConnectError) return cause.rawMessage;
  if (cause.message !== '') return cause.message;
  return code ?? fallback;
}
