import { setTimeout as sleep } from 'node:timers/promises';
import { StatusError, toStatusError } from '../core/status.ts';
import type { ModelSpec } from '../gen/tensorflow_serving/apis/model_pb.ts';
import type { ModelServer } from '../model-server.ts';

/** What became of one request for a prediction. */
export interface Inference {
  /** The version that answered, or failed; `undefined` when none could be found. */
  version: bigint | undefined;
  error: StatusError | undefined;
  /** The first number of each prediction, 0..1. */
  score: number;
}

/**
 * Lets the version that the specification names answer, in its own time.
 * @param timeoutMs time after which the request is given up with DEADLINE_EXCEEDED; `undefined` for none
 */
export async function infer(server: ModelServer, spec: ModelSpec, timeoutMs: number | undefined): Promise<Inference> {
  let version: bigint | undefined;
  try {
    const servable = server.serving(spec);
    version = servable.version;
    const score = await servable.use(async () => {
      const request = servable.nextRequest();
      const limitMs = Math.min(request.latencyMs, timeoutMs ?? Number.POSITIVE_INFINITY);
      if (limitMs > 0) await sleep(limitMs);
      if (limitMs < request.latencyMs) throw new StatusError('DEADLINE_EXCEEDED', 'Timed out waiting for notification');
      if (request.error) throw request.error;
      return request.score;
    });
    return { version, error: undefined, score };
  } catch (error) {
    return { version, error: toStatusError(error), score: 0 };
  }
}
