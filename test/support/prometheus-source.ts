import { type FaultyProxy, startFaultyProxy } from './faulty-proxy.ts';
import { type RealPrometheus, startPrometheus } from './real-prometheus.ts';
import { metricsPath, type StageOptions } from './stage-files.ts';

/** A real Prometheus that scrapes a stage's servers every second, and the way to it, which can be made faulty. */
export type PrometheusSource = {
  /** For `setStageFromFiles`; brings up Prometheus, which is closed with the stage. */
  readonly source: NonNullable<StageOptions['source']>;
  readonly prometheus: () => RealPrometheus;
  readonly proxy: () => FaultyProxy;
};

/** @param path of the servers' metrics; default their own */
export function createPrometheusSource(path: string = metricsPath): PrometheusSource {
  let prometheus: RealPrometheus | null = null;
  let proxy: FaultyProxy | null = null;
  const opened = <Thing>(thing: Thing | null): Thing => {
    if (thing === null) throw new Error('Prometheus is not up yet: set the stage first');
    return thing;
  };
  return {
    source: async ({ rest, defer }) => {
      const targets = rest.map((target) => `'${target}'`).join(', ');
      const started = await startPrometheus({
        config: `global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: tensorflow-serving\n  metrics_path: ${path}\n  static_configs: [{targets: [${targets}]}]\n`,
      });
      defer(async () => await started.stop());
      const between = await startFaultyProxy(started.url);
      defer(async () => await between.close());
      prometheus = started;
      proxy = between;
      return { prometheus: { url: between.url, timeout: '1s' } };
    },
    prometheus: () => opened(prometheus),
    proxy: () => opened(proxy),
  };
}
