import { z } from 'zod';
import { KubernetesError } from './errors.ts';
import type { KubernetesObject } from './object.ts';

/**
 * What a plane uses of an object.
 * @param what names it for people: `deployment shop/fraud`
 * @throws {KubernetesError} permanent, when the object is not as the schema says
 */
export function parseObject<Schema extends z.ZodType>(schema: Schema, found: KubernetesObject, what: string): z.output<Schema> {
  const parsed = schema.safeParse(found);
  if (parsed.success) return parsed.data;
  throw new KubernetesError('permanent', `kubernetes: ${what} is not as expected: ${z.prettifyError(parsed.error).replaceAll(/\s+/g, ' ')}`);
}
