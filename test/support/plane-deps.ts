import { realClock } from '../../src/adapters/clock/real-clock.ts';
import type { Clock, PlaneDeps } from '../../src/domain/ports.ts';
import { silentLog } from './stage.ts';

/** What a plane under test is given: the machine's clock, a memory, and the requests it told of (`switch 200`). */
export type TestPlaneDeps = PlaneDeps & {
  readonly requests: string[];
  readonly remember: (values: Readonly<Record<string, unknown>>) => void;
};

export function aPlaneDeps(changes: { clock?: Clock } = {}): TestPlaneDeps {
  const requests: string[] = [];
  const memory: Record<string, unknown> = {};
  return {
    clock: changes.clock ?? realClock,
    log: silentLog,
    memory: () => memory,
    onRequest: (method, code) => requests.push(`${method} ${code}`),
    commandEnv: { PATH: pathOfThisProcess(), LANG: 'C.UTF-8' },
    requests,
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
