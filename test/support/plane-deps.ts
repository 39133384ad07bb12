import type { PlaneDeps } from '../../src/domain/ports.ts';
import { type ExpiringClock, expiringClock } from './expiring-clock.ts';
import { recordingLog } from './recording-log.ts';

/** What a plane under test is given: a clock whose time limits a test may end, a memory, and the requests it told of (`switch 200`). */
export type TestPlaneDeps = PlaneDeps & {
  readonly clock: ExpiringClock;
  readonly requests: string[];
  /** All that was logged, and told of requests. */
  readonly said: () => string;
  readonly remember: (values: Readonly<Record<string, unknown>>) => void;
};

export function aPlaneDeps(): TestPlaneDeps {
  const log = recordingLog();
  const requests: string[] = [];
  const memory: Record<string, unknown> = {};
  return {
    clock: expiringClock(),
    log,
    memory: () => memory,
    onRequest: (method, code) => requests.push(`${method} ${code}`),
    commandEnv: { PATH: pathOfThisProcess(), LANG: 'C.UTF-8' },
    requests,
    said: () => [log.text(), ...requests].join('\n'),
    remember: (values) => {
      for (const [key, value] of Object.entries(values)) {
        if (value === null) delete memory[key];
        else memory[key] = structuredClone(value);
      }
    },
  };
}

/** Where commands of a test find `node`, and what Debian's packages bring. */
function pathOfThisProcess(): string {
  return `${process.execPath.replace(/\/[^/]+$/, '')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
}
