const secretKey = /authorization|passw|secret|token|credential|cookie|api_?key|private_?key|webhook|api_?url/i;
const shown = '<secret>';
const maxDepth = 6;

/** What a person needs of an error, in plain data; never its `config`, `request` or `response`, where HTTP clients keep URLs and headers. */
export type DescribedError = { readonly type: string; readonly message: string; readonly stack: string; readonly errorClass: string | null };

/** Reduces any thrown value; its causes are told in the stack, by name and message. */
export function describeError(value: unknown): DescribedError {
  if (!(value instanceof Error)) {
    const message = scrubText(typeof value === 'string' ? value : `a value that is no Error was thrown (${typeof value})`);
    return { type: typeof value, message, stack: message, errorClass: null };
  }
  const stack = [value.stack ?? `${value.name}: ${value.message}`, ...causesOf(value).map((cause) => `caused by ${cause.name}: ${cause.message}`)].join('\n');
  const errorClass = 'class' in value && typeof value.class === 'string' ? value.class : null;
  return { type: value.name, message: scrubText(value.message), stack: scrubText(stack), errorClass };
}

function causesOf(error: Error): Error[] {
  const causes: Error[] = [];
  for (let cause = error.cause; cause instanceof Error && causes.length < maxDepth; cause = cause.cause) causes.push(cause);
  return causes;
}

/** Plain copy of a log field: values under keys that smell of secrets are blanked, errors described, texts scrubbed, deep structures cut. */
export function withoutSecrets(value: unknown, key = '', depth = 0): unknown {
  if (secretKey.test(key) && value !== null && typeof value !== 'boolean' && typeof value !== 'number') return shown;
  if (typeof value === 'string') return scrubText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return describeError(value);
  if (value instanceof Date) return value.toISOString();
  if (depth >= maxDepth) return '…';
  if (value instanceof Map) return withoutSecrets(Object.fromEntries(value), key, depth);
  if (Array.isArray(value) || value instanceof Set) return [...value].map((item) => withoutSecrets(item, '', depth + 1));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withoutSecrets(item, name, depth + 1)]));
}

/** Blanks what is a secret by its shape: passwords inside URLs, bearer tokens, bcrypt hashes, the path of a Slack webhook. */
export function scrubText(text: string): string {
  return text
    .replaceAll(/(\w:\/\/)[^\s/@:]*:[^\s/@]*@/g, `$1${shown}@`)
    .replaceAll(/\b(Bearer|Basic)\s+[\w.~+/=-]{6,}/gi, `$1 ${shown}`)
    .replaceAll(/\$2[abxy]?\$\d\d\$[./A-Za-z0-9]+/g, shown)
    .replaceAll(/(hooks\.slack\.com\/)[^\s"']+/g, `$1${shown}`);
}
