import { createDetector, type Detector } from '../../src/domain/detect/index.ts';
import { pollSeconds, stream } from './streams.ts';

/**
 * What 10,000 updates of a warm detector cost, on this machine: one against a limit, one against a baseline, by turns.
 *
 *     ./node_modules/.bin/node bench/detection/updates.ts
 */
const updates = 10_000;
const rounds = 15;
const options = { alpha: 0.01, horizonSeconds: 86_400, pollSeconds } as const;
const next = stream(1, { rps: 20, rho: 0 }, () => 0.01, 0.01);
const polls = Array.from({ length: updates }, next);
const detectors = {
  'against a limit': createDetector({ ...options, kind: 'threshold', threshold: 0.05 }),
  'against a baseline': createDetector({ ...options, kind: 'compare', points: 0.04 }),
};

function timeOf(detector: Detector): number {
  const startedMs = performance.now();
  for (const { n, k, baseline } of polls) detector.update(n, k, baseline);
  return performance.now() - startedMs;
}

const times = new Map(Object.keys(detectors).map((name): [string, number[]] => [name, []]));
for (const detector of Object.values(detectors)) timeOf(detector);
for (let round = 0; round < rounds; round += 1) for (const [name, detector] of Object.entries(detectors)) times.get(name)?.push(timeOf(detector));

const medians = [...times].map(([name, all]) => {
  const sorted = all.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  console.log(`${updates} updates ${name}: median ${median.toFixed(1)} ms (${sorted[0]?.toFixed(1)} to ${sorted.at(-1)?.toFixed(1)}), ${rounds} rounds`);
  return median;
});
console.log(`comparing takes ${((medians[1] ?? Number.NaN) / (medians[0] ?? Number.NaN)).toFixed(2)} times as long`);
