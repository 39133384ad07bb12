import { readFileSync } from 'node:fs';
import { findPlanted } from '../test/support/planted-secrets.ts';

// npm run -s check:output -- FILE…: the files, such as all that a run of the tests printed, hold no secret of a test.
const files = process.argv.slice(2);
const faults = files.flatMap((file) => {
  try {
    return findPlanted(readFileSync(file, 'utf8')).map(({ line, shown }) => `${file}:${line}: a secret of a test: …${shown}…`);
  } catch (error) {
    return [`${file}: cannot be read: ${error instanceof Error ? error.message : String(error)}`];
  }
});
for (const fault of faults) process.stderr.write(`${fault}\n`);
process.stderr.write(`${faults.length} faults in ${files.length} files\n`);
process.exitCode = faults.length === 0 && files.length > 0 ? 0 : 1;
