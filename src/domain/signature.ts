import { lookUp } from './lookup.ts';

/** One input or output. Types are the plane's own words (`DT_FLOAT`, `double`), compared as they stand. */
export type ValueSpec = {
  readonly type: string;
  /** Size per dimension, -1: any; `null`: of unknown rank, or no tensor. */
  readonly shape: readonly number[] | null;
  /** A request may leave it out. */
  readonly isOptional?: boolean;
  /** Further types that this input takes. */
  readonly accepts?: readonly string[] | 'anything';
  /** Name of the input or output that it is a part of (a property of an object). */
  readonly within?: string;
};

export type Signature = { readonly inputs: Readonly<Record<string, ValueSpec>>; readonly outputs: Readonly<Record<string, ValueSpec>> };

/** What a version takes and gives. */
export type ModelSignature = {
  /** By name; a plane whose models have only one calls it by the empty name. */
  readonly signatures: Readonly<Record<string, Signature>>;
  /** An input that the version does not know is passed over; else the request is refused. */
  readonly ignoresUnknownInputs: boolean;
  /** How inputs are told apart (by name, by place); signatures of different forms are not compared. Absent: the plane has one form. */
  readonly form?: string;
};

/** A version of a model, with its signature. */
export type SignedVersion = { readonly version: string; readonly signature: ModelSignature };

export type Difference = {
  /** Requests that `current` takes `target` would not take. */
  readonly requests: readonly string[];
  /** Who reads the answers of `current` may not understand those of `target`. */
  readonly readers: readonly string[];
};

/**
 * Whether `target` can take the requests that `current` takes. What is not known counts as alike: an unknown rank, and a dimension of any size, on either
 * side; only what is sure to fail is told.
 */
export function compareSignatures(current: SignedVersion, target: SignedVersion): Difference {
  const requests: string[] = [];
  const readers: string[] = [];
  if (current.signature.form !== target.signature.form) return { requests, readers };
  for (const [name, today] of Object.entries(current.signature.signatures)) {
    const then = lookUp(target.signature.signatures, name);
    if (then === undefined) {
      requests.push(`${target.version} has no signature ${name}`);
      continue;
    }
    const prefix = name === '' ? '' : `${name}: `;
    const context = { from: current.version, to: target.version, ignoresUnknown: target.signature.ignoresUnknownInputs };
    requests.push(...compareInputs(today.inputs, then.inputs, context).map((words) => `${prefix}${words}`));
    readers.push(...compareOutputs(today.outputs, then.outputs, context).map((words) => `${prefix}${words}`));
  }
  return { requests, readers };
}

type Specs = Readonly<Record<string, ValueSpec>>;
type Context = { readonly from: string; readonly to: string; readonly ignoresUnknown: boolean };

function compareInputs(today: Specs, then: Specs, { from, to, ignoresUnknown }: Context): readonly string[] {
  const found: string[] = [];
  for (const [name, sent] of Object.entries(today)) {
    if (!isComparable(sent, today, then)) continue;
    const taken = lookUp(then, name);
    if (taken === undefined) {
      if (!ignoresUnknown || sent.within !== undefined) found.push(`input ${name} (${specText(sent)}), which ${from} takes, is unknown to ${to}`);
    } else if (!takes(taken, sent)) {
      found.push(`input ${name} is ${specText(sent)} in ${from}, ${specText(taken)} in ${to}`);
    } else if (sent.isOptional === true && taken.isOptional !== true) {
      found.push(`input ${name} may be left out in ${from}, not in ${to}`);
    }
  }
  for (const [name, needed] of Object.entries(then)) {
    if (needed.isOptional === true || lookUp(today, name) !== undefined || !isComparable(needed, today, then)) continue;
    found.push(`input ${name} (${specText(needed)}), which ${to} needs, is unknown to ${from}`);
  }
  return found;
}

function compareOutputs(today: Specs, then: Specs, { from, to }: Context): readonly string[] {
  const found: string[] = [];
  for (const [name, read] of Object.entries(today)) {
    if (!isComparable(read, today, then)) continue;
    const given = lookUp(then, name);
    if (given === undefined) found.push(`output ${name} (${specText(read)}) of ${from} is missing in ${to}`);
    else if (given.type !== read.type || !fits(given.shape, read.shape))
      found.push(`output ${name} is ${specText(read)} in ${from}, ${specText(given)} in ${to}`);
  }
  return found;
}

/** A part is compared only where both versions have the whole, of one type: else the whole is the difference. */
function isComparable({ within }: ValueSpec, today: Specs, then: Specs): boolean {
  if (within === undefined) return true;
  const [here, there] = [lookUp(today, within), lookUp(then, within)];
  return here !== undefined && there !== undefined && here.type === there.type;
}

function takes(taken: ValueSpec, sent: ValueSpec): boolean {
  if (taken.accepts === 'anything' || sent.accepts === 'anything') return true;
  return (taken.type === sent.type || taken.accepts?.includes(sent.type) === true) && fits(taken.shape, sent.shape);
}

function fits(a: ValueSpec['shape'], b: ValueSpec['shape']): boolean {
  if (a === null || b === null) return true;
  return a.length === b.length && a.every((size, index) => size < 0 || (b[index] ?? -1) < 0 || size === b[index]);
}

/** `DT_FLOAT [?, 14]` */
function specText({ type, shape }: ValueSpec): string {
  return shape === null ? type : `${type} [${shape.map((size) => (size < 0 ? '?' : String(size))).join(', ')}]`;
}
