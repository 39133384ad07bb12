import { createHash } from 'node:crypto';
import { lookUp } from '../../../domain/lookup.ts';
import type { Share } from '../../../domain/observation.ts';
import type { NginxKeys } from './schema.ts';
import { type Directive, parseDirectives, SyntaxFault, type Word } from './syntax.ts';

/** What the file says, and where. */
export type OwnedFile = {
  readonly text: string;
  readonly marker: string;
  readonly serving: readonly Share[];
  /** Other keys of a map → version. */
  readonly routes: Readonly<Record<string, string>>;
  readonly form: Directive;
  readonly markerWord: Word;
};

export class OwnedFileFault extends Error {
  override readonly name = 'OwnedFileFault';
}

const markerPrefix = 'rb-';

/**
 * Reads the file: one map that sets the marker, one block of the model's form, nothing else.
 * @throws {OwnedFileFault}
 */
export function parseOwnedFile(text: string, keys: NginxKeys, path: string): OwnedFile {
  const fail = (what: string): never => {
    throw new OwnedFileFault(`${path}: ${what}`);
  };
  let directives: readonly Directive[];
  try {
    directives = parseDirectives(text);
  } catch (cause) {
    return fail(cause instanceof SyntaxFault ? cause.message : String(cause));
  }
  const { form, head } = formOf(keys);
  const isMarker = (directive: Directive): boolean => directive.words[0]?.text === 'map' && directive.words[2]?.text === `$${keys.marker}`;
  const isForm = (directive: Directive): boolean => directive.words[0]?.text === form && directive.words.at(-1)?.text === head && directive.block !== null;
  const odd = directives.find((directive) => !isMarker(directive) && !isForm(directive));
  if (odd !== undefined)
    fail(
      `found "${odd.words.map((word) => word.text).join(' ')}"; this file is rollbackd’s: expected only "${form} … ${head} {…}" and "map … $${keys.marker} {default …;}"`,
    );
  const markers = directives.filter(isMarker);
  const forms = directives.filter(isForm);
  const [markerBlock] = markers;
  const [block] = forms;
  if (markerBlock === undefined || markers.length > 1)
    return fail(`found ${markers.length} markers, expected one: map $host $${keys.marker} { default "any text, another with each change"; }`);
  if (block === undefined || forms.length > 1) return fail(`found ${forms.length} blocks "${form} … ${head}", expected one`);
  const entry = markerBlock.block?.directives.find((directive) => directive.words[0]?.text === 'default');
  const markerWord = entry?.words[1];
  if (markerWord === undefined || markerBlock.block?.directives.length !== 1) return fail(`the marker $${keys.marker} needs a default and nothing else`);
  if (markerWord.text === '' || markerWord.text.includes('$'))
    return fail(`the marker $${keys.marker} is ${JSON.stringify(markerWord.text)}, expected a fixed text`);
  const { serving, routes } =
    keys.upstream === undefined ? readValues(block, keys, fail) : { serving: readUpstream(block, keys.upstream.versions, fail), routes: {} };
  return { text, marker: markerWord.text, serving, routes, form: block, markerWord };
}

/** A marker of ours holds the hash of its file: `false` when somebody edited the file and left the marker. */
export function isMarkerTrue(file: OwnedFile): boolean {
  return !file.marker.startsWith(markerPrefix) || file.marker === hashOf(file.text, file.markerWord);
}

/** The file with all traffic on one version, and a marker that says so. Layout, comments and other parameters stay. */
export function withVersion(file: OwnedFile, keys: NginxKeys, to: string, path: string): string {
  const edits = keys.upstream === undefined ? valueEdits(file, keys, to) : upstreamEdits(file, keys.upstream.versions, to);
  let { text } = file;
  for (const edit of edits.toSorted((a, b) => b.start - a.start)) text = text.slice(0, edit.start) + edit.text + text.slice(edit.end);
  const { markerWord } = parseOwnedFile(text, keys, path);
  return text.slice(0, markerWord.start) + hashOf(text, markerWord) + text.slice(markerWord.end);
}

function hashOf(text: string, marker: Word): string {
  const blanked = `${text.slice(0, marker.start)}\0${text.slice(marker.end)}`;
  return markerPrefix + createHash('sha256').update(blanked).digest('hex').slice(0, 16);
}

function formOf(keys: NginxKeys): { form: string; head: string } {
  if (keys.upstream !== undefined) return { form: 'upstream', head: keys.upstream.name };
  if (keys.split_clients !== undefined) return { form: 'split_clients', head: keys.split_clients.variable };
  return { form: 'map', head: keys.map?.variable ?? '' };
}

type Fail = (what: string) => never;

