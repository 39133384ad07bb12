import { z } from 'zod';
import type { JsonPatchOperation } from '../../kubernetes/client.ts';
import type { Mutation } from './mutation.ts';
import type { Experiment, Model } from './objects.ts';
import { type Artifact, type Candidate, candidate } from './observed.ts';

/** Holds the candidates from before a patch, with the generation that the patch makes: they serve until the scheduler has seen it. */
export const beforeAnnotation = 'rollbackd.io/candidates-before';

export function artifactOf({ spec }: Model): Artifact {
  return { uri: spec.storageUri, artifact_version: spec.artifactVersion ?? null };
}

export function artifactPatch({ before, after }: Extract<Mutation, { kind: 'artifact' }>): readonly JsonPatchOperation[] {
  const operations: JsonPatchOperation[] = [];
  if (before.uri !== after.uri)
    operations.push({ op: 'test', path: '/spec/storageUri', value: before.uri }, { op: 'replace', path: '/spec/storageUri', value: after.uri });
  if (before.artifact_version !== after.artifact_version) {
    const path = '/spec/artifactVersion';
    if (before.artifact_version !== null) operations.push({ op: 'test', path, value: before.artifact_version });
    operations.push(after.artifact_version === null ? { op: 'remove', path } : { op: 'add', path, value: after.artifact_version });
  }
  return operations;
}

/** The list is small and only ours to weigh, so it is replaced whole, and each entry that stands there is named by a `test`. */
export function candidatesPatch({ before, after }: Extract<Mutation, { kind: 'candidates' }>): readonly JsonPatchOperation[] {
  const tests = before.map(({ name }, index): JsonPatchOperation => ({ op: 'test', path: `/spec/candidates/${index}/name`, value: name }));
  return [...tests, { op: 'replace', path: '/spec/candidates', value: after }];
}

const kept = z.object({ generation: z.number(), candidates: z.array(candidate) });

export function keepBefore({ metadata }: Experiment, before: readonly Candidate[]): string {
  return JSON.stringify({ generation: metadata.generation + 1, candidates: before });
}

/** Candidates from before the patch that made the present generation; `null` when that was not ours. */
export function keptBefore({ metadata }: Experiment): readonly Candidate[] | null {
  try {
    const parsed = kept.safeParse(JSON.parse(metadata.annotations?.[beforeAnnotation] ?? 'null'));
    return parsed.success && parsed.data.generation === metadata.generation ? parsed.data.candidates : null;
  } catch {
    return null;
  }
}
