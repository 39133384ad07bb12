/** How many times as many cases properties play as in `npm test`: `ROLLBACKD_FUZZ_RUNS`, set by `npm run fuzz`. */
export const fuzzRuns = Number(process.env['ROLLBACKD_FUZZ_RUNS'] ?? 1);
if (!(fuzzRuns > 0)) throw new Error(`ROLLBACKD_FUZZ_RUNS: found "${process.env['ROLLBACKD_FUZZ_RUNS']}", expected a factor, such as 50`);
