import { equals, type Preset, serverFaults } from './preset.ts';

/**
 * Seldon Core 2: the agent beside each inference server. `model_internal` (`iris_4`) changes with every edit of a Model; the control plane tells which artifact
 * or candidate each of them is. Its histogram deliberately has no label for the model.
 * @see https://github.com/SeldonIO/seldon-core/blob/v2/scheduler/pkg/metrics/agent.go
 */
export const seldonV2: Preset = {
  name: 'seldon-v2',
  description: 'Seldon Core 2, by its agents',
  signals: ({ name, plane }) => ({
    // The candidates of an Experiment are Models of other names: the control plane tells which of all are its own.
    requests: { metric: 'seldon_model_infer_total', matchers: typeof plane['experiment'] === 'string' ? [] : [equals('model', name)] },
    errors: { metric: null, matchers: [{ label: 'code', op: '=~', value: serverFaults }] },
    latency: null,
  }),
  attribution: { kind: 'label', label: 'model_internal' },
  highestBucketSeconds: null,
  versionLabels: ['model_internal'],
  attributionHint: 'write version_label: model_internal; the control plane knows which version each name is',
  lacks: {
    latency:
      'Seldon Core 2 has only the mean per model, its histogram has no label for the model; write signals.latency with a histogram of the service mesh or of the inference server',
  },
};
