import { z } from 'zod';
import { AnswerError, type Labels, type Point } from '../answer-builder.ts';

/** The fields of Prometheus's envelope that are used; elements are checked by hand where they are read (they are many). */
const envelopeSchema = z.object({
  status: z.enum(['success', 'error']),
  errorType: z.string().optional(),
  error: z.string().optional(),
  warnings: z.array(z.string()).nullish(),
  data: z.object({ resultType: z.string(), result: z.array(z.unknown()) }).optional(),
});
export type Envelope = z.infer<typeof envelopeSchema>;

/** @throws {AnswerError} when the text is no whole JSON of the API's shape */
export function parseEnvelope(body: string): Envelope {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw new AnswerError(
      body.trimStart().startsWith('{') ? 'the answer is no whole JSON (cut short?)' : 'the answer is no JSON (is this the address of a Prometheus API?)',
    );
  }
  const parsed = envelopeSchema.safeParse(json);
  if (!parsed.success) throw new AnswerError('the answer is not of the shape of the Prometheus API');
  return parsed.data;
}

/** The elements of a whole, unwarned answer. @throws {AnswerError} */
export function elementsOf(envelope: Envelope, resultType: 'vector' | 'matrix'): readonly unknown[] {
  if (envelope.status !== 'success') throw new AnswerError(`the query failed: ${envelope.errorType ?? 'error'}: ${envelope.error ?? 'no reason given'}`);
  if (envelope.warnings != null && envelope.warnings.length > 0) throw new AnswerError(`the answer may be partial, warnings: ${envelope.warnings.join('; ')}`);
  if (envelope.data === undefined) throw new AnswerError('the answer holds no data');
  if (envelope.data.resultType !== resultType) throw new AnswerError(`the answer is a ${envelope.data.resultType}, not a ${resultType}`);
  return envelope.data.result;
}

/** One element of a vector. @throws {AnswerError} */
export function readElement(element: unknown): { labels: Labels; point: Point } {
  const labels = labelsOf(element);
  if (!hasField(element, 'value'))
    throw new AnswerError(
      hasField(element, 'histogram') ? 'the answer holds a native histogram; only classic ones are read' : 'an element of the answer has no value',
    );
  return { labels, point: readPoint(element.value) };
}

/** One element of a matrix. @throws {AnswerError} */
export function readSeries(element: unknown): { labels: Labels; points: readonly Point[] } {
  const labels = labelsOf(element);
  if (!hasField(element, 'values') || !Array.isArray(element.values)) throw new AnswerError('a series of the answer has no values');
  return { labels, points: element.values.map(readPoint) };
}

function hasField<K extends string>(value: unknown, key: K): value is Record<K, unknown> {
  return typeof value === 'object' && value !== null && key in value;
}

function labelsOf(element: unknown): Labels {
  if (!hasField(element, 'metric') || typeof element.metric !== 'object' || element.metric === null || Array.isArray(element.metric))
    throw new AnswerError('an element of the answer has no labels');
  for (const name in element.metric) {
    if (typeof (element.metric as Record<string, unknown>)[name] !== 'string') throw new AnswerError('a label of the answer is no text');
  }
  return element.metric as Labels;
}

function readPoint(point: unknown): Point {
  if (!Array.isArray(point) || point.length !== 2 || typeof point[0] !== 'number' || typeof point[1] !== 'string')
    throw new AnswerError('a sample of the answer is no [time, "value"]');
  return { atMs: point[0] * 1000, value: parseValue(point[1]) };
}

/** A number as Prometheus writes it. @throws {AnswerError} */
export function parseValue(text: string): number {
  if (text === 'NaN') return Number.NaN;
  if (text === '+Inf' || text === 'Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  const value = Number(text);
  // Number() would also read "", "0x10" and "Infinity".
  if (!/^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/.test(text)) throw new AnswerError(`a sample's value is no number: ${JSON.stringify(text.slice(0, 40))}`);
  return value;
}
