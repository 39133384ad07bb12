import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPrometheus } from '../../test/support/real-prometheus.ts';
import { type FleetOptions, fleetPage, scrapeEveryMs } from './fleet.ts';

/** A real Prometheus that has scraped the fleet: what is asked for lies in its head, as that of the last minutes always does. */
export type FilledPrometheus = AsyncDisposable & {
  readonly url: string;
  readonly pid: number;
  readonly version: string;
  /** Time of the first of the scrapes it holds, ms. */
  readonly firstMs: number;
  readonly newestMs: number;
};

/** Data older than now is scraped at this pace: pages carry their own times. */
const fillEvery = '2s';
/** Once the data has caught up: more often than there is a page, so that none is late. */
const goOnEvery = '5s';

/**
 * @param options.minutes how far the data reaches back from now
 * @param options.goOn scrapes on at its true pace; else the data ends
 */
export async function fillPrometheus(options: FleetOptions & { minutes: number; goOn?: boolean }): Promise<FilledPrometheus> {
  await using owned = new AsyncDisposableStack();
  const newestMs = Math.floor(Date.now() / scrapeEveryMs) * scrapeEveryMs;
  const firstMs = newestMs - Math.ceil((options.minutes * 60_000) / scrapeEveryMs) * scrapeEveryMs;
  const page = fleetPage(options, firstMs);
  let nextMs = firstMs;
  const server = createServer((_request, response) => {
    // Behind its time every scrape gets the next page; where the data ends, or has caught up, a failing scrape leaves no sample.
    const hasNext = nextMs <= (options.goOn === true ? Date.now() : newestMs);
    response.writeHead(hasNext ? 200 : 503, { 'Content-Type': 'text/plain; version=0.0.4' }).end(hasNext ? page(nextMs) : '');
    if (hasNext) nextMs += scrapeEveryMs;
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  owned.defer(() => {
    server.close();
    server.closeAllConnections();
  });
  const target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const scrapeEach = (every: string): string =>
    `scrape_configs: [{job_name: fleet, scrape_interval: ${every}, scrape_timeout: ${every}, static_configs: [{targets: ['${target}']}]}]\n`;
  const prometheus = await startPrometheus({ config: scrapeEach(fillEvery), arguments: ['--web.enable-lifecycle'] });
  owned.defer(async () => await prometheus.stop());
  await until(async () => (await newestSampleMs(prometheus.url)) >= newestMs);
  await writeFile(join(prometheus.folder, 'prometheus.yml'), options.goOn === true ? scrapeEach(goOnEvery) : 'global: {}\n');
  await fetch(`${prometheus.url}/-/reload`, { method: 'POST' });
  const build = (await (await fetch(`${prometheus.url}/api/v1/status/buildinfo`)).json()) as { data: { version: string } };
  const stack = owned.move();
  return {
    url: prometheus.url,
    pid: pidOf(prometheus.folder),
    version: build.data.version,
    firstMs,
    newestMs,
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

async function newestSampleMs(url: string): Promise<number> {
  const query = 'max(timestamp(model_requests_total{model="model-0000"}))';
  const answer = await fetch(`${url}/api/v1/query`, { method: 'POST', body: new URLSearchParams({ query }) });
  const { data } = (await answer.json()) as { data: { result: { value: [number, string] }[] } };
  return Number(data.result[0]?.value[1] ?? 0) * 1000;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt += 1) {
    if (await isSo()) return;
    await sleep(500);
  }
  throw new Error('Prometheus did not scrape the fleet within five minutes');
}

/** The process whose command line names the folder. */
function pidOf(folder: string): number {
  const found = readdirSync('/proc').find((name) => /^\d+$/.test(name) && commandLineOf(name).includes(`--storage.tsdb.path=${folder}/`));
  if (found === undefined) throw new Error(`no process with its data in ${folder}`);
  return Number(found);
}

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
