import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { outputFolder } from './kept-output.ts';
import { findPlanted } from './planted-secrets.ts';

const maxShown = 20;

/**
 * Around a whole run (vitest.config.ts): what rollbackd wrote in all of its tests, logs through the real serializers, output of its processes and bodies of
 * messages, must hold no secret of a test. @returns searches it; throws, and so fails the run, with the places
 */
export default function keepAndSearchOutput(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'rollbackd-output-'));
  process.env[outputFolder] = folder;
  return () => {
    const leaks = readdirSync(folder).flatMap((name) => findPlanted(readFileSync(join(folder, name), 'utf8')));
    rmSync(folder, { recursive: true, force: true });
    if (leaks.length === 0) return;
    const shown = leaks.slice(0, maxShown).map(({ start, shown: around }) => `  ${start}…\n    …${around}…`);
    throw new Error(`secrets of tests stand in ${leaks.length} lines that rollbackd wrote:\n${shown.join('\n')}`);
  };
}
