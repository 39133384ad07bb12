import { describe, expect, it } from 'vitest';
import { compareSignatures, type ModelSignature, type ValueSpec } from './signature.ts';

type Inputs = Readonly<Record<string, ValueSpec>>;

const rows: ValueSpec = { type: 'DT_FLOAT', shape: [-1, 14] };
const id: ValueSpec = { type: 'DT_INT64', shape: [-1] };

function taking(inputs: Inputs, more: Partial<ModelSignature> & { readonly outputs?: Inputs } = {}): ModelSignature {
  const { outputs = {}, ...rest } = more;
  return { signatures: { serving_default: { inputs, outputs } }, ignoresUnknownInputs: false, ...rest };
}

function compare(current: ModelSignature, target: ModelSignature) {
  return compareSignatures({ version: '7', signature: current }, { version: '6', signature: target });
}

describe('compareSignatures', () => {
  const alike: readonly [string, ModelSignature, ModelSignature][] = [
    ['the same', taking({ rows, id }), taking({ id, rows })],
    ['a dimension of any size in the target', taking({ rows }), taking({ rows: { ...rows, shape: [-1, -1] } })],
    ['a dimension of any size today', taking({ rows: { ...rows, shape: [-1, -1] } }), taking({ rows })],
    ['an unknown rank in the target', taking({ rows }), taking({ rows: { ...rows, shape: null } })],
    ['an unknown rank today', taking({ rows: { ...rows, shape: null } }), taking({ rows })],
    ['a further input that may be left out', taking({ rows }), taking({ rows, id: { ...id, isOptional: true } })],
    ['an input that need not be there any more', taking({ rows, id }), taking({ rows, id: { ...id, isOptional: true } })],
    ['an unknown input where those are passed over', taking({ rows, id }), taking({ rows }, { ignoresUnknownInputs: true })],
    ['a type that the target takes too', taking({ id: { type: 'integer', shape: null } }), taking({ id: { type: 'long', shape: null, accepts: ['integer'] } })],
    ['an input of any type', taking({ id }), taking({ id: { type: 'any', shape: null, accepts: 'anything' } })],
    [
      'a further signature',
      taking({ rows }),
      { ...taking({ rows }), signatures: { ...taking({ rows }).signatures, explain: { inputs: { id }, outputs: {} } } },
    ],
    ['another form, which cannot be compared', taking({ rows }, { form: 'named' }), taking({ id }, { form: 'tensor' })],
    ['names that every object inherits', taking({ constructor: id }), taking({ constructor: id })],
  ];

  it.each(alike)('finds nothing: %s', (_, current, target) => {
    expect(compare(current, target)).toEqual({ requests: [], readers: [] });
  });

  const user = { type: 'object', shape: null } satisfies ValueSpec;
  const different: readonly [string, ModelSignature, ModelSignature, readonly string[]][] = [
    ['another type', taking({ id }), taking({ id: { ...id, type: 'DT_STRING' } }), ['input id is DT_INT64 [?] in 7, DT_STRING [?] in 6']],
    ['another size', taking({ rows }), taking({ rows: { ...rows, shape: [-1, 12] } }), ['input rows is DT_FLOAT [?, 14] in 7, DT_FLOAT [?, 12] in 6']],
    ['another rank', taking({ rows }), taking({ rows: { ...rows, shape: [-1] } }), ['input rows is DT_FLOAT [?, 14] in 7, DT_FLOAT [?] in 6']],
    ['an input that is sent and unknown', taking({ rows, id }), taking({ rows }), ['input id (DT_INT64 [?]), which 7 takes, is unknown to 6']],
    ['an input that is needed and not sent', taking({ rows }), taking({ rows, id }), ['input id (DT_INT64 [?]), which 6 needs, is unknown to 7']],
    ['an input that may not be left out', taking({ id: { ...id, isOptional: true } }), taking({ id }), ['input id may be left out in 7, not in 6']],
    [
      'a narrower type',
      taking({ id: { type: 'long', shape: null } }),
      taking({ id: { type: 'integer', shape: null, accepts: [] } }),
      ['input id is long in 7, integer in 6'],
    ],
    [
      'an unknown property, although unknown inputs are passed over',
      taking({ user, 'user.age': { ...id, within: 'user' } }),
      taking({ user }, { ignoresUnknownInputs: true }),
      ['input user.age (DT_INT64 [?]), which 7 takes, is unknown to 6'],
    ],
    [
      'the whole, not each of its parts',
      taking({ user, 'user.age': { ...id, within: 'user' } }),
      taking({ user: { type: 'string', shape: null } }),
      ['input user is object in 7, string in 6'],
    ],
  ];

  it.each(different)('tells %s', (_, current, target, requests) => {
    expect(compare(current, target)).toEqual({ requests: requests.map((words) => `serving_default: ${words}`), readers: [] });
  });

  it('tells a signature that is gone', () => {
    const two = { ...taking({ rows }), signatures: { ...taking({ rows }).signatures, explain: { inputs: { id }, outputs: {} } } };

    expect(compare(two, taking({ rows })).requests).toEqual(['6 has no signature explain']);
  });

  it('tells answers that readers may not understand apart from requests that fail', () => {
    const outputs = { scores: { type: 'DT_FLOAT', shape: [-1, 2] }, reasons: { type: 'DT_STRING', shape: [-1] } };

    expect(compare(taking({ rows }, { outputs }), taking({ rows }, { outputs: { scores: { type: 'DT_FLOAT', shape: [-1, 1] }, more: id } }))).toEqual({
      requests: [],
      readers: [
        'serving_default: output scores is DT_FLOAT [?, 2] in 7, DT_FLOAT [?, 1] in 6',
        'serving_default: output reasons (DT_STRING [?]) of 7 is missing in 6',
      ],
    });
  });
});
