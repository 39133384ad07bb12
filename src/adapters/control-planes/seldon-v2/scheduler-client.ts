import type { SecureClientSessionOptions } from 'node:http2';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { PlaneError } from '../../../domain/ports.ts';
import type { ErrorClass } from '../../../domain/step.ts';
import { GrpcSession } from '../grpc-session.ts';
import { Scheduler, ModelStatus_ModelState as State } from './gen/mlops/scheduler/scheduler_pb.ts';

type OnRequest = (method: string, code: string, durationMs: number) => void;

/** A model version as the scheduler has it; `iris_4` is version 4 of `iris`. */
export type ScheduledVersion = {
  readonly number: number;
  readonly state: keyof typeof State;
  readonly reason: string;
  readonly availableReplicas: number;
  /** `metadata.generation` of the Model it came from; `null` for one loaded past Kubernetes. */
  readonly generation: number | null;
  readonly server: string;
  readonly uri: string;
  readonly artifactVersion: number | null;
};

export type ExperimentState = { readonly active: boolean; readonly candidatesReady: boolean; readonly generation: number | null; readonly description: string };

export type ServerState = {
  readonly name: string;
  readonly availableReplicas: number;
  /** Free memory of the replica that has most of it, bytes; `null` when the server tells nothing. */
  readonly mostFreeBytes: number | null;
};

/** Scheduler's word for a model or experiment it does not know. */
const unknownThing = /failed to find|not found|does not exist/i;

const stateNames = Object.fromEntries(Object.entries(State).map(([name, value]) => [value, name])) as Readonly<Record<number, keyof typeof State>>;

/** Reads the scheduler's three status streams; it never calls anything that changes something. */
export class SchedulerClient {
  readonly address: string;
  readonly #session: GrpcSession;
  readonly #client: Client<typeof Scheduler>;
  readonly #timeoutMs: number;
  readonly #onRequest: OnRequest;

  constructor(address: string, tls: SecureClientSessionOptions | null, timeoutMs: number, onRequest: OnRequest) {
    const baseUrl = `${tls === null ? 'http' : 'https'}://${address}`;
    this.address = address;
    this.#session = new GrpcSession(baseUrl, { tls, connectTimeoutMs: timeoutMs });
    this.#client = createClient(Scheduler, createGrpcTransport({ baseUrl, sessionManager: this.#session }));
    this.#timeoutMs = timeoutMs;
    this.#onRequest = onRequest;
  }

  /** Every version of a model, oldest first; `null` when the scheduler does not know the model. @throws {PlaneError} */
  async model(name: string, signal: AbortSignal): Promise<readonly ScheduledVersion[] | null> {
    const answers = await this.#collect('ModelStatus', signal, (options) =>
      this.#client.modelStatus({ subscriberName: 'rollbackd', model: { name }, allVersions: true }, options),
    );
    const answer = answers?.find((entry) => entry.modelName === name && !entry.deleted);
    if (answer === undefined) return null;
    return answer.versions
      .map(({ version, state, serverName, kubernetesMeta, modelDefn }) => ({
        number: version,
        state: stateNames[state?.state ?? State.ModelStateUnknown] ?? 'ModelStateUnknown',
        reason: state?.reason ?? '',
        availableReplicas: state?.availableReplicas ?? 0,
        generation: kubernetesMeta === undefined ? null : Number(kubernetesMeta.generation),
        server: serverName,
        uri: modelDefn?.modelSpec?.uri ?? '',
        artifactVersion: modelDefn?.modelSpec?.artifactVersion ?? null,
      }))
      .toSorted((a, b) => a.number - b.number);
  }

  /** `null` when the scheduler does not know the experiment. @throws {PlaneError} */
  async experiment(name: string, signal: AbortSignal): Promise<ExperimentState | null> {
    const answers = await this.#collect('ExperimentStatus', signal, (options) => this.#client.experimentStatus({ subscriberName: 'rollbackd', name }, options));
    const answer = answers?.find((entry) => entry.experimentName === name);
    if (answer === undefined) return null;
    const { active, candidatesReady, kubernetesMeta, statusDescription } = answer;
    return { active, candidatesReady, generation: kubernetesMeta === undefined ? null : Number(kubernetesMeta.generation), description: statusDescription };
  }

  /** Every inference server of this scheduler. @throws {PlaneError} */
  async servers(signal: AbortSignal): Promise<readonly ServerState[]> {
    const answers = await this.#collect('ServerStatus', signal, (options) => this.#client.serverStatus({ subscriberName: 'rollbackd' }, options));
    return (answers ?? []).map(({ serverName, availableReplicas, resources }) => ({
      name: serverName,
      availableReplicas,
      mostFreeBytes: resources.length === 0 ? null : Math.max(...resources.map((entry) => Number(entry.availableMemoryBytes))),
    }));
  }

  close(): void {
    this.#session.abort();
  }

  /** All messages of one stream; `null` when the scheduler does not know what was asked for. A cut connection is tried once more. */
  async #collect<T>(
    method: string,
    signal: AbortSignal,
    open: (options: { signal: AbortSignal; timeoutMs: number }) => AsyncIterable<T>,
  ): Promise<readonly T[] | null> {
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted();
      const startedMs = performance.now();
      const told = (code: string): void => this.#onRequest(method, code, performance.now() - startedMs);
      try {
        const answers: T[] = [];
        for await (const answer of open({ signal, timeoutMs: this.#timeoutMs })) answers.push(answer);
        told('OK');
        return answers;
      } catch (cause) {
        signal.throwIfAborted();
        const error = ConnectError.from(cause);
        told(codeName(error.code));
        if (error.code === Code.NotFound || (error.code === Code.FailedPrecondition && unknownThing.test(error.rawMessage))) return null;
        // An error with a cause was made on this side of the wire: a connection that went stale shows only when it is used.
        const isOfTheWire = error.cause !== undefined && error.code !== Code.DeadlineExceeded;
        if (isOfTheWire && attempt === 1 && !isTlsFailure(error.cause)) continue;
        throw this.#error(method, error);
      }
    }
  }

  #error(method: string, error: ConnectError): PlaneError {
    if (isTlsFailure(error.cause))
      return new PlaneError('auth', `scheduler ${this.address}: TLS: ${reasonOf(error)}; look at scheduler.tls_config`, { cause: error });
    return new PlaneError(classOf(error.code), `scheduler ${this.address}: ${method} answered ${codeName(error.code)}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Reading changes nothing: what brought no answer may simply be tried again. */
function classOf(code: Code): ErrorClass {
  switch (code) {
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return 'auth';
    case Code.InvalidArgument:
    case Code.Unimplemented:
    case Code.FailedPrecondition:
      return 'permanent';
    default:
      return 'transient';
  }
}

/** `FailedPrecondition` → `FAILED_PRECONDITION`, gRPC's own spelling. */
function codeName(code: Code): string {
  if (code === Code.Canceled) return 'CANCELLED';
  return (Code[code] ?? 'UNKNOWN').replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
}

function reasonOf(error: ConnectError): string {
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.rawMessage;
}

/** Node's and OpenSSL's codes for a certificate that is refused, on either side. */
function isTlsFailure(cause: unknown): boolean {
  return /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/.test((cause as NodeJS.ErrnoException | undefined)?.code ?? '');
}
