import type { FaultySetup } from '../contract/answers.ts';
import type { ExpiringClock } from './expiring-clock.ts';
import type { GateFault, GateRequest, HttpGate } from './http-gate.ts';

/**
 * Makes a gate give the answers of `httpAnswers`.
 * @param clock of the plane: a time limit is over once the server has done what it was asked
 * @param more answers beyond that table, by name
 */
export function httpFault(
  gate: HttpGate,
  clock: ExpiringClock,
  options: { readonly secret: string; readonly isWrite?: (seen: GateRequest) => boolean; readonly more?: Readonly<Record<string, GateFault>> },
): FaultySetup['fault'] {
  const { secret, isWrite = ({ method }) => method !== 'GET', more = {} } = options;
  const lost: Readonly<Record<string, GateFault>> = { reset: 'reset', 'reset after send': 'swallow', 'timeout after send': 'keep', ...more };
  return async (on, answer) => {
    const words = { status: Number(answer), body: `no, and not with ${secret} either`, ...(answer === '429' ? { headers: { 'Retry-After': '1' } } : {}) };
    const fault = lost[answer] ?? words;
    gate.refuse(
      (seen) => (isWrite(seen) === (on === 'write') ? fault : null),
      () => clock.expire(),
    );
    return { [Symbol.asyncDispose]: async () => gate.refuse(() => null) };
  };
}
