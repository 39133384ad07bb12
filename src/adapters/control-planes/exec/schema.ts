import { z } from 'zod';
import { duration, filePath, text } from '../../../config/scalars.ts';
import { actionPlaneKeys, smokeBeforeSwitch } from '../action-contract.ts';

const argument = text().refine((value) => !value.includes('\0'), 'expected no NUL character');
const variable = z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, 'expected the name of an environment variable');

const command = z.strictObject({
  argv: z
    .tuple([text({ min: 1, expected: 'a program' })], argument, { error: 'expected a list of program and arguments; write [./switch.py, observe]' })
    .meta({ description: 'Program and arguments, taken as they are: no shell, no templates. Required.' }),
});

/** Of the contract (README.md); the last two as in sysexits.h. */
export const exitCodes = { done: 0, already: 10, conflict: 11, temporary: 75, noPermission: 77 } as const;
const meant: ReadonlySet<number> = new Set(Object.values(exitCodes));
const unknownExitCode = z
  .int({ error: 'expected an exit code: a whole number, 1 to 255' })
  .min(1, 'expected an exit code of 1 to 255')
  .max(255, 'expected an exit code of 1 to 255')
  .refine((code) => !meant.has(code), { error: (issue) => `exit code ${String(issue.input)} has a meaning of its own here; expected another` });

/** What stands under `exec` of a control plane. */
export const execConfig = z.strictObject({
  observe: command.meta({ description: 'Tells on standard output what serves. Required.' }),
  switch: command.meta({ description: 'Moves all traffic to a version; told which on standard input. Required.' }),
  stage: command.optional().meta({ description: 'Makes a version able to serve, before traffic moves. Default: none.' }),
  unstage: command.optional().meta({ description: 'Takes a staging back. Default: none, what was staged stays.' }),
  persist: command.optional().meta({ description: 'Makes a switch survive a restart. Default: none.' }),
  cwd: filePath().optional().meta({ description: 'Folder the commands run in. Default: /.' }),
  env: z
    .record(variable, argument, { error: 'expected a map of names to values' })
    .default({})
    .meta({ description: 'Environment beside PATH, HOME and LANG; nothing else is handed on. Default: none.', default: {} }),
  env_files: z
    .record(variable, filePath(), { error: 'expected a map of names to files' })
    .default({})
    .meta({ description: 'Variable → file that holds its secret value, read at each use and trimmed, never shown. Default: none.', default: {} }),
  observe_timeout: duration({ minMs: 1, minText: '1ms' }).prefault('10s').meta({ description: 'Longest time observe may take. Default: 10s.' }),
  timeout: duration({ minMs: 1, minText: '1ms' })
    .prefault('1m')
    .meta({ description: 'Longest time another command may take; then its process group is ended, and the outcome counts as unknown. Default: 1m.' }),
  unknown_exit_codes: z.array(unknownExitCode, { error: 'expected a list of exit codes; write [1, 137, 143]' }).default([]).meta({
    description: 'Exit codes of an action after which nobody knows whether it was done; [1, 137, 143] for kubectl exec. Default: none, they are final.',
    default: [],
  }),
  smoke_before_switch: smokeBeforeSwitch(),
});
export type ExecConfig = z.output<typeof execConfig>;

/** What stands under `models[].plane`. */
export const execKeys = actionPlaneKeys;
