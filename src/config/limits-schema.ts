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
  telemetry_breaker: z
    .strictObject({
      share: positiveRatio()
        .default(defaultLimits.telemetryBreaker.share)
        .meta({ description: 'Share of the models without fresh data at which it opens, above 0. Default: 0.5.' }),
      min_models: wholeNumber(1)
        .default(defaultLimits.telemetryBreaker.minModels)
        .meta({ description: 'Fewer models with rules that act than this do not open it. Default: 5.' }),
      for: duration()
        .default(defaultLimits.telemetryBreaker.forMs)
        .meta({ description: 'It opens at once, and closes after good data for this long. Default: 1m.', default: '1m' }),
    })
    .prefault({})
    .meta({ description: 'Nothing is rolled back while many models are without data at once (breaker_open). Default: share 0.5 of 5 models or more, for 1m.' }),
  breach_breaker: z
    .strictObject({
      share: positiveRatio()
        .default(defaultLimits.breachBreaker.share)
        .meta({ description: 'Share of the models that must begin to breach together for it to open, above 0. Default: 0.3.' }),
      min_models: wholeNumber(1)
        .default(defaultLimits.breachBreaker.minModels)
        .meta({ description: 'Fewer models with rules that act than this do not open it. Default: 5.' }),
      within: duration({ minMs: 1000, minText: '1s' })
        .default(defaultLimits.breachBreaker.withinMs)
        .meta({ description: 'What began within this time began together. Default: 5m.', default: '5m' }),
    })
    .prefault({})
    .meta({
      description: 'Nothing is rolled back when many models begin to breach at once (breaker_open). Default: share 0.3 of 5 models or more, within 5m.',
    }),
});

/** 0 would hold for ever. */
function positiveRatio(): z.ZodType<number, number | string> {
  return ratio().refine((share) => share > 0, 'expected a ratio above 0; write 5% or 0.05');
}

export function toLimits(parsed: z.output<typeof limitsSchema>): Limits {
  return {
    maxConcurrentRollbacks: parsed.max_concurrent_rollbacks,
    maxModelsShare: parsed.max_models_share,
    telemetryBreaker: { share: parsed.telemetry_breaker.share, minModels: parsed.telemetry_breaker.min_models, forMs: parsed.telemetry_breaker.for },
    breachBreaker: { share: parsed.breach_breaker.share, minModels: parsed.breach_breaker.min_models, withinMs: parsed.breach_breaker.within },
    flapLock: { windowMs: parsed.flap_lock.window },
  };
}
