import { z } from 'zod';
import { parseDuration } from '../domain/duration.ts';

/**
 * The scalars all our YAML files are written in. Conventions, for every schema that is validated by the file loader:
 *
 * - A custom issue's message says what was expected and how to mend (`expected a ratio between 0 and 1; write 5% or 0.05`);
 *   `found …` is put before it by the diagnostics, from the file's own text.
 * - A path of a file is `filePath()`: the loader makes it absolute, relative to the folder of the file it stands in, before
 *   the schema sees it. So every plug-in's settings hold absolute paths. `.optional()`, `.meta()`,
 *   arrays and records around it keep working.
 * - Text that may look like a number (a version, a label's value) is `text()` or `versionId()`: the loader hands the file's own
 *   characters over, so `1.10` stays `1.10`.
 * - Each key says what it is, its unit and its default by `.meta({ description })` (put last, after `.optional()`/`.default()`):
 *   that is what editors show, and a test asks for it.
 */

/** Schemas whose value is a path: see above. */
export const filePaths = z.registry<{ readonly path: true }>();
/** Schemas that want a scalar as it stands in the file: see above. */
export const sourceTexts = z.registry<{ readonly text: true }>();

/** Path of a file, made absolute by the loader. */
export function filePath(): z.ZodType<string, string> {
  const schema = z.string({ error: 'expected the path of a file' }).min(1, 'expected the path of a file');
  filePaths.add(schema, { path: true });
  return schema;
}

/** Text; a bare number or boolean in YAML is taken as it is written. */
export function text(options: { min?: number; expected?: string } = {}): z.ZodType<string, string | number | boolean> {
  const schema = z.union([z.string(), z.number(), z.boolean()], { error: `expected ${options.expected ?? 'text'}` }).transform((value, context) => {
    const given = String(value);
    if (given.length < (options.min ?? 0)) {
      context.addIssue({ code: 'custom', message: `expected ${options.expected ?? 'text that is not empty'}` });
      return z.NEVER;
    }
    return given;
  });
  sourceTexts.add(schema, { text: true });
  return schema;
}

/** Version id: always a string, as the control plane writes it. */
export function versionId(): z.ZodType<string, string | number | boolean> {
  return text({ min: 1, expected: 'a version, as the control plane writes it' }).meta({ description: 'Version id, plane-native, always a string' });
}

/** A name people give and refer to: any text that is not blank. */
export function entityName(what: string): z.ZodType<string, string> {
  return z.string({ error: `expected ${what}` }).regex(/^\S(.*\S)?$/s, `expected ${what}, without blanks around it`);
}

const durationPattern = '^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$';

/** Duration in Prometheus's grammar → milliseconds. `options.minMs` inclusive; `minText` is how the floor is shown. */
export function duration(options: { minMs?: number; minText?: string } = {}): z.ZodType<number, string | number> {
  const hint = 'a duration, biggest unit first; write 30s, 5m or 1h30m';
  return z
    .union([z.string().meta({ pattern: durationPattern }), z.literal(0)], {
      error: (issue) => (typeof issue.input === 'number' ? `expected ${hint} (a number needs its unit)` : `expected ${hint}`),
    })
    .meta({ description: 'Duration as in Prometheus: 15s, 5m, 1h30m' })
    .transform((value, context) => {
      const parsed = value === 0 ? 0 : parseDuration(value);
      if (parsed === null) {
        context.addIssue({ code: 'custom', message: `expected ${hint}` });
        return z.NEVER;
      }
      if (options.minMs !== undefined && parsed < options.minMs) {
        context.addIssue({ code: 'custom', message: `expected at least ${options.minText ?? `${options.minMs}ms`}` });
        return z.NEVER;
      }
      return parsed;
    });
}

/** `5%` or `0.05` → 0..1. */
export function ratio(): z.ZodType<number, string | number> {
  const hint = 'a ratio between 0 and 1; write 5% or 0.05';
  return z
    .union([z.string().meta({ pattern: '^[0-9]+(\\.[0-9]+)?\\s*%$' }), z.number().meta({ minimum: 0, maximum: 1 })], { error: `expected ${hint}` })
    .meta({ description: 'Ratio, 0..1, as 0.05 or 5%' })
    .transform((value, context) => {
      const percent = typeof value === 'string' ? /^(\d+(?:\.\d+)?)\s*%$/.exec(value) : null;
      const parsed = typeof value === 'number' ? value : percent === null ? Number.NaN : Number(percent[1]) / 100;
      if (!(parsed >= 0 && parsed <= 1)) {
        context.addIssue({ code: 'custom', message: `expected ${hint}` });
        return z.NEVER;
      }
      return parsed;
    });
}

/** Whole number within bounds, both inclusive. */
export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): z.ZodType<number, number> {
  const expected = max === Number.MAX_SAFE_INTEGER ? `expected a whole number, ${min} or more` : `expected a whole number, ${min} to ${max}`;
  return z.int({ error: expected }).min(min, expected).max(max, expected);
}

/** Finite number, 0 or more. */
export function positiveNumber(): z.ZodType<number, number> {
  return z.number({ error: 'expected a number, 0 or more' }).min(0, 'expected a number, 0 or more');
}

export function flag(): z.ZodType<boolean, boolean> {
  return z.boolean({ error: 'expected true or false' });
}

/** Absolute `http://` or `https://` URL. User and password in it are refused: URLs end up in logs. */
export function httpUrl(): z.ZodType<string, string> {
  return z.string({ error: 'expected a URL; write http://host:port' }).superRefine((value, context) => {
    const url = /^https?:\/\/[^/]/.test(value) ? URL.parse(value) : null;
    if (url === null) context.addIssue({ code: 'custom', message: 'expected a URL; write http://host:port' });
    else if (url.username !== '' || url.password !== '')
      context.addIssue({ code: 'custom', message: 'expected a URL without user and password; put them under http_config.basic_auth' });
  });
}

/** Name of a label as Prometheus has it. */
export const labelNamePattern = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** Label name. */
export function labelName(): z.ZodType<string, string> {
  return z.string({ error: 'expected a label name' }).regex(labelNamePattern, 'expected a label name: letters, digits and _, no digit first');
}

/** Map of labels: names as Prometheus has them, values as text. */
export function labels(): z.ZodType<Record<string, string>, Record<string, string | number | boolean>> {
  return z.record(labelName(), text({ expected: 'text as the value of a label' }), { error: 'expected a map of label names to values' });
}
