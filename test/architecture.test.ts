import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');

/** The words that schemas are made of; a plug-in's schema uses them too. */
const schemaWords = ['src/config/scalars.ts', 'src/config/http-config.ts', 'src/config/key-rules.ts'];

/** Groups of adapters that talk to an API server of Kubernetes. */
const kubernetesUsers: ReadonlySet<string> = new Set(['control-planes', 'leases']);

/** Groups of adapters that talk to an MLflow server. */
const mlflowUsers: ReadonlySet<string> = new Set(['control-planes', 'sources']);

/** What a layer may import besides itself; `*` anything. The first entry whose prefix fits a file is its layer. */
const layers: readonly { readonly prefix: string; readonly may: readonly string[] | '*'; readonly packages: 'none' | 'any' }[] = [
  { prefix: 'src/domain/', may: [], packages: 'none' },
  ...schemaWords.map((prefix) => ({ prefix, may: ['src/domain/', ...schemaWords], packages: 'any' as const })),
  { prefix: 'src/config/', may: ['src/domain/', 'src/rulefile/'], packages: 'any' },
  { prefix: 'src/rulefile/', may: ['src/domain/', 'src/config/'], packages: 'any' },
  { prefix: 'src/telemetry/', may: ['src/domain/'], packages: 'any' },
  { prefix: 'src/web/', may: ['src/domain/', 'src/telemetry/'], packages: 'any' },
  ...['clock', 'http', 'smoke', 'kubernetes', 'mlflow', 'journal', 'notify', 'sources', 'control-planes', 'leases', 'process', 'files'].map((group) => ({
    prefix: `src/adapters/${group}/`,
    may: [
      'src/domain/',
      'src/adapters/http/',
      ...(mlflowUsers.has(group) ? ['src/adapters/mlflow/'] : []),
      'src/adapters/process/',
      'src/adapters/files/',
      ...(kubernetesUsers.has(group) ? ['src/adapters/kubernetes/'] : []),
      ...schemaWords,
    ],
    packages: 'any' as const,
  })),
  // The composition root.
  { prefix: 'src/app/create.ts', may: '*', packages: 'any' },
  { prefix: 'src/app/', may: ['src/domain/', 'src/config/', 'src/rulefile/', 'src/telemetry/', 'src/web/'], packages: 'any' },
  { prefix: 'src/cli/', may: '*', packages: 'any' },
  { prefix: 'src/main.ts', may: '*', packages: 'any' },
];

/** Names of what a file imports: static, type-only, re-exported and `import('…')`. */
function importsOf(text: string): string[] {
  const bare = text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
  const found = bare.matchAll(
    /(?:^|[;\s])(?:import|export)\s[^'"`;]*?from\s*['"]([^'"]+)['"]|(?:^|[;\s])import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g,
  );
  return [...found].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

/** Says what is wrong with `file` importing `specifier`, or `null`. */
function faultOf(file: string, specifier: string): string | null {
  const layer = layers.find((candidate) => file.startsWith(candidate.prefix));
  if (layer === undefined) return `${file}: belongs to no layer; add its folder to test/architecture.test.ts`;
  if (!specifier.startsWith('.')) return layer.packages === 'none' ? `${file}: imports "${specifier}", but ${layer.prefix} imports nothing but itself` : null;
  const target = path.posix.join(path.posix.dirname(file), specifier);
  if (layer.may === '*' || target.startsWith(layer.prefix) || layer.may.some((prefix) => target.startsWith(prefix))) return null;
  return `${file}: imports ${target}, but ${layer.prefix} may import only ${[layer.prefix, ...layer.may].join(', ')}`;
}

describe('the direction of dependencies', () => {
  const files = globSync('src/**/*.ts', { cwd: root }).filter((file) => !file.endsWith('.test.ts') && !file.includes('/gen/'));

  it('points inwards everywhere', () => {
    const faults = files.flatMap((file) => importsOf(readFileSync(path.join(root, file), 'utf8')).map((specifier) => faultOf(file, specifier)));

    expect(faults.filter((fault) => fault !== null)).toEqual([]);
    expect(files.length).toBeGreaterThan(10);
  });

  it('lets no clock into the domain: a Date is made of a number there', () => {
    const clocks = files.filter(
      (file) => file.startsWith('src/domain/') && /\bDate\(\s*\)|\bDate\.now\b|\bperformance\.now\b/.test(readFileSync(path.join(root, file), 'utf8')),
    );

    expect(clocks).toEqual([]);
  });

  it('matches patterns of the configuration in linear time only', () => {
    const compiling = files.filter((file) => readFileSync(path.join(root, file), 'utf8').includes('new RegExp('));

    // It makes tests of one character of them.
    expect(compiling).toEqual(['src/domain/linear-regex.ts']);
  });

  it('puts text into pages only where it is escaped', () => {
    const raw = globSync('src/web/**/*.{ts,js}', { cwd: root }).filter((file) =>
      /dangerouslySetInnerHTML|innerHTML|insertAdjacentHTML|document\.write/.test(readFileSync(path.join(root, file), 'utf8')),
    );

    expect(raw).toEqual([]);
  });

  it.each([
    ['src/domain/a.ts', 'node:fs', 'imports nothing but itself'],
    ['src/domain/a.ts', 'zod', 'imports nothing but itself'],
    ['src/domain/a.ts', '../config/scalars.ts', 'may import only src/domain/'],
    ['src/adapters/smoke/index.ts', '../notify/slack/index.ts', 'src/adapters/smoke/ may import only'],
    ['src/adapters/sources/prometheus/index.ts', '../../../config/schema.ts', 'may import only'],
    ['src/adapters/sources/prometheus/index.ts', '../../kubernetes/client.ts', 'may import only'],
    ['src/adapters/kubernetes/client.ts', '../control-planes/index.ts', 'may import only'],
    ['src/app/loop.ts', '../adapters/clock/real-clock.ts', 'may import only'],
    ['src/web/server.ts', '../app/create.ts', 'may import only'],
    ['src/attic/a.ts', './b.ts', 'belongs to no layer'],
  ])('refuses %s importing %s', (file, specifier, words) => {
    expect(faultOf(file, specifier)).toContain(words);
  });

  it('sees every form of import', () => {
    const text = `import a from 'a';\nimport type { B } from './b.ts';\nimport 'c';\nexport * from './d.ts';\nexport { e,\n f } from 'e';\nconst g = await import('g');\n// import 'no';`;

    expect(importsOf(text)).toEqual(['a', './b.ts', 'c', './d.ts', 'e', 'g']);
  });
});
