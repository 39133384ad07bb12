import { readFileSync } from 'node:fs';

/** The package's version; its package.json stands two folders up in a checkout, three in `dist`. */
export function readVersion(): string {
  for (const candidate of ['../../package.json', '../../../package.json']) {
    try {
      const parsed = JSON.parse(readFileSync(new URL(candidate, import.meta.url), 'utf8')) as { name?: string; version?: string };
      if (parsed.name === 'rollbackd' && parsed.version !== undefined) return parsed.version;
    } catch {
      // Not there: the next place.
    }
  }
  return 'unknown';
}
