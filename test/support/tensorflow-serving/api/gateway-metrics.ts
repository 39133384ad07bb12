import { Counter, Histogram, Registry } from 'prom-client';
import { httpStatus } from '../core/status.ts';
import type { Inference } from './inference.ts';

/**
 * Not TensorFlow Serving's: what a gateway or a mesh in front of it would export, with the version that each request reached.
 * TensorFlow Serving itself tells no version; real deployments get it by routing per version, or from the answer's `model_spec`.
 */
export class GatewayMetrics {
  readonly #registry = new Registry();
  readonly #requests = new Counter({
    name: 'model_requests_total',
    help: 'Requests for a prediction by model, version and HTTP status.',
    labelNames: ['model', 'model_version', 'code'],
    registers: [this.#registry],
  });
  readonly #durations = new Histogram({
    name: 'model_request_duration_seconds',
    help: 'Time of all requests for a prediction, failed ones too.',
    labelNames: ['model', 'model_version'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [this.#registry],
  });

  /** Notes a request for a prediction; one that reached no version goes under `unknown`. */
  observe(model: string, { version, error }: Pick<Inference, 'version' | 'error'>, seconds: number): void {
    const labels = { model, model_version: version?.toString() ?? 'unknown' };
    this.#requests.inc({ ...labels, code: String(httpStatus(error?.code ?? 'OK')) });
    this.#durations.observe(labels, seconds);
  }

  /** The page as a scrape gets it, and its content type. */
  async render(): Promise<{ contentType: string; page: string }> {
    return { contentType: this.#registry.contentType, page: await this.#registry.metrics() };
  }
}
