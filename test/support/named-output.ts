import { relative } from 'node:path';
import { expect } from 'vitest';
import { nameOutputBy } from './kept-output.ts';

// Set up before every test file (vitest.config.ts): what is kept of rollbackd's output is named by the test.
nameOutputBy(() => {
  const { testPath = '', currentTestName = '' } = expect.getState();
  return `${relative(process.cwd(), testPath)}, ${currentTestName}`;
});
