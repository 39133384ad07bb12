import { type Flags, parseFlags } from './flags.ts';
import { serve } from './serve.ts';

/** A server in this process. */
export interface ServedHere {
  /** `host:port` of gRPC. */
  readonly grpc: string;
  /** URL of REST, without a slash at the end. */
  readonly rest: string;
  /** Closes its ports and its connections at once, as the end of a process would. */
  readonly end: () => Promise<void>;
}

/**
 * The double in this process: the same wire, without the second that a process of its own takes to start. What a signal does to
 * it cannot be tested this way.
 * @param flags in the server's own words (README.md); the ports are free ones unless given
 * @throws {StatusError} when the configuration is refused or a model fails to load
 */
export async function serveHere(flags: Partial<Flags>): Promise<ServedHere> {
  const closing: (() => void)[] = [];
  const all = { ...parseFlags([]), port: 0, rest_api_port: 0, ...flags };
  const ports = await serve(
    all,
    (close) => closing.push(close),
    () => undefined,
  );
  return {
    grpc: `${all.bind}:${ports.grpc}`,
    rest: `http://${all.bind}:${ports.rest}`,
    end: async () => {
      for (const close of closing.toReversed()) close();
    },
  };
}
