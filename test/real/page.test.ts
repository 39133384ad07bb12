import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aServer } from '../support/a-web-server.ts';
import { aWorldOf, evilTexts, pageQueries } from '../support/page-world.ts';
import { createPrometheusSource } from '../support/prometheus-source.ts';
import { accessibilityFaults, type RealBrowser, startBrowser } from '../support/real-browser.ts';
import { modelName, setStageFromFiles } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

const pages = ['/', '/status', '/models/m', '/rollbacks', '/rollbacks/rb_1', '/no/such/page'];
let browser: RealBrowser;

beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(async () => {
  await browser[Symbol.asyncDispose]();
});

/** A server of pages on a free port. */
async function servePages(text: string) {
  let shown = [text];
  const queries = { ...pageQueries(aWorldOf(text)), models: async () => shown.flatMap((name) => aWorldOf(name).models ?? []) };
  const { web } = aServer({ queries });
  const { port } = await web.listen('127.0.0.1:0');
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    /** From now on the fleet is these models, all of which need a look. */
    show: (...next: readonly string[]) => void (shown = [...next]),
    close: async () => await web.close(),
    [Symbol.asyncDispose]: async () => await web.close(),
  };
}

/** As if that much time had gone by in the page. */
async function refreshes(page: Page): Promise<void> {
  await page.clock.fastForward(61_000);
}

describe.each(['light', 'dark'] as const)('in %s', (colorScheme) => {
  it('pages are accessible to everybody, and no wider than a phone', async () => {
    await using server = await servePages('a-model-with-a-rather-long-name');
    const page = await browser.newPage({ colorScheme, viewport: { width: 1280, height: 800 } });

    for (const path of pages) {
      await page.goto(server.url + path);
      expect(await accessibilityFaults(page), path).toEqual([]);
      await page.setViewportSize({ width: 360, height: 800 });
      expect(await page.evaluate('document.documentElement.scrollWidth'), path).toBe(360);
      if (path === '/') expect(await accessibilityFaults(page), 'narrow').toEqual([]);
      await page.setViewportSize({ width: 1280, height: 800 });
    }
  });
});

