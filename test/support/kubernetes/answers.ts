import { type FaultySetup, httpAnswers, withAnswers } from '../../contract/answers.ts';
import type { ExpiringClock } from '../expiring-clock.ts';
import type { FakeKubernetes, KubernetesFault, LoggedRequest } from './fake-kubernetes.ts';

/** What an API server answers to any plane. A 401 is asked once more, with fresh credentials: the server has not looked at the request. */
export const kubernetesAnswers = withAnswers(httpAnswers, { 401: { requests: 2 } });

const writing = ['PATCH', 'PUT', 'POST', 'DELETE'];
const isWrite = ({ path }: LoggedRequest): boolean => !path.endsWith('accessreviews');

/**
 * Makes an API server give the answers of `kubernetesAnswers`.
 * @param clock of the planes: a time limit is over once the server has done what it was asked
 */
export function kubernetesFault(kubernetes: FakeKubernetes, clock: ExpiringClock, secret: string): FaultySetup['fault'] {
  return async (on, answer) => {
    const fault = (/^\d+$/.test(answer) ? Number(answer) : answer) as KubernetesFault;
    kubernetes.fail(on === 'read' ? { method: 'GET' } : { method: writing, test: isWrite }, fault, {
      message: `no, and not with Bearer ${secret} either`,
      onHang: () => clock.expire(),
    });
    return { [Symbol.asyncDispose]: async () => kubernetes.heal() };
  };
}
