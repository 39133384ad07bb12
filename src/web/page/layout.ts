import { type Html, html } from './html.ts';
import type { Place } from './parts.ts';

/** What a page says of itself. */
export type Page = {
  /** Of the window; rollbackd's name is put behind it. */
  readonly title: string;
  /** Which entry of the navigation it is. */
  readonly at: 'fleet' | 'rollbacks' | 'status' | null;
  readonly main: Html;
  /** Beside the navigation. */
  readonly search?: Html;
  /** Under the page: where the same is to be had as JSON. */
  readonly json?: string;
  /** Asked for again now and then; default: yes. */
  readonly isLive?: boolean;
  /** One sentence that is said aloud when it changes. */
  readonly gist?: string;
};

/** What all pages have in common. */
export type Frame = {
  /** Addresses of style sheet, script and icon, from the root. */
  readonly assets: { readonly css: string; readonly js: string; readonly icon: string };
  /** How often the script asks for the page again. */
  readonly refreshMs: number;
};

const pages = [
  ['fleet', '', 'Fleet'],
  ['rollbacks', 'rollbacks', 'Rollbacks'],
  ['status', 'status', 'Status'],
] as const;

/** A document around a page. It can be read without its script, which only asks for it again now and then. */
export function layOut(page: Page, { root, nowMs }: Place, { assets, refreshMs }: Frame): Html {
  const at = new Date(nowMs).toISOString();
  return html`<html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <title>${page.title} · rollbackd</title>
      <link rel="icon" href="${root}${assets.icon}" type="image/svg+xml" />
      <link rel="stylesheet" href="${root}${assets.css}" />
      <script type="module" src="${root}${assets.js}"></script>
    </head>
    <body data-refresh-ms=${page.isLive === false ? undefined : String(refreshMs)}>
      <a class="skip" href="#main">Skip to the content</a>
      <header>
        <div class="bar">
          <a class="brand" href=${root}>rollbackd</a>
          <nav aria-label="Pages">
            ${pages.map(([id, path, label]) => html`<a href="${root}${path}" aria-current=${id === page.at ? 'page' : undefined}>${label}</a>`)}
          </nav>
          ${page.search ?? null}
        </div>
      </header>
      <main id="main" tabindex="-1" data-gist=${page.gist ?? ''}>${page.main}</main>
      <footer>
        <p><span id="freshness">As of <time datetime=${at}>${at.slice(11, 19)} UTC</time></span>${page.json === undefined ? null : html` · <a href="${root}${page.json}">this as JSON</a>`} · <a href="${root}metrics">metrics</a></p>
        <p id="connection" role="status"></p>
        <p id="gist" role="status" class="hidden"></p>
      </footer>
    </body>
  </html>`;
}
