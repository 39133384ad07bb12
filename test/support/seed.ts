import fc from 'fast-check';
import { vi } from 'vitest';
import { fuzzRuns } from './fuzz-runs.ts';

/**
 * Properties play the same cases in every run, so that a green run stays green; what new cases find is found on purpose:
 * `ROLLBACKD_FUZZ_SEED=$RANDOM npm test`, with another number each time, or many more of them: `npm run fuzz`.
 */
fc.configureGlobal({ seed: Number(process.env['ROLLBACKD_FUZZ_SEED'] ?? 20_261_122) });
if (fuzzRuns > 1) vi.setConfig({ testTimeout: 60_000 * fuzzRuns });
