import { defaultPolicy } from '../../src/config/policy-schema.ts';
import { presets } from '../../src/config/presets/index.ts';
import type { RuleFileContext } from '../../src/rulefile/context.ts';

/** A daemon's file with two models: `shop` on Prometheus with everything, `direct` on a scrape source with requests only. */
export const known: RuleFileContext = {
  evaluationIntervalMs: 15_000,
  models: new Map([
    [
      'shop',
      {
        promql: true,
        hasErrors: true,
        hasLatency: true,
        highestBucketSeconds: presets['tensorflow-serving']?.highestBucketSeconds ?? null,
        bucketBoundsSeconds: presets['tensorflow-serving']?.bucketBoundsSeconds ?? null,
        hasSmokeTest: true,
        policy: defaultPolicy,
      },
    ],
    [
      'direct',
      { promql: false, hasErrors: false, hasLatency: false, highestBucketSeconds: null, hasQuality: false, hasSmokeTest: false, policy: defaultPolicy },
    ],
  ]),
};
