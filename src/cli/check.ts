import { readFile } from 'node:fs/promises';
import { realClock } from '../adapters/clock/real-clock.ts';
import { buildPlanes } from '../app/create.ts';
import { askRights } from '../app/rights.ts';
import type { Config } from '../config/config.ts';
import { displayPath, isRuleTest } from '../config/files.ts';
import { loadConfig } from '../config/load.ts';
import { type Diagnostic, formatDiagnostics, hasErrors, sortDiagnostics } from '../rulefile/diagnostic.ts';
import { parseRuleFile } from '../rulefile/parse.ts';
import { createLog } from '../telemetry/log.ts';
import { CommandFailed, exitCodes } from './exit.ts';
import { registries } from './registries.ts';

/** How long all planes together may take to say what they may do. */
const rightsTimeoutMs = 30_000;

/** `check rules FILE…`: the files alone; standard input without a file. @returns the exit code */
export async function checkRules(files: readonly string[], options: { lintFatal: boolean; output: 'text' | 'json' }): Promise<number> {
  const diagnostics: Diagnostic[] = [];
  // A shell's `rules/*.yaml` takes the unit tests along that stand beside the rules.
  const ruleFiles = files.length === 0 ? ['-'] : files.filter((file) => !isRuleTest(file));
  let rules = 0;
  let groups = 0;
  for (const file of ruleFiles) {
    const shown = file === '-' ? '<stdin>' : displayPath(file);
    const result = parseRuleFile(await read(file), shown);
    diagnostics.push(...result.diagnostics);
    groups += result.groups.length;
    rules += result.groups.reduce((sum, group) => sum + group.rules.length, 0);
  }
  return report(sortDiagnostics(diagnostics), options, `${plural(ruleFiles.length, 'file')}, ${plural(groups, 'group')}, ${plural(rules, 'rule')}`);
}

/** `check config [FILE]`: the daemon's file and everything it names. @returns the exit code */
export async function checkConfig(file: string, options: { lintFatal: boolean; rights: boolean; output: 'text' | 'json' }): Promise<number> {
  const { config, diagnostics: found } = await loadConfig(file, registries);
  const diagnostics = config === null || !options.rights ? found : [...found, ...(await checkRights(config))];
  const summary =
    config === null
      ? ''
      : `${plural(config.models.length, 'model')}, ${plural(config.groups.flatMap((group) => group.rules).length, 'rule')}, ${plural(config.sources.length, 'source')}, ${plural(config.controlPlanes.length, 'control plane')}`;
  return report(diagnostics, options, summary);
}

/** What the control planes may not do, as faults of the file's models. Asks servers. */
async function checkRights(config: Config): Promise<readonly Diagnostic[]> {
  const log = createLog({ level: 'error', format: process.stderr.isTTY ? 'pretty' : 'ecs' });
  await using planes = await buildPlanes(config, { clock: realClock, log });
  const models = new Map(config.models.map((model) => [model.name, model]));
  const answers = await askRights({ models, planes: planes.byName }, AbortSignal.timeout(rightsTimeoutMs));
  return answers.flatMap(({ model, controlPlane, missing, error }): Diagnostic[] => {
    const fault = (message: string): Diagnostic => ({
      file: displayPath(config.file),
      line: 1,
      column: 1,
      endColumn: 1,
      path: `models.${model}`,
      severity: 'error',
      code: 'missing_right',
      sourceLine: '',
      caret: { start: 0, length: 0 },
      message,
    });
    if (error !== null) return [fault(`rights on control plane ${controlPlane} could not be asked: ${error}`)];
    return missing.map((right) => fault(`control plane ${controlPlane} lacks a right: ${right}; grant the role in its README`));
  });
}

function report(diagnostics: readonly Diagnostic[], options: { lintFatal: boolean; output: 'text' | 'json' }, summary: string): number {
  const failed = hasErrors(diagnostics);
  if (options.output === 'json') process.stdout.write(`${JSON.stringify(diagnostics, null, 2)}\n`);
  else if (diagnostics.length > 0) process.stderr.write(`${formatDiagnostics(diagnostics)}\n`);
  const errors = diagnostics.filter((diagnostic) => diagnostic.severity === 'error').length;
  const warnings = diagnostics.length - errors;
  if (failed) {
    process.stderr.write(`FAILED: ${plural(errors, 'error')}, ${plural(warnings, 'warning')}\n`);
    return exitCodes.error;
  }
  if (options.output === 'text') process.stdout.write(`SUCCESS: ${summary}${warnings > 0 ? `, ${plural(warnings, 'warning')}` : ''}\n`);
  return options.lintFatal && warnings > 0 ? exitCodes.lint : exitCodes.ok;
}

async function read(file: string): Promise<Uint8Array> {
  if (file === '-') return await readStandardInput();
  try {
    return await readFile(file);
  } catch (error) {
    throw new CommandFailed(`${file}: cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}

export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
