import { parse } from 'yaml';
import { z } from 'zod';
import type { ModelSignature, ValueSpec } from '../../domain/signature.ts';

// The file MLmodel of a logged model; inputs, outputs and params are JSON in text. Only the fields that are used.
const jsonText = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue({ code: 'custom', message: 'expected JSON' });
    return z.NEVER;
  }
});
const modelFile = z.object({
  signature: z.object({ inputs: jsonText.nullish(), outputs: jsonText.nullish(), params: jsonText.nullish() }).nullish(),
});

type ValueType = {
  readonly type: string;
  readonly items?: ValueType | undefined;
  readonly values?: ValueType | undefined;
  readonly properties?: Readonly<Record<string, Property>> | undefined;
};
type Property = ValueType & { readonly required?: boolean | undefined };
const valueType: z.ZodType<ValueType> = z.object({
  type: z.string(),
  get items() {
    return valueType.optional();
  },
  get values() {
    return valueType.optional();
  },
  get properties() {
    return z.record(z.string(), property).optional();
  },
});
const property: z.ZodType<Property> = z.intersection(valueType, z.object({ required: z.boolean().optional() }));

const tensor = z.object({ type: z.literal('tensor'), name: z.string().optional(), 'tensor-spec': z.object({ dtype: z.string(), shape: z.array(z.number()) }) });
/** Until MLflow 2.9 a column that may be left out was `optional`. */
const column = z.intersection(property, z.object({ name: z.union([z.string(), z.number().transform(String)]).optional(), optional: z.boolean().optional() }));
const schema = z.array(z.union([tensor, column]));
const parameters = z.array(z.object({ name: z.string(), type: z.string().optional(), dtype: z.string().optional(), shape: z.array(z.number()).nullish() }));

type Entry = z.output<typeof schema>[number];

/** Numbers, each of which its successors can hold: MLflow casts what comes as JSON to the type of the signature. */
const widening: readonly (readonly string[])[] = [
  ['integer', 'long', 'float', 'double'],
  ['int8', 'int16', 'int32', 'int64', 'float32', 'float64'],
];
/** Inside arrays, objects and maps nothing is cast: whole numbers are read as long, others as double. */
const wideningInside: typeof widening = [
  ['integer', 'long'],
  ['float', 'double'],
];

/**
 * What a model was logged to take and give, `null` where it says nothing. MLflow passes further inputs over, but refuses further properties of an object.
 * @param text the file MLmodel
 * @throws {z.ZodError} when it is none
 * @see https://mlflow.org/docs/latest/ml/model/signatures/ (what is enforced at inference)
 */
export function parseSignature(text: string): ModelSignature | null {
  const { signature } = modelFile.parse(parse(text, { maxAliasCount: 100 }));
  if (signature?.inputs == null) return null;
  const inputs = schema.parse(signature.inputs);
  const outputs = signature.outputs == null ? [] : schema.parse(signature.outputs);
  const params = signature.params == null ? [] : parameters.parse(signature.params);
  return {
    signatures: { '': { inputs: { ...specsOf(inputs), ...parameterSpecs(params) }, outputs: specsOf(outputs) } },
    ignoresUnknownInputs: true,
    form: formOf(inputs),
  };
}

/** A table with named columns, one without, and a tensor may stand for each other, which the signatures do not tell. */
function formOf(inputs: readonly Entry[]): string {
  const isNamed = inputs.every(({ name }) => name !== undefined);
  return `${inputs.every(isTensor) ? 'tensors' : 'columns'}${isNamed ? ' by name' : ''}`;
}

function isTensor(entry: Entry): entry is z.output<typeof tensor> {
  return 'tensor-spec' in entry;
}

function specsOf(entries: readonly Entry[]): Readonly<Record<string, ValueSpec>> {
  // Without a prototype: an input may be called `__proto__`.
  const specs = Object.create(null) as Record<string, ValueSpec>;
  for (const [index, entry] of entries.entries()) {
    const name = entry.name ?? String(index);
    if (isTensor(entry)) specs[name] = numberSpec(entry['tensor-spec'].dtype, entry['tensor-spec'].shape);
    else addSpecs(specs, name, entry, { isOptional: entry.required === false || entry.optional === true });
  }
  return Object.fromEntries(Object.entries(specs));
}

/** A value and, one by one, what it is made of: `tags[]`, `user.age`, `features{}`. */
function addSpecs(specs: Record<string, ValueSpec>, name: string, value: ValueType, more: Partial<ValueSpec>): void {
  const types = more.within === undefined ? widening : wideningInside;
  specs[name] = { ...numberSpec(value.type, null, types), ...(value.type === 'any' ? { accepts: 'anything' as const } : {}), ...more };
  if (value.items !== undefined) addSpecs(specs, `${name}[]`, value.items, { within: name });
  if (value.values !== undefined) addSpecs(specs, `${name}{}`, value.values, { within: name });
  for (const [key, part] of Object.entries(value.properties ?? {}))
    addSpecs(specs, `${name}.${key}`, part, { within: name, isOptional: part.required === false });
}

/** Every parameter has a default; one that is unknown is passed over. */
function parameterSpecs(params: z.output<typeof parameters>): Readonly<Record<string, ValueSpec>> {
  return Object.fromEntries(
    params.map(({ name, type, dtype, shape }) => [`parameter ${name}`, { ...numberSpec(type ?? dtype ?? '', shape ?? []), isOptional: true }]),
  );
}

function numberSpec(type: string, shape: ValueSpec['shape'], types = widening): ValueSpec {
  const narrower = types.flatMap((row) => (row.includes(type) ? row.slice(0, row.indexOf(type)) : []));
  return { type, shape, ...(narrower.length === 0 ? {} : { accepts: narrower }) };
}
