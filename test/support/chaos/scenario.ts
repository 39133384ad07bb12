import fc from 'fast-check';
import { type Crash, operations } from './mortal.ts';

/** What a mutation is answered in the plane's place; `lost_answer`: it was carried out all the same. */
export type ApplyFault = { readonly nth: number; readonly kind: 'lost_answer' | 'lost_request' | 'conflict' | 'busy' | 'refused' };
/** `full`: the database's own limit of pages; `refused`: nothing was written; `unsure`: written, and nobody is told. Of so many appends in a row. */
export type JournalFault = { readonly nth: number; readonly count: number; readonly kind: 'full' | 'refused' | 'unsure' };
/** Seconds of the play. */
export type Outage = { readonly fromS: number; readonly forS: number };

/** One play: what befalls a rollback of version 2 on two servers. All counts are from 1. */
export type Scenario = {
  /** One for each life of the process; the next begins when the last has ended. */
  readonly crashes: readonly (Crash & {
    readonly downS: number;
    /** A mutation that was under way when the process died right before it arrives all the same, while nobody runs. */
    readonly isSent: boolean;
  })[];
  /** `broken`: version 1 fails to load; `stuck`: no version ever comes up. */
  readonly target: 'loads' | 'broken' | 'stuck';
  /** Fails for version 1 before traffic moves, or for whatever serves after it moved. */
  readonly smoke: 'passes' | 'fails_staged' | 'fails_serving';
  /** Version 0 may be tried after 1. */
  readonly triesNext: boolean;
  readonly applyFaults: readonly ApplyFault[];
  readonly journalFaults: readonly JournalFault[];
  /** Attempts of the receiver that fail. */
  readonly failingSends: readonly number[];
  readonly sourceOutage: Outage | null;
  readonly planeOutage: Outage | null;
  /** Of one of two servers. */
  readonly serverOutage: Outage | null;
  /** Somebody deploys version 3 at that second. */
  readonly foreignDeployS: number | null;
};

export const calm: Scenario = {
  crashes: [],
  target: 'loads',
  smoke: 'passes',
  triesNext: false,
  applyFaults: [],
  journalFaults: [],
  failingSends: [],
  sourceOutage: null,
  planeOutage: null,
  serverOutage: null,
  foreignDeployS: null,
};

/** Crossings of a whole rollback, about; a crash beyond the last one never strikes. */
const mostOf = { append: 32, observe: 40, apply: 6, smoke: 2, send: 2 } as const;

const crash: fc.Arbitrary<Scenario['crashes'][number]> = fc
  .oneof(...operations.map((operation) => fc.record({ operation: fc.constant(operation), nth: fc.integer({ min: 1, max: mostOf[operation] }) })))
  .chain(({ operation, nth }) =>
    fc.record({
      operation: fc.constant(operation),
      nth: fc.constant(nth),
      side: fc.constantFrom('before' as const, 'after' as const),
      downS: fc.integer({ min: 1, max: 30 }),
      isSent: fc.boolean(),
    }),
  );

/** Befalls one play of `of`. */
function seldom<Value>(of: number, arbitrary: fc.Arbitrary<Value>): fc.Arbitrary<Value | null> {
  return fc.oneof({ withCrossShrink: true }, { weight: of - 1, arbitrary: fc.constant(null) }, { weight: 1, arbitrary });
}

function outage(longestS: number): fc.Arbitrary<Outage> {
  return fc.record({ fromS: fc.integer({ min: 0, max: 20 }), forS: fc.integer({ min: 1, max: longestS }) });
}

/** Most plays crash, up to four times; each of the others befalls a part of them. Shrinks towards {@link calm}. */
export const scenarios: fc.Arbitrary<Scenario> = fc.record({
  crashes: fc.array(crash, { minLength: 1, maxLength: 4, size: 'max' }),
  target: fc.oneof(
    { withCrossShrink: true },
    { weight: 8, arbitrary: fc.constant('loads' as const) },
    { weight: 2, arbitrary: fc.constantFrom('broken' as const, 'stuck' as const) },
  ),
  smoke: fc.oneof(
    { withCrossShrink: true },
    { weight: 8, arbitrary: fc.constant('passes' as const) },
    { weight: 2, arbitrary: fc.constantFrom('fails_staged' as const, 'fails_serving' as const) },
  ),
  triesNext: fc.boolean(),
  applyFaults: fc.uniqueArray(
    fc.record({
      nth: fc.integer({ min: 1, max: 8 }),
      kind: fc.oneof(
        { withCrossShrink: true },
        { weight: 9, arbitrary: fc.constantFrom('lost_answer' as const, 'lost_request' as const, 'conflict' as const, 'busy' as const) },
        { weight: 1, arbitrary: fc.constant('refused' as const) },
      ),
    }),
    { maxLength: 3, selector: ({ nth }) => nth },
  ),
  journalFaults: fc.array(
    fc.record({
      nth: fc.integer({ min: 1, max: 40 }),
      count: fc.integer({ min: 1, max: 3 }),
      kind: fc.constantFrom('full' as const, 'refused' as const, 'unsure' as const),
    }),
    { maxLength: 2 },
  ),
  failingSends: fc.uniqueArray(fc.integer({ min: 1, max: 4 }), { maxLength: 2 }),
  sourceOutage: seldom(3, outage(20)),
  planeOutage: seldom(3, outage(12)),
  serverOutage: seldom(3, outage(12)),
  foreignDeployS: seldom(10, fc.integer({ min: 1, max: 20 })),
});
