import { describe, expect, it } from 'vitest';
import { all, reach } from '../../contract/control-plane.ts';
import type { RealKubernetes } from './real-kubernetes.ts';
import { type RealScene, setRealPlaneStage } from './real-plane-stage.ts';

const signal = new AbortController().signal;

/** Rights of a scene's shipped role that its plane cannot do without: resources with the verb that reads them, and the one it writes. */
export type NeededRights = {
  readonly scene: RealScene;
  /** Besides the kind, where several scenes are of one. */
  readonly title?: string;
  readonly reads: readonly (readonly [resource: string, verb: string])[];
  readonly writes: string;
};

/** Without a right of the shipped role, the error names it, and nothing moves. */
export function describeMissingRights(kubernetes: () => RealKubernetes, needed: readonly NeededRights[]): void {
  describe('without a right of the shipped role, the error names it', () => {
    const names = ({ scene, title }: NeededRights): string => `${scene.kind.kind}${title === undefined ? '' : ` ${title}`}`;

    it.each(needed.flatMap((each) => each.reads.map(([resource, verb]) => [names(each), resource, verb, each.scene] as const)))(
      '%s: %s %s',
      async (_name, resource, verb, scene) => {
        await using stage = await setRealPlaneStage(kubernetes(), scene, {
          isTaken: (rule, each) => rule.resources.includes(resource) && each === verb,
          waits: false,
        });

        const error: unknown = await stage.plane.observe(stage.target, { thorough: true }, signal).catch((cause: unknown) => cause);

        expect(error).toMatchObject({ class: 'auth', message: expect.stringMatching(new RegExp(`cannot ${verb} resource "${resource}"`)) });
      },
    );

    it.each(needed.map((each) => [names(each), each.writes, each.scene] as const))('%s: %s patch, and nothing moves', async (_name, resource, scene) => {
      await using stage = await setRealPlaneStage(kubernetes(), scene, { isTaken: (rule, verb) => rule.resources.includes(resource) && verb === 'patch' });

      await expect(reach(stage, all(scene.to))).rejects.toThrow(new RegExp(`cannot patch resource "${resource}"|may not patch`));

      expect((await stage.plane.observe(stage.target, { thorough: false }, signal)).serving).toEqual([{ version: scene.from, share: 1 }]);
    });
  });
}
