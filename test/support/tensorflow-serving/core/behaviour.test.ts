import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BehaviourReader, EvenShare } from './behaviour.ts';

function picks(share: EvenShare, ratio: number, calls: number): number[] {
  return Array.from({ length: calls }, (_, index) => index + 1).filter(() => share.pick(ratio));
}

describe('EvenShare', () => {
  it('picks the exact share of any hundred calls, whatever the ratio in percent', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), (percent) => {
        const share = new EvenShare();

        expect(picks(share, percent / 100, 100)).toHaveLength(percent);
        expect(picks(share, percent / 100, 100)).toHaveLength(percent);
      }),
    );
  });

  it('spreads them evenly, and starts again with a new ratio', () => {
    const share = new EvenShare();

    expect(picks(share, 0.1, 25)).toEqual([10, 20]);
    expect(picks(share, 0.5, 5)).toEqual([2, 4]);
    expect(picks(share, 1, 3)).toEqual([1, 2, 3]);
    expect(picks(share, 0, 3)).toEqual([]);
  });
});

describe('BehaviourReader', () => {
  it('reads anew at every use, keeps the last good one, says once what is wrong, and is healthy without a file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'behaviour-'));
    const lines: string[] = [];
    const reader = new BehaviourReader(folder, (line) => lines.push(line));
    const after = async (text: string): Promise<unknown> => {
      await writeFile(join(folder, 'behaviour.json'), text);
      return reader.read();
    };

    const answers = [
      reader.read(),
      await after('{"latency_ms": 5}'),
      await after('{"lat'),
      reader.read(),
      await after('{"fail_code": "TEAPOT"}'),
      await after('{}'),
    ];
    await rm(folder, { recursive: true });

    expect([...answers, reader.read()]).toEqual([{}, { latency_ms: 5 }, { latency_ms: 5 }, { latency_ms: 5 }, { latency_ms: 5 }, {}, {}]);
    expect(lines).toEqual([expect.stringContaining('behaviour.json: '), expect.stringContaining('found "TEAPOT", expected a status code')]);
  });
});
