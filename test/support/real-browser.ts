import { AxeBuilder } from '@axe-core/playwright';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { findProgram } from './find-program.ts';

/** A real browser that asks for nothing by itself. */
export type RealBrowser = AsyncDisposable & {
  /** A page in a profile of its own. */
  readonly newPage: (options?: BrowserContextOptions) => Promise<Page>;
};

/** @throws when there is none, saying how to get it */
export async function startBrowser(): Promise<RealBrowser> {
  const browser: Browser = await chromium.launch({
    executablePath: chromiumBinary(),
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  return {
    newPage: async (options = {}) => await (await browser.newContext(options)).newPage(),
    [Symbol.asyncDispose]: async () => await browser.close(),
  };
}

/** What axe finds against the page's accessibility, with the elements concerned. */
export async function accessibilityFaults(page: Page): Promise<readonly string[]> {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`));
}

/** `ROLLBACKD_CHROMIUM`, or Chromium on the PATH. */
function chromiumBinary(): string {
  const given = process.env['ROLLBACKD_CHROMIUM'] ?? '';
  const found = findProgram('chromium', given);
  if (found === undefined)
    throw new Error(`no Chromium found (looked for ${given === '' ? 'chromium on the PATH' : given}); run \`npm run real-parts\`, or set ROLLBACKD_CHROMIUM`);
  return found;
}