describe('texts from the network', () => {
  it('run nothing in a browser, and are read as they are', async () => {
    const page = await browser.newPage();
    const dialogs: string[] = [];
    page.on('dialog', (dialog) => {
      dialogs.push(dialog.message());
      void dialog.dismiss();
    });

    for (const text of evilTexts.filter((each) => /[<>'"]/.test(each))) {
      await using server = await servePages(text);
      for (const path of ['/', '/status', '/models/m', '/rollbacks/rb_1']) {
        await page.goto(server.url + path);
        const found = await page.evaluate("[document.scripts.length, document.images.length, document.querySelectorAll('[onerror], [onmouseover]').length]");
        expect(found, `${path} ${text}`).toEqual([1, 0, 0]);
      }
      await page.goto(server.url);
      expect(await page.locator('tbody th').first().textContent()).toBe(text);
    }
    expect(dialogs).toEqual([]);
  });

  it('run nothing when they come by a refresh', async () => {
    await using server = await servePages('m');
    const page = await browser.newPage();
    await page.clock.install();
    await page.goto(server.url);

    server.show('<img src=x onerror="window.owned = 1"><script>window.owned = 2</script>');
    await refreshes(page);

    await until('the new name', async () => (await page.locator('tbody th').first().textContent())?.startsWith('<img src=x'));
    expect(await page.evaluate('[document.images.length, document.scripts.length, window.owned ?? null]')).toEqual([0, 1, null]);
  });

  it('would run nothing if they became markup after all: the page lets nothing run but its one file', async () => {
    await using server = await servePages('m');
    const page = await browser.newPage();
    const refused: string[] = [];
    page.on('console', (message) => refused.push(message.text()));
    await page.goto(server.url);

    await page.evaluate(`{
      const main = document.querySelector('main');
      main.insertAdjacentHTML('beforeend', '<img src="data:image/gif;base64,x" onerror="window.owned = 1"><a href="javascript:window.owned = 3">x</a>');
      main.append(Object.assign(document.createElement('script'), { textContent: 'window.owned = 2' }));
      main.querySelector('a[href^=javascript]').click();
    }`);

    await until('the refusals', () => refused.filter((text) => text.includes('Content Security Policy')).length >= 3);
    expect(await page.evaluate('window.owned ?? null')).toBeNull();
  });
});

describe('the script of a page', () => {
  it('says when the daemon does not answer, and goes on when it does', async () => {
    const server = await servePages('first');
    const page = await browser.newPage();
    await page.clock.install();
    await page.goto(server.url);
    await server.close();

    await refreshes(page);
    await until('the warning', async () =>
      /^rollbackd cannot be reached since \d\d:\d\d:\d\d UTC/.test((await page.locator('#connection').textContent()) ?? ''),
    );
    expect(await page.locator('tbody th').first().textContent()).toBe('first');
    expect(await accessibilityFaults(page)).toEqual([]);

    const { web } = aServer({ queries: pageQueries(aWorldOf('second')) });
    await web.listen(`127.0.0.1:${server.port}`);
    await until('the new page', async () => {
      await refreshes(page);
      return (await page.locator('tbody th').first().textContent()) === 'second';
    });
    expect(await page.locator('#connection').textContent()).toBe('');
    await web.close();
  });

  it('keeps the keyboard where it is and what is marked, and rests while nobody looks', async () => {
    await using server = await servePages('m');
    const page = await browser.newPage();
    let asked = 0;
    page.on('request', (request) => {
      if (request.resourceType() === 'fetch') asked += 1;
    });
    const firstModel = async (): Promise<string | null> => await page.locator('tbody th').first().textContent();
    await page.clock.install();
    await page.goto(server.url);
    await page.locator('tbody a').first().focus();

    server.show('n');
    await refreshes(page);
    await until('the new name', async () => (await firstModel()) === 'n');
    expect(await page.evaluate('document.activeElement.localName')).not.toBe('body');

    await page.evaluate("getSelection().selectAllChildren(document.querySelector('tbody th'))");
    server.show('o', 'p');
    await refreshes(page);
    await until('a refresh', async () => (await page.title()).startsWith('(2)'));
    expect(await firstModel()).toBe('n');

    await page.evaluate(`{
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });
      document.dispatchEvent(new Event('visibilitychange'));
      getSelection().removeAllRanges();
    }`);
    const rested = asked;
    await refreshes(page);
    expect(asked).toBe(rested);
    await page.evaluate(
      "{ Object.defineProperty(document, 'hidden', { configurable: true, get: () => false }); document.dispatchEvent(new Event('visibilitychange')) }",
    );
    await until('the newest name', async () => (await firstModel()) === 'o');
  });
});

describe('the page of a real daemon', () => {
  it('shows a source that is down and that it recovers, then the rollback, to its end; without script too', async () => {
    const prometheus = createPrometheusSource();
    await using stage = await setStageFromFiles({ source: prometheus.source });
    prometheus.proxy().setFault('503');
    const daemon = await stage.startDaemon();
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(daemon.url);
    const main = async (): Promise<string> => (await page.locator('main').innerText()).replaceAll(/\s+/g, ' ');
    const shows = async (words: RegExp, withinMs = 20_000): Promise<void> => {
      await until(`the page to show ${String(words)}`, async () => words.test(await main()), { withinMs, seen: main });
    };

    await shows(/✖ source down metrics since .*answered 503.*! error .*answered 503/);
    prometheus.proxy().setFault(null);
    await shows(/✖ breach|↩ rolling back|✔ success/);
    await shows(/✔ success \d+s ago/, 60_000);
    expect(await main()).not.toMatch(/answered 503|✖ source down/);

    const still = await browser.newPage({ javaScriptEnabled: false });
    await still.goto(daemon.url);
    await still.getByRole('link', { name: modelName }).click();
    expect(await still.locator('h1').innerText()).toContain(modelName);
    await still.getByRole('link', { name: 'all of this model' }).click();
    await still.locator('tbody a').first().click();
    expect(await still.locator('h1').innerText()).toMatch(/^Rolled back fraud-detector 2 → 1\s+✔ succeeded$/);
    expect(await still.locator('main').innerText()).toContain('Decided: roll back 2 to 1 (');
    expect(await still.locator('#steps').locator('xpath=../..').innerText()).toMatch(/✔ done/);
    expect(errors).toEqual([]);
  });
});
