import { describe, expect, it } from 'vitest';
import { PlaneError } from '../../domain/ports.ts';
import { KubernetesError, outcomeOf } from './errors.ts';

describe('outcomeOf', () => {
  it.each([
    ['indeterminate', 'indeterminate'],
    ['conflict', 'conflict'],
    ['transient', 'rejected'],
    ['permanent', 'rejected'],
    ['auth', 'rejected'],
  ] as const)('makes %s %s', (errorClass, kind) => {
    expect(outcomeOf(new KubernetesError(errorClass, 'said so'), 'switch')).toEqual({ kind, class: errorClass, detail: 'switch: said so' });
  });

  it('lets pass what is no failure of a plane', () => {
    expect(outcomeOf(new PlaneError('auth', 'no'))).toMatchObject({ detail: 'no' });
    expect(() => outcomeOf(new TypeError('a bug'))).toThrow('a bug');
  });
});
