import { validate as isCron } from 'node-cron';
import { z } from 'zod';

/** A cron expression of five fields, for a job of our own; in UTC. */
export function cronSchedule(example: string): z.ZodType<string, string> {
  return z
    .string({ error: `expected a cron expression; write ${example}` })
    .trim()
    .refine((text) => /^\S+(?:\s+\S+){4}$/.test(text) && isCron(text), `expected a cron expression of five fields; write ${example}`);
}
