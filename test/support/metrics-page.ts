/** Samples of a page in the Prometheus text format. */
export type MetricsPage = {
  readonly text: string;
  /** Value of the one series with these labels (others may be there too); `undefined` when there is none. @throws when there are several */
  readonly value: (name: string, labels?: Readonly<Record<string, string>>) => number | undefined;
  /** Sum over all series with these labels. */
  readonly sum: (name: string, labels?: Readonly<Record<string, string>>) => number;
};

type Sample = { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly value: number };

/** Reads a page; plain enough for our own, whose label values hold no escapes. */
export function readMetricsPage(text: string): MetricsPage {
  const samples = text.split('\n').flatMap((line): Sample[] => {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (match === null) return [];
    const labels = Object.fromEntries([...(match[2] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map((found) => [found[1], found[2]]));
    return [{ name: match[1] ?? '', labels, value: Number(match[3]) }];
  });
  const find = (name: string, labels: Readonly<Record<string, string>> = {}): Sample[] =>
    samples.filter((sample) => sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value));
  return {
    text,
    value: (name, labels) => {
      const found = find(name, labels);
      if (found.length > 1) throw new Error(`${found.length} series of ${name} with ${JSON.stringify(labels ?? {})}, expected one`);
      return found[0]?.value;
    },
    sum: (name, labels) => find(name, labels).reduce((sum, sample) => sum + sample.value, 0),
  };
}
