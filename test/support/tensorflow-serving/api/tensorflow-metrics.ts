import type { CodeName } from '../core/status.ts';

/** Upper bounds of the latency histogram in microseconds: 10, 18, 32.4, … about 24 minutes. A value on a bound counts above it. */
const BOUNDS = Array.from({ length: 33 }, (_, power) => 10 * 1.8 ** power);

interface Histogram {
  labels: string;
  /** Not cumulative; one more than bounds, for the values above all of them. */
  counts: number[];
  sum: number;
}

/**
 * The request metrics of TensorFlow Serving, in its own (odd) form of the Prometheus text format: names begin with a colon, no help
 * lines, no version anywhere, sums with six digits, and no series before its first request
 * (servables/tensorflow/util.cc, util/prometheus_exporter.cc).
 */
export class TensorFlowMetrics {
  readonly #counts = new Map<string, number>();
  readonly #latencies = new Map<string, Histogram>();

  /** Counts a request, whatever became of it. */
  countRequest(model: string, status: CodeName): void {
    const labels = `model_name="${escapeLabel(model)}",status="${status}"`;
    this.#counts.set(labels, (this.#counts.get(labels) ?? 0) + 1);
  }

  /**
   * Notes the time of a successful request; the original never notes that of a failed one.
   * @param api `predict`, `Predict`, or empty for what a REST GET asked
   */
  observeLatency(model: string, api: string, entrypoint: 'GRPC' | 'REST', micros: number): void {
    const labels = `model_name="${escapeLabel(model)}",API="${api}",entrypoint="${entrypoint}"`;
    const histogram = this.#latencies.get(labels) ?? { labels, counts: Array.from({ length: BOUNDS.length + 1 }, () => 0), sum: 0 };
    const bucket = BOUNDS.findIndex((bound) => micros < bound);
    const index = bucket === -1 ? BOUNDS.length : bucket;
    histogram.counts[index] = (histogram.counts[index] ?? 0) + 1;
    histogram.sum += Math.round(micros);
    this.#latencies.set(labels, histogram);
  }

  /** The page as a scrape gets it. */
  render(): string {
    const count = ':tensorflow:serving:request_count';
    const latency = ':tensorflow:serving:request_latency';
    const counts = [...this.#counts].map(([labels, value]) => `${count}{${labels}} ${value}`);
    const latencies = [...this.#latencies.values()].flatMap((histogram) => renderHistogram(latency, histogram));
    return `${[`# TYPE ${count} counter`, ...counts, `# TYPE ${latency} histogram`, ...latencies].join('\n')}\n`;
  }
}

function renderHistogram(name: string, { labels, counts, sum }: Histogram): string[] {
  let cumulative = 0;
  const lines = counts.map((count, index) => {
    cumulative += count;
    const bound = BOUNDS[index];
    return `${name}_bucket{${labels},le="${bound === undefined ? '+Inf' : sixDigits(bound)}"} ${cumulative}`;
  });
  return [...lines, `${name}_sum{${labels}} ${sixDigits(sum)}`, `${name}_count{${labels}} ${cumulative}`];
}

/** As C's `%g`: six significant digits, with an exponent from a million on. A sum of hours therefore moves in steps. */
export function sixDigits(value: number): string {
  const [mantissa = '0', power = '0'] = value.toExponential(5).split('e');
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 6) return String(Number(value.toPrecision(6)));
  const digits = String(Math.abs(exponent)).padStart(2, '0');
  return `${Number(mantissa)}e${exponent < 0 ? '-' : '+'}${digits}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
}
