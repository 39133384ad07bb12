import { z } from 'zod';
import { prometheusRuleSchema, ruleFileSchema } from '../rulefile/schema.ts';
import { configSchema, type Registries } from './schema.ts';

type JsonObject = Record<string, unknown>;

/** JSON Schema (draft-07, what editors read) of the daemon's file, from the schema it is validated with. */
export function configJsonSchema(registries: Registries): JsonObject {
  return finish(configSchema(registries), 'rollbackd: the daemon’s file, version 1');
}

/** JSON Schema (draft-07) of a rule file, in both its shapes. */
export function rulesJsonSchema(): JsonObject {
  return finish(z.union([ruleFileSchema, prometheusRuleSchema]), 'rollbackd: a rule file, version 1');
}

/** The text that is committed and printed. */
export function formatJsonSchema(schema: JsonObject): string {
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function finish(schema: z.ZodType, title: string): JsonObject {
  const json = z.toJSONSchema(schema, {
    target: 'draft-7',
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      const given = z.globalRegistry.get(zodSchema)?.['default'];
      const plain = jsonSchema as JsonObject;
      // zod writes what the parsed value would be (10000); people write what the file would hold (10s).
      if (given !== undefined) plain['default'] = given;
      if (plain['maximum'] === Number.MAX_SAFE_INTEGER) delete plain['maximum'];
      if (plain['minimum'] === -Number.MAX_SAFE_INTEGER) delete plain['minimum'];
    },
  }) as JsonObject;
  const { $schema, ...rest } = json;
  return { $schema, title, ...rest };
}
