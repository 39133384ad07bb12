import { realClock } from '../adapters/clock/real-clock.ts';
import type { App } from '../app/app.ts';
import { MeasurePlan } from '../app/stages/measure.ts';
import type { Config } from '../config/config.ts';
import type { Rule } from '../domain/rule.ts';

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

/** What a rule asks of its source, in the source's own language. */
export function queriesOf(app: App, rule: Rule): readonly string[] {
  const { runtime } = app;
  const model = runtime.models.get(rule.model);
  const source = model === undefined ? undefined : runtime.sources.get(model.source);
  if (model === undefined || source === undefined) return [];
  if (rule.condition.kind === 'expr') return [rule.condition.expr];
  const asked = new MeasurePlan(realClock.nowMs());
  asked.add({ model, rules: [rule], serving: [], sinceMs: null });
  return [...source.describe(asked.questions).values()];
}