function readUpstream(block: Directive, versions: Readonly<Record<string, readonly string[]>>, fail: Fail): Share[] {
  const sums = new Map<string, number>();
  for (const directive of block.block?.directives ?? []) {
    if (directive.words[0]?.text !== 'server') continue;
    const address = directive.words[1]?.text ?? '';
    const parameters = directive.words.slice(2).map((word) => word.text);
    const version = versionOf(versions, address) ?? fail(`server ${address} belongs to no version; name it under plane.upstream.versions`);
    const written = parameters.find((parameter) => parameter.startsWith('weight='))?.slice('weight='.length) ?? '1';
    const weight = /^\d{1,9}$/.test(written) ? Number(written) : 0;
    if (weight === 0) fail(`server ${address}: nginx refuses weight=${written}; expected a whole number above 0; a server that gets nothing is "down"`);
    if (parameters.includes('down') || parameters.includes('backup')) continue;
    sums.set(version, (sums.get(version) ?? 0) + weight);
  }
  const total = [...sums.values()].reduce((sum, weight) => sum + weight, 0);
  return [...sums].map(([version, weight]) => ({ version, share: weight / total }));
}

function versionOf(versions: Readonly<Record<string, readonly string[]>>, address: string): string | undefined {
  return Object.keys(versions).find((version) => lookUp(versions, version)?.includes(address) === true);
}

function readValues(block: Directive, keys: NginxKeys, fail: Fail): { serving: Share[]; routes: Record<string, string> } {
  const versions = (keys.split_clients ?? keys.map)?.versions ?? {};
  const routes: [string, string][] = [];
  const shares = new Map<string, number>();
  let rest = 1;
  for (const directive of block.block?.directives ?? []) {
    const [key = '', value] = directive.words.map((word) => word.text);
    const version =
      Object.keys(versions).find((id) => lookUp(versions, id)?.value === value) ??
      fail(`value ${value ?? ''} of "${key}" stands for no version; name it under versions`);
    const add = (share: number): void => void shares.set(version, (shares.get(version) ?? 0) + share);
    if (keys.map !== undefined) {
      if (key === 'default') add(1);
      else routes.push([key, version]);
      continue;
    }
    if (key === '*') add(rest);
    else {
      const share = /^(\d{1,3}(?:\.\d{1,2})?)%$/.exec(key)?.[1];
      if (share === undefined || Number(share) === 0)
        fail(`split_clients: nginx refuses "${key}": expected a percentage above 0 with at most two decimals; leave a line with 0% out`);
      rest -= Number(share) / 100;
      if (rest < -1e-9) fail('split_clients: the percentages add up to more than 100%');
      add(Number(share) / 100);
    }
  }
  return { serving: [...shares].filter(([, share]) => share > 1e-9).map(([version, share]) => ({ version, share })), routes: Object.fromEntries(routes) };
}

type Edit = { readonly start: number; readonly end: number; readonly text: string };

function upstreamEdits(file: OwnedFile, versions: Readonly<Record<string, readonly string[]>>, to: string): Edit[] {
  const edits: Edit[] = [];
  const wanted = lookUp(versions, to) ?? [];
  const servers = file.form.block?.directives.filter((directive) => directive.words[0]?.text === 'server') ?? [];
  for (const { words, end } of servers) {
    const isTarget = wanted.includes(words[1]?.text ?? '');
    const off = words.slice(2).filter((word) => word.text === 'down' || (isTarget && word.text === 'backup'));
    if (isTarget) for (const word of off) edits.push({ start: (words[words.indexOf(word) - 1] as Word).end, end: word.end, text: '' });
    else if (off.length === 0) edits.push({ start: end, end, text: ' down' });
  }
  const missing = wanted.filter((address) => !servers.some(({ words }) => words[1]?.text === address));
  const at = file.form.block?.end ?? 0;
  if (missing.length > 0) edits.push({ start: at, end: at, text: missing.map((address) => `  server ${address};\n`).join('') });
  return edits;
}

function valueEdits(file: OwnedFile, keys: NginxKeys, to: string): Edit[] {
  const versions = (keys.split_clients ?? keys.map)?.versions ?? {};
  const value = lookUp(versions, to)?.value ?? '';
  const block = file.form.block;
  if (block === null) return [];
  // All of it: no line with a percentage is left, since nginx refuses 0%.
  if (keys.split_clients !== undefined) return [{ start: block.start, end: block.end, text: `\n  * ${value};\n` }];
  const leaving = new Set(file.serving.map((share) => share.version).filter((version) => version !== to));
  const moved = block.directives.filter(({ words }) => {
    const version = Object.keys(versions).find((id) => lookUp(versions, id)?.value === words[1]?.text);
    return words[0]?.text === 'default' || (version !== undefined && leaving.has(version));
  });
  return moved.map(({ words }) => ({ start: (words[1] as Word).start, end: (words[1] as Word).end, text: value }));
}
