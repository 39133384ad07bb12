import type { Config } from '../config/config.ts';

/** A source that scrapes needs a few samples before it can tell a rate: this many of its intervals. */
const scrapesNeeded = 4;

/** How long a source that scrapes has to gather before it can be asked; 0 where none does. */
export function gatherMsOf(config: Config): number {
  return scrapesNeeded * Math.max(0, ...config.sources.map(({ name }) => scrapeIntervalOf(config, name) ?? 0));
}

/** ms; `null`: it scrapes nothing itself. */
export function scrapeIntervalOf(config: Config, source: string): number | null {
  const settings = config.sources.find(({ name }) => name === source)?.settings;
  return typeof settings === 'object' && settings !== null && 'scrape_interval' in settings ? Number(settings.scrape_interval) : null;
}
