import { z } from 'zod';
import { matchesWhole } from '../domain/linear-regex.ts';
import { nearest } from '../rulefile/nearest.ts';
import type { YamlFile } from '../rulefile/yaml-document.ts';

const expected = 'expected the name of a model, * stands for any text';

/** Models by name; `*` stands for any text. */
export function modelPattern(): z.ZodType<string, string> {
  return z.string({ error: expected }).min(1, expected);
}

/** `fraud-*` as a pattern over the whole name. */
export function globPattern(glob: string): { readonly test: (name: string) => boolean } {
  const pattern = glob
    .split('*')
    .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`))
    .join('.*');
  return { test: (name) => matchesWhole(pattern, name) };
}

/** Those of `models` that are called so, in their order. */
export function modelsCalled(glob: string, models: readonly string[]): readonly string[] {
  const pattern = globPattern(glob);
  return models.filter((name) => pattern.test(name));
}

/** Reports a pattern that no model is called by. @returns the models that are, in the order of `models` */
export function checkModelPattern(yaml: YamlFile, path: readonly PropertyKey[], glob: string, models: readonly string[]): readonly string[] {
  const found = modelsCalled(glob, models);
  if (found.length > 0 || glob === '*') return found;
  const suggestion = nearest(glob, models);
  yaml.report(
    path,
    `found ${JSON.stringify(glob)}, which is no model${suggestion === null ? '' : `; did you mean "${suggestion}"?`} (there are: ${models.slice(0, 10).join(', ') || 'none'})`,
    { code: 'unknown_name' },
  );
  return found;
}
