import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const setupFiles = ['test/support/no-network.ts', 'test/support/seed.ts', 'test/support/named-output.ts'];
/** Keeps what rollbackd writes in all tests, and searches it for their secrets at the end. */
const globalSetup = ['test/support/output-search.ts'];

/** The files that mostly wait for processes come first: begun last, they would go on alone on an idle machine. */
class WaitingFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const waits = ({ moduleId }: TestSpecification): boolean => moduleId.includes('/test/e2e/');
    const sorted = await super.sort(files);
    return [...sorted.filter(waits), ...sorted.filter((file) => !waits(file))];
  }
}

/** `unit` needs nothing but Node; `real` needs what `scripts/real-parts` installs. */
export default defineConfig({
  test: {
    reporters: ['default'],
    // Three files at a time on two cores: the long ones mostly wait for processes of their own.
    maxWorkers: 3,
    sequence: { sequencer: WaitingFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: ['test/real/**'],
          setupFiles,
          globalSetup,
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'real',
          include: ['test/real/**/*.test.ts'],
          setupFiles,
          globalSetup,
          // Each file starts servers of its own: one after another, so that a small machine keeps their timing.
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
