import { commitPage } from '../../domain/commit-page.ts';
import { lookUp } from '../../domain/lookup.ts';

/** Where people say themselves what changed: an address. */
export const changeAnnotation = 'rollbackd.io/change';
/** `kubectl annotate deployment …`, copied to the ReplicaSet; free text, so a page only where it is an address. */
const changeCause = 'kubernetes.io/change-cause';
/** Of the image, as builds write them onto the pods too: https://github.com/opencontainers/image-spec/blob/main/annotations.md */
const source = 'org.opencontainers.image.source';
const revision = 'org.opencontainers.image.revision';

/** Pages about what an object runs, by name, from its annotations; the first map that has one counts. */
export function originOf(...annotated: readonly (Readonly<Record<string, string>> | undefined)[]): Readonly<Record<string, string>> {
  const find = (key: string): string | undefined => annotated.map((annotations) => lookUp(annotations ?? {}, key)).find((value) => value !== undefined);
  const change = [find(changeAnnotation), find(changeCause)].find((value) => value !== undefined && isPage(value));
  const commit = commitPage(find(source) ?? '', find(revision) ?? '');
  return { ...(change === undefined ? {} : { change }), ...(commit === null ? {} : { commit }) };
}

/** No credentials: pages are journalled and sent. */
function isPage(text: string): boolean {
  return /^https?:\/\/[^\s@]+$/.test(text);
}
