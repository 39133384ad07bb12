import { PlaneError } from '../../domain/ports.ts';
import type { ErrorClass } from '../../domain/step.ts';
import { classOfReading, classOfStatus } from '../http/error-class.ts';
import type { HttpError } from '../http/http-error.ts';

/** What a call does: a write whose answer is lost may have happened. `right` is what its caller must have. */
export type CallKind = { readonly writes: boolean; readonly right: string };

/** Codes of failures after which the request certainly did not arrive. */
const notSent: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'BAD_URL',
  'FILE',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** A failure of MLflow, with the code of its own that a caller may know what to do with; `null` when it gave none. */
export class MlflowError extends PlaneError {
  readonly errorCode: string | null;
  constructor(errorClass: ErrorClass, message: string, options: { cause?: unknown; retryAfterMs?: number; errorCode?: string | null } = {}) {
    super(errorClass, message, options);
    this.errorCode = options.errorCode ?? null;
  }
}

/** There was no whole answer. */
export function fromTransport(error: HttpError, { writes }: CallKind): MlflowError {
  const lost = writes && !notSent.has(error.code);
  const errorClass: ErrorClass =
    error.code === 'FILE' ? 'auth' : error.code === 'BAD_URL' || error.code === 'REDIRECT' ? 'permanent' : lost ? 'indeterminate' : 'transient';
  return new MlflowError(errorClass, `MLflow: ${error.message}`, {
    cause: error,
    ...(error.retryAfterMs === null ? {} : { retryAfterMs: error.retryAfterMs }),
  });
}

/**
 * The answer is a failure. MLflow's map of codes is odd: an alias that is not set is a 400, a state that does not allow the call a 500.
 * @param errorCode of MLflow's own, `null` when the answer is none of MLflow's
 * @see reference: mlflow/exceptions.py, ERROR_CODE_TO_HTTP_STATUS
 */
export function classOfAnswer(status: number, errorCode: string | null, { writes }: CallKind): ErrorClass {
  if (errorCode === 'INVALID_STATE') return 'permanent';
  const errorClass = classOfStatus(status);
  return writes ? errorClass : classOfReading(errorClass);
}
