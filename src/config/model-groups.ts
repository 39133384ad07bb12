import { z } from 'zod';
import type { ModelGroup } from '../domain/model-group.ts';
import { valueAt } from '../rulefile/validate.ts';
import type { YamlFile } from '../rulefile/yaml-document.ts';
import { always, exactlyOneOf } from './key-rules.ts';
import { checkModelPattern, modelPattern, modelsCalled } from './model-pattern.ts';
import { duration, entityName } from './scalars.ts';

const defaultReleasedWithinMs = 3_600_000;
const kinds = ['together', 'ordered', 'hold_peers'] as const;

function models(description: string) {
  return z.array(modelPattern(), { error: 'expected a list of models' }).optional().meta({ description });
}

/** One entry of `groups:`. */
export const modelGroupSchema = z
  .strictObject({
    name: entityName('the name of the group').meta({ description: 'Name of the group, unique. Required.' }),
    together: models(
      'Models that are released together: when a rule rolls one back, those that serve a version of the same release go back too, at the same time, or none does. Two or more by name, * stands for any text. Exactly one of together, ordered, hold_peers.',
    ),
    ordered: models(
      'As together, but one after the other in this order: the next begins when the one before has succeeded. Two or more, each by its name. Exactly one of together, ordered, hold_peers.',
    ),
    hold_peers: models(
      'Models of which only one at a time is rolled back, the others are held (too_many_at_once). Two or more by name, * stands for any text. Exactly one of together, ordered, hold_peers.',
    ),
    released_within: duration().optional().meta({
      description: 'Versions that came to serve within this time of each other are one release, as are all that came later; not for hold_peers. Default: 1h.',
      default: '1h',
    }),
  })
  .check(
    exactlyOneOf(kinds, {
      none: 'needs its models, found none; write one of together, ordered, hold_peers',
      both: 'found a second list of models, expected one of together, ordered, hold_peers; give it a group of its own',
    }),
    always((value, refuse) => {
      if (value['hold_peers'] !== undefined && value['released_within'] !== undefined)
        refuse('released_within', 'does not stand beside hold_peers, which moves no other model', { code: 'needless' });
    }),
  );
type Parsed = z.output<typeof modelGroupSchema>;

/** @param names of all models, in the order of the file; patterns take them in that order */
export function toModelGroup(parsed: Parsed, names: readonly string[]): ModelGroup {
  const kind = kinds.find((key) => parsed[key] !== undefined) ?? 'together';
  const found = (parsed[kind] ?? []).flatMap((glob) => modelsCalled(glob, names));
  return { name: parsed.name, kind, models: [...new Set(found)], releasedWithinMs: parsed.released_within ?? defaultReleasedWithinMs };
}

/** A model as it stands in the file: its name, and the `rollback.mode` that holds when it follows another. */
export type ListedModel = { readonly name: string; readonly mode: string };

/** Checks that groups name models, two or more each, and none of them twice. @param entries as they stand in the file */
export function checkModelGroups(yaml: YamlFile, entries: readonly unknown[], models: readonly ListedModel[]): void {
  const names = models.map(({ name }) => name);
  const groups = new Map<string, Named>();
  for (const [i, entry] of entries.entries()) {
    const group: Named = { index: i, name: String(valueAt(entry, ['name'])) };
    for (const kind of kinds) {
      const listed = valueAt(entry, [kind]);
      if (!Array.isArray(listed)) continue;
      if (kind !== 'hold_peers') checkModes(yaml, listed, ['groups', i, kind], models);
      checkModels(yaml, listed, { at: ['groups', i, kind], group, isOrdered: kind === 'ordered', names, groups });
    }
  }
}

/** Where some act and some do not, none does: easily overlooked, since acting is opted into model by model. */
function checkModes(yaml: YamlFile, listed: readonly unknown[], at: readonly PropertyKey[], models: readonly ListedModel[]): void {
  const names = models.map(({ name }) => name);
  const modes = new Map(models.map(({ name, mode }) => [name, mode]));
  const ofGroup = listed.map((glob) => (typeof glob === 'string' && glob !== '' ? modelsCalled(glob, names) : []));
  if (!ofGroup.flat().some((name) => modes.get(name) === 'enforce')) return;
  for (const [j, found] of ofGroup.entries()) {
    const idle = found.find((name) => modes.get(name) !== 'enforce');
    if (idle === undefined) continue;
    const message = `${idle} has rollback.mode: ${modes.get(idle)}, so nothing of this group is rolled back, only recorded; write enforce for all of them or for none`;
    yaml.report([...at, j], message, { code: 'group_mode', severity: 'warning' });
  }
}

type Named = { readonly index: number; readonly name: string };
type Listed = {
  readonly at: readonly PropertyKey[];
  readonly group: Named;
  readonly isOrdered: boolean;
  readonly names: readonly string[];
  /** Model → the group that has it already. */
  readonly groups: Map<string, Named>;
};

function checkModels(yaml: YamlFile, listed: readonly unknown[], { at, group, isOrdered, names, groups }: Listed): void {
  const own = new Set<string>();
  let isFaulty = false;
  const refuse = (path: readonly PropertyKey[], message: string, code: string): void => {
    yaml.report(path, message, { code });
    isFaulty = true;
  };
  for (const [j, glob] of listed.entries()) {
    if (typeof glob !== 'string' || glob === '') return;
    const path = [...at, j];
    if (isOrdered && glob.includes('*')) {
      refuse(path, `found ${JSON.stringify(glob)}, expected the name of one model, since the order counts`, 'ordered');
      continue;
    }
    const found = checkModelPattern(yaml, path, glob, names);
    if (found.length === 0 && glob !== '*') isFaulty = true;
    const taken = found.find((name) => (groups.get(name) ?? group).index !== group.index);
    if (taken !== undefined)
      refuse(
        path,
        `found ${JSON.stringify(glob)}; ${taken} is in group "${groups.get(taken)?.name}" already, expected models that are in no other`,
        'duplicate',
      );
    else if (found.length > 0 && found.every((name) => own.has(name)))
      refuse(path, `found ${JSON.stringify(glob)}, which names no further model, expected each once`, 'duplicate');
    for (const name of found) {
      own.add(name);
      if (!groups.has(name)) groups.set(name, group);
    }
  }
  if (!isFaulty && own.size < 2) yaml.report(at, `found ${own.size === 0 ? 'no model' : 'one model'}, expected two or more`, { code: 'too_few' });
}
