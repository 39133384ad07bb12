import { z } from 'zod';
import type { RetentionPolicy } from '../domain/retention.ts';
import { cronSchedule } from './cron-schedule.ts';
import { duration, wholeNumber } from './scalars.ts';

/** `models[].retention`. */
export const retentionSchema = z.strictObject({
  mode: z
    .enum(['enforce', 'dry_run', 'off'])
    .default('dry_run')
    .meta({ description: 'enforce: delete; dry_run: only tell what would be deleted; off: nothing. Deleting is opted into. Default: dry_run.' }),
  keep: wholeNumber(1).default(5).meta({ description: 'The newest so many versions stay. Default: 5.' }),
  min_age: duration().default(604_800_000).meta({ description: 'Younger versions stay. Default: 7d.', default: '7d' }),
  schedule: cronSchedule('0 3 * * *').default('0 3 * * *').meta({ description: 'When, as a cron expression in UTC. Default: 0 3 * * *.' }),
  max_deletions: wholeNumber(1).default(10).meta({ description: 'At most so many are deleted in one run, the oldest first. Default: 10.' }),
});

export function toRetention(parsed: z.output<typeof retentionSchema>): RetentionPolicy {
  return { mode: parsed.mode, keep: parsed.keep, minAgeMs: parsed.min_age, schedule: parsed.schedule, maxDeletions: parsed.max_deletions };
}
