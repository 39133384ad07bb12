import { z } from 'zod';
import { ApiError } from './api.ts';

/** What a list takes. */
export const listQuery = z.strictObject({ model: z.string().min(1).optional(), limit: z.coerce.number().int().min(1).max(1000).default(100) });

/** @throws {ApiError} 400 with every fault */
export function checked<Value>(schema: z.ZodType<Value>, value: unknown, where: string): Value {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ApiError('bad_data', result.error.issues.map((issue) => `${[where, ...issue.path].join('.')}: ${issue.message}`).join('; '));
}

/** @throws {ApiError} 404 */
export function found<Value>(value: Value | null, message: string): Value {
  if (value === null) throw new ApiError('not_found', message);
  return value;
}
