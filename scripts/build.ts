/**
 * Compiles to `dist/` (rootDir is the repository's, so the program is `dist/src/main.js`) and copies what the compiler leaves:
 * schemas, and the YAML and JSON files that the demo reads. The test server goes along, since the demo starts it.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
// An argument names another place than dist/ (the packaging test builds beside).
const out = path.resolve(root, process.argv[2] ?? 'dist');
rmSync(out, { recursive: true, force: true });

const tsc = path.join(path.dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');
const compiled = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', out], { cwd: root, stdio: 'inherit' });
if (compiled.status === 0) copyAssets();
else process.exitCode = compiled.status ?? 1;

function copyAssets(): void {
  const assets = [
    'src/**/*.{js,json,yaml,yml,html,css,svg,sql}',
    'test/support/tensorflow-serving/**/*.{js,json}',
    'schema/*.json',
    'config/**/*',
    'rules/**/*',
    'package.json',
  ];
  for (const file of globSync(assets, { cwd: root, withFileTypes: true })) {
    const from = path.join(file.parentPath, file.name);
    if (!file.isFile() || from.includes(`${path.sep}fixtures${path.sep}`)) continue;
    const to = path.join(out, path.relative(root, from));
    mkdirSync(path.dirname(to), { recursive: true });
    cpSync(from, to);
  }
}
