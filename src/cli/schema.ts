import { configJsonSchema, formatJsonSchema, rulesJsonSchema } from '../config/json-schema.ts';
import { CommandFailed } from './exit.ts';
import { registries } from './registries.ts';

/** `schema rules|config`, to stdout. */
export function printSchema(which: string): void {
  if (which !== 'rules' && which !== 'config') throw new CommandFailed(`rollbackd schema: found "${which}", expected rules or config`);
  process.stdout.write(formatJsonSchema(which === 'rules' ? rulesJsonSchema() : configJsonSchema(registries)));
}
