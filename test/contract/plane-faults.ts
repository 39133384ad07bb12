import { type ControlPlane, PlaneError } from '../../src/domain/ports.ts';
import type { FaultySetup } from './answers.ts';
import { describeFaults, type FaultyPart, limitMs, type Talk } from './faults.ts';
import { everSignal, serves } from './plane-steps.ts';

/** Time limit in the settings of a plane that meets faults. */
export const timeout = `${limitMs}ms`;

/** Where what a plane makes of its client's answers could show. */
const ownRows = ['a refused connection', 'a server that never answers', 'an answer without its end', 'a login page', 'JSON of another shape', 'a 502'];

/**
 * The table of faults over the readings of a control plane; the statuses that `describeControlPlane` asks are left to it.
 * @param wire one of the setup's `wires`: what the plane talks to; `isShared`: by a client whose whole table another plane asks
 */
export function describePlaneFaults(
  name: string,
  start: () => Promise<FaultySetup>,
  wire: { readonly to: string; readonly protocol: 'http' | 'grpc' | 'tcp'; readonly tls?: boolean; readonly isShared?: boolean },
): void {
  const part = async (): Promise<FaultyPart> => {
    const setup = await start();
    const found = setup.wires[wire.to];
    if (found === undefined) throw new Error(`the setup has no wire to ${wire.to}`);
    return {
      upstream: found.upstream,
      secret: setup.secret,
      connect: async (place) => {
        const plane = await found.connect(place);
        return { talk: async () => await observed(plane, setup), close: async () => await plane.close() };
      },
      [Symbol.asyncDispose]: async () => await setup[Symbol.asyncDispose](),
    };
  };
  describeFaults(`${name} talking to its ${wire.to}`, wire.protocol, part, {
    isAnswered: true,
    tls: wire.tls ?? false,
    ...(wire.isShared === true ? { only: ownRows } : {}),
  });
}

async function observed(plane: ControlPlane, setup: FaultySetup): Promise<Talk> {
  try {
    const observation = await plane.observe(setup.target, { thorough: false }, everSignal);
    const said = [observation, setup.said()];
    if (serves(observation).join() === setup.from) return { well: true, said };
    throw new Error(`it saw what the server did not say: ${JSON.stringify(observation)}`);
  } catch (error) {
    if (!(error instanceof PlaneError)) throw error;
    return { well: false, class: error.class, words: error.message, said: [error, setup.said()] };
  }
}
