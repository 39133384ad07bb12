import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { registries } from '../../src/cli/registries.ts';
import { configJsonSchema, formatJsonSchema, rulesJsonSchema } from '../../src/config/json-schema.ts';

const root = join(import.meta.dirname, '../..');
const schemas = { config: configJsonSchema(registries), rules: rulesJsonSchema() };

/** Paths of all properties in a JSON Schema that lack a description. */
function undescribed(schema: unknown, path = ''): string[] {
  if (Array.isArray(schema)) return schema.flatMap((item, i) => undescribed(item, `${path}/${i}`));
  if (typeof schema !== 'object' || schema === null) return [];
  return Object.entries(schema).flatMap(([key, value]) => {
    if (key !== 'properties') return key === 'default' ? [] : undescribed(value, `${path}/${key}`);
    return Object.entries(value as Record<string, { description?: string; $ref?: string; allOf?: unknown }>).flatMap(([name, property]) => [
      ...(property.description === undefined ? [`${path}/${name}`] : []),
      ...undescribed(property, `${path}/${name}`),
    ]);
  });
}

describe('JSON Schemas', () => {
  // After a wanted change: npx vitest run test/config/json-schema.test.ts -u
  it.each(['config', 'rules'] as const)('schema/%s.v1.schema.json is what the code gives', async (name) => {
    await expect(formatJsonSchema(schemas[name])).toMatchFileSnapshot(join(root, `schema/${name}.v1.schema.json`));
  });

  it.each(['config', 'rules'] as const)('%s is draft-07 and describes every key', (name) => {
    expect(schemas[name]['$schema']).toBe('http://json-schema.org/draft-07/schema#');
    expect(undescribed(schemas[name])).toEqual([]);
  });
});

/** Fastify's own validator (ajv), told to change nothing. */
describe('files by their JSON Schema', () => {
  let app: FastifyInstance;
  beforeAll(() => {
    app = Fastify({ ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false, strict: false, logger: false } } });
    for (const [name, schema] of Object.entries(schemas)) app.post(`/${name}`, { schema: { body: schema } }, () => 'ok');
  });
  afterAll(() => app.close());

  async function verdict(name: string, file: string): Promise<string> {
    const answer = await app.inject({ method: 'POST', url: `/${name}`, payload: parse(readFileSync(file, 'utf8')) as object });
    return answer.statusCode === 200 ? 'valid' : answer.body;
  }

  it.each<[name: string, file: string]>([
    ['config', 'config/rollbackd.yaml'],
    ['config', 'config/rollbackd.example.yaml'],
    ['rules', 'rules/fraud-detector.yaml'],
    ...readdirSync(join(root, 'test/rulefile'))
      .filter((file) => file.endsWith('.good.yaml'))
      .map((file) => ['rules', `test/rulefile/${file}`] as [string, string]),
    ...readdirSync(join(root, 'test/config'))
      .filter((file) => file.endsWith('.good.yaml'))
      .map((file) => ['config', `test/config/${file}`] as [string, string]),
  ])('%s takes %s', async (name, file) => {
    expect(await verdict(name, join(root, file))).toBe('valid');
  });

  it.each(['rule-unknown-key', 'for-in-words', 'rollback-mode', 'error-ratio-over-one', 'group-without-model'])('rules refuses %s', async (name) => {
    expect(await verdict('rules', join(root, `test/rulefile/${name}.bad.yaml`))).not.toBe('valid');
  });

  it.each(['unknown-top-key', 'source-unknown-kind', 'rollback-mode-slip', 'model-without-source'])('config refuses %s', async (name) => {
    expect(await verdict('config', join(root, `test/config/${name}.bad.yaml`))).not.toBe('valid');
  });
});
