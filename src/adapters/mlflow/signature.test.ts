import { describe, expect, it } from 'vitest';
import { compareSignatures, type ModelSignature } from '../../domain/signature.ts';
import { parseSignature } from './signature.ts';

/** The file MLmodel as MLflow 3.17 writes it, with JSON in YAML, folded. */
const logged = `artifact_path: mlflow-artifacts:/1/models/m-48/artifacts
flavors:
  python_function:
    loader_module: mlflow.pyfunc.model
    python_version: 3.11.7
mlflow_version: 3.17.2
model_id: m-48
signature:
  inputs: '[{"type": "double", "name": "amount", "required": true}, {"type": "long",
    "name": "age", "required": false}, {"type": "array", "items": {"type": "string"},
    "name": "tags", "required": true}, {"type": "object", "properties": {"id": {"type":
    "long", "required": true}, "nick": {"type": "string", "required": false}}, "name":
    "user", "required": true}, {"type": "map", "values": {"type": "double"}, "name":
    "feat", "required": true}, {"type": "any", "name": "x", "required": true}]'
  outputs: '[{"type": "double", "name": "score", "required": true}]'
  params: '[{"name": "temp", "default": 0.5, "shape": null, "type": "double"}, {"name":
    "ids", "default": [1], "shape": [-1], "type": "integer"}]'
`;

function file(inputs: readonly object[], more: object = {}): string {
  return `signature:\n  inputs: '${JSON.stringify(inputs)}'\n${Object.entries(more)
    .map(([key, value]) => `  ${key}: '${JSON.stringify(value)}'\n`)
    .join('')}`;
}

function requests(current: readonly object[], target: readonly object[]): readonly string[] {
  const [from, to] = [parseSignature(file(current)), parseSignature(file(target))] as [ModelSignature, ModelSignature];
  return compareSignatures({ version: '2', signature: from }, { version: '1', signature: to }).requests;
}

const column = (type: string, name?: string, more: object = {}) => ({ type, ...(name === undefined ? {} : { name }), required: true, ...more });
const tensor = (dtype: string, shape: readonly number[], name?: string) => ({
  ...(name === undefined ? {} : { name }),
  type: 'tensor',
  'tensor-spec': { dtype, shape },
});

describe('parseSignature', () => {
  it('reads columns with their parts, and parameters', () => {
    const { signatures, form } = parseSignature(logged) as ModelSignature;

    expect(form).toBe('columns by name');
    expect(
      Object.fromEntries(Object.entries(signatures['']?.inputs ?? {}).map(([name, spec]) => [name, `${spec.type}${spec.isOptional === true ? '?' : ''}`])),
    ).toEqual({
      amount: 'double',
      age: 'long?',
      tags: 'array',
      'tags[]': 'string',
      user: 'object',
      'user.id': 'long',
      'user.nick': 'string?',
      feat: 'map',
      'feat{}': 'double',
      x: 'any',
      'parameter temp': 'double?',
      'parameter ids': 'integer?',
    });
    expect(signatures['']?.outputs).toEqual({ score: { type: 'double', shape: null, accepts: ['integer', 'long', 'float'], isOptional: false } });
  });

  it('reads tensors, and columns that were optional before 2.10', () => {
    expect(parseSignature(file([tensor('float64', [-1, 14])]))).toMatchObject({
      form: 'tensors',
      signatures: { '': { inputs: { 0: { type: 'float64', shape: [-1, 14] } } } },
    });
    expect(parseSignature(file([{ name: 'a', type: 'long', optional: true }]))).toMatchObject({ signatures: { '': { inputs: { a: { isOptional: true } } } } });
  });

  it.each([
    ['no signature', 'flavors: {}\n'],
    ['an empty one', 'signature: null\n'],
    ['one without inputs', `signature:\n  inputs: null\n  outputs: '[{"type": "double"}]'\n`],
  ])('finds none in a file with %s', (_, text) => {
    expect(parseSignature(text)).toBeNull();
  });

  it.each([
    ['no MLmodel', '<html>', /expected object, received string/],
    ['JSON that is cut', "signature:\n  inputs: '[{'\n", /expected JSON/],
    ['columns without a type', `signature:\n  inputs: '[{"name": "a"}]'\n`, /"type"/],
  ])('refuses %s', (_, text, words) => {
    expect(() => parseSignature(text)).toThrow(words);
  });
});

describe("a signature of MLflow's", () => {
  const user = (properties: object) => column('object', 'user', { properties });

  it.each([
    ['further columns', [column('double', 'a'), column('double', 'b')], [column('double', 'a')]],
    ['a column that need not be there', [column('double', 'a')], [column('double', 'a'), column('long', 'b', { required: false })]],
    ['a wider number', [column('integer', 'a')], [column('double', 'a')]],
    ['anything', [column('string', 'a')], [column('any', 'a')]],
    ['a wider tensor', [tensor('float32', [-1, 3], 'a')], [tensor('float64', [-1, 3], 'a')]],
    [
      'a property that need not be there',
      [user({ id: { type: 'long', required: true } })],
      [user({ id: { type: 'long', required: true }, nick: { type: 'string', required: false } })],
    ],
    ['a tensor instead of columns: nobody can tell', [column('double', 'a')], [tensor('float64', [-1, 1])]],
  ])('takes %s', (_, current, target) => {
    expect(requests(current, target)).toEqual([]);
  });

  it.each([
    ['a column that is missing', [column('double', 'a')], [column('double', 'a'), column('long', 'b')], 'input b (long), which 1 needs, is unknown to 2'],
    [
      'a wider number inside',
      [column('array', 'a', { items: { type: 'long' } })],
      [column('array', 'a', { items: { type: 'double' } })],
      'input a[] is long in 2, double in 1',
    ],
    ['a narrower number', [column('double', 'a')], [column('integer', 'a')], 'input a is double in 2, integer in 1'],
    ['a text', [column('string', 'a')], [column('double', 'a')], 'input a is string in 2, double in 1'],
    ['a column that may be left out', [column('long', 'a', { required: false })], [column('long', 'a')], 'input a may be left out in 2, not in 1'],
    ['a tensor of another size', [tensor('float64', [-1, 3])], [tensor('float64', [-1, 4])], 'input 0 is float64 [?, 3] in 2, float64 [?, 4] in 1'],
    [
      'a further property',
      [user({ id: { type: 'long', required: true }, nick: { type: 'string', required: true } })],
      [user({ id: { type: 'long', required: true } })],
      'input user.nick (string), which 2 takes, is unknown to 1',
    ],
  ])('does not take %s', (_, current, target, words) => {
    expect(requests(current, target)).toEqual([words]);
  });
});
