import { z } from 'zod';

/**
 * Checks on which keys of an object stand together. They run also when other keys are faulty (`when`), so that one run
 * shows all faults.
 */
type KeyCheck = z.core.$ZodCheck<object>;
type Refuse = (key: string | null, message: string, params?: IssueParams) => void;

/** What a refinement of ours may add to an issue: a place inside the scalar (offsets in its value), and the fault's code. */
export type IssueParams = { readonly within?: { readonly offset: number; readonly length: number }; readonly code?: string };

function present(value: object, keys: readonly string[]): string[] {
  return keys.filter((key) => (value as Readonly<Record<string, unknown>>)[key] !== undefined);
}

/** A check of one object that runs whatever else is wrong with it. `refuse(null, …)` blames the object itself. */
export function always(check: (value: Readonly<Record<string, unknown>>, refuse: Refuse) => void): KeyCheck {
  return z.core._check<object>(
    (payload) => {
      const { value } = payload;
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
      check(value as Readonly<Record<string, unknown>>, (key, message, params) => {
        payload.issues.push({
          code: 'custom',
          input: value,
          path: key === null ? [] : [key],
          message,
          continue: true,
          ...(params === undefined ? {} : { params }),
        });
      });
    },
    { when: () => true },
  );
}

/** At most one of `keys`; the fault is shown at the second. */
export function atMostOneOf(keys: readonly string[], message: string): KeyCheck {
  return always((value, refuse) => {
    const second = present(value, keys)[1];
    if (second !== undefined) refuse(second, message);
  });
}

/** Exactly one of `keys`; the fault is shown at the second, or at the object when none is there. */
export function exactlyOneOf(keys: readonly string[], messages: { readonly none: string; readonly both: string }): KeyCheck {
  return always((value, refuse) => {
    const given = present(value, keys);
    if (given.length === 0) refuse(null, messages.none, { code: 'missing_key' });
    else if (given[1] !== undefined) refuse(given[1], messages.both);
  });
}

/** If one of `keys` is given, one of `needed` must be too. */
export function together(keys: readonly string[], needed: readonly string[], message: string): KeyCheck {
  return always((value, refuse) => {
    const given = present(value, keys)[0];
    if (given !== undefined && present(value, needed).length === 0) refuse(given, message);
  });
}
