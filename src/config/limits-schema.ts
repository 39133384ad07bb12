import { z } from 'zod';
import { defaultLimits, type Limits } from '../domain/limits.ts';
import { duration, ratio, wholeNumber } from './scalars.ts';

/** `limits:` of the daemon's file. */
export const limitsSchema = z.strictObject({
  max_concurrent_rollbacks: wholeNumber(1)
    .default(defaultLimits.maxConcurrentRollbacks)
    .meta({ description: 'Rollbacks under way at once, over all models; further breaches are held (too_many_at_once). Default: 3.' }),
  max_models_share: ratio()
    .default(defaultLimits.maxModelsShare)
    .meta({ description: 'Share of all models that may be rolled back at once; at least one may. The smaller of both limits holds. Default: 0.2.' }),
  flap_lock: z
    .strictObject({
      window: duration().default(defaultLimits.flapLock.windowMs).meta({
        description:
          'Two rollbacks of a model to the same version within this time lock the model for as long, or until it is resumed; 0s: never. Default: 1d.',
        default: '1d',
      }),
    })
    .prefault({})
    .meta({ description: 'Stops a model that goes back and forth (flap_lock). Default: window 1d.' }),
});

export function toLimits(parsed: z.output<typeof limitsSchema>): Limits {
  return {
    maxConcurrentRollbacks: parsed.max_concurrent_rollbacks,
    maxModelsShare: parsed.max_models_share,
    flapLock: { windowMs: parsed.flap_lock.window },
  };
}
