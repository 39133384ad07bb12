import { defineConfig } from 'vitest/config';

const setupFiles = ['test/support/no-network.ts', 'test/support/seed.ts'];

/** `unit` needs nothing but Node; `real` needs what `scripts/real-parts` installs. */
export default defineConfig({
  test: {
    reporters: ['default'],
    // Three files at a time on two cores: the long ones mostly wait for processes of their own.
    maxWorkers: 3,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: ['test/real/**'],
          setupFiles,
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'real',
          include: ['test/real/**/*.test.ts'],
          setupFiles,
          // Each file starts servers of its own: one after another, so that a small machine keeps their timing.
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
