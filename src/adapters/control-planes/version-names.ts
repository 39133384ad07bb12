import { z } from 'zod';
import { always } from '../../config/key-rules.ts';
import { text, versionId } from '../../config/scalars.ts';
import { captureOf, compileRegex } from '../../domain/linear-regex.ts';
import { lookUp } from '../../domain/lookup.ts';

/**
 * Keys by which a model says which of the plane's things (a Service, a subset, a template) is which version.
 * @param thing in words: `the Service`
 */
export function versionNameKeys(thing: string) {
  return {
    versions: z
      .record(versionId(), text({ min: 1, expected: `the name of ${thing}` }), { error: `expected a map of versions to names of ${thing}` })
      .optional()
      .meta({ description: `Version → name of ${thing}. Default: none, then version_pattern.` }),
    version_pattern: z
      .string({ error: 'expected a regular expression with one capture' })
      .refine((pattern) => compileRegex(pattern).regex?.captures === 1, 'expected a regular expression with exactly one capture, such as fraud-v(\\d+)')
      .optional()
      .meta({ description: `Regular expression with one capture, anchored: name of ${thing} → version. Default: none, then the name is the version.` }),
  };
}

/** What these keys ask of each other. */
export const versionNameCheck = always((value, refuse) => {
  if (value['versions'] !== undefined && value['version_pattern'] !== undefined)
    refuse('version_pattern', 'found versions and version_pattern, expected one of them');
  const { versions } = value;
  if (typeof versions !== 'object' || versions === null) return;
  const names = Object.values(versions).map(String);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) refuse('versions', `found ${JSON.stringify(twice)} for two versions, expected a name of its own for each`);
});

export type VersionNameKeys = { readonly versions?: Readonly<Record<string, string>> | undefined; readonly version_pattern?: string | undefined };

/** Both ways between the names of a plane and version ids. */
export type VersionNames = {
  /** Version of a name; the name itself where the keys do not say. */
  readonly versionOf: (name: string) => string;
  /** Name of a version, as far as the keys tell it without looking. */
  readonly nameOf: (version: string) => string | null;
  /** Versions the keys name. */
  readonly named: readonly string[];
};

export function versionNames({ versions, version_pattern: pattern }: VersionNameKeys): VersionNames {
  if (versions !== undefined) {
    const byName = new Map(Object.entries(versions).map(([version, name]) => [name, version]));
    return { versionOf: (name) => byName.get(name) ?? name, nameOf: (version) => lookUp(versions, version) ?? null, named: Object.keys(versions) };
  }
  if (pattern === undefined) return { versionOf: (name) => name, nameOf: (version) => version, named: [] };
  return { versionOf: (name) => captureOf(pattern, name) || name, nameOf: () => null, named: [] };
}
