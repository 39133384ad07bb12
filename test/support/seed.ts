import fc from 'fast-check';

/**
 * Properties play the same cases in every run, so that a green run stays green; what new cases find is found on purpose:
 * `ROLLBACKD_FUZZ_SEED=$RANDOM npm test`, with another number each time.
 */
fc.configureGlobal({ seed: Number(process.env['ROLLBACKD_FUZZ_SEED'] ?? 20_261_122) });
