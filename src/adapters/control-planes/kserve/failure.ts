import type { InferenceService } from './objects.ts';

/** Why the controller says that the wanted model does not load; `null` when it does not say so. May be left from an earlier model. */
export function failureOf(isvc: InferenceService): string | null {
  const { transitionStatus, lastFailureInfo } = isvc.status?.modelStatus ?? {};
  if (transitionStatus !== 'BlockedByFailedLoad' && transitionStatus !== 'InvalidSpec') return null;
  const { reason, message, exitCode } = lastFailureInfo ?? {};
  const words = [reason, message, exitCode === undefined ? undefined : `exit code ${exitCode}`].filter((part) => part !== undefined && part !== '');
  return words.length === 0 ? transitionStatus : `${transitionStatus}: ${words.join(': ')}`;
}
