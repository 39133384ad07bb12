import { z } from 'zod';

/** Where the version stands in an artifact's address: `s3://models/iris/v{{ $version }}`. */
const placeholder = /\{\{\s*\$version\s*\}\}/g;

/** Turns versions into artifact addresses and back. */
export type ArtifactNames = {
  /** @returns `null` when the address does not follow the pattern */
  readonly versionOf: (uri: string) => string | null;
  readonly uriOf: (version: string) => string;
};

/** An artifact's address with the version in it. */
export function artifactPattern(): z.ZodType<string, string> {
  return z.string({ error: 'expected an address with {{ $version }} in it' }).superRefine((pattern, context) => {
    const fault = patternFault(pattern);
    if (fault !== null) context.addIssue({ code: 'custom', message: fault });
  });
}

/** Why a text is no pattern, or `null`. */
function patternFault(pattern: string): string | null {
  const places = pattern.match(placeholder)?.length ?? 0;
  if (places !== 1) return `expected {{ $version }} once; it stands there ${places} times`;
  if (pattern.replace(placeholder, '').includes('{{')) return 'expected nothing but {{ $version }} in braces';
  return null;
}

/** @param pattern without one, the whole address is the version */
export function artifactNames(pattern: string | undefined): ArtifactNames {
  if (pattern === undefined) return { versionOf: (uri) => uri, uriOf: (version) => version };
  const [before = '', after = ''] = pattern.split(placeholder);
  return {
    versionOf: (uri) => {
      if (!uri.startsWith(before) || !uri.endsWith(after) || uri.length <= before.length + after.length) return null;
      const version = uri.slice(before.length, uri.length - after.length);
      return version.includes('/') ? null : version;
    },
    uriOf: (version) => `${before}${version}${after}`,
  };
}
