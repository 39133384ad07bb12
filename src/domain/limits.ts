/** `share` of the models that may act, at least `minModels`. */
export type TelemetryBreakerLimits = { readonly share: number; readonly minModels: number /** Of good data, before it closes. */; readonly forMs: number };
export type BreachBreakerLimits = { readonly share: number; readonly minModels: number; readonly withinMs: number };

/** Limits over all models (`limits:` of the daemon's file). Shares are 0..1, times ms. */
export type Limits = {
  /** Rollbacks under way at once, over all models. */
  readonly maxConcurrentRollbacks: number;
  /** Share of all models that may be rolled back at once; at least one model may. */
  readonly maxModelsShare: number;
  /** Two rollbacks of a model to the same version within this time lock the model for as long; 0 = never. */
  readonly flapLock: { readonly windowMs: number };
  readonly telemetryBreaker: TelemetryBreakerLimits;
  readonly breachBreaker: BreachBreakerLimits;
};

/** Design 4, table of defaults; the flap lock is ours to choose. */
export const defaultLimits: Limits = {
  maxConcurrentRollbacks: 3,
  maxModelsShare: 0.2,
  flapLock: { windowMs: 86_400_000 },
  telemetryBreaker: { share: 0.5, minModels: 5, forMs: 60_000 },
  breachBreaker: { share: 0.3, minModels: 5, withinMs: 300_000 },
};
