#!/usr/bin/env node
// Only what every Node understands stands here, so that an old one can say so.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < 24 || (major === 24 && minor < 15)) {
  process.stderr.write(
    `rollbackd needs Node 24.15 or newer, found ${process.versions.node}; in a checkout start it by "npm run -s rollbackd --", which brings its own\n`,
  );
  process.exitCode = 1;
} else {
  (await import('node:module')).enableCompileCache();
  // Before the heap grows by what is imported.
  if (process.argv[2] === 'run') (await import('./cli/lean-heap.ts')).keepHeapLean();
  const { runProgram } = await import('./cli/program.ts');
  process.exitCode = await runProgram(process.argv);
}
