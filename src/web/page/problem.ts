import { STATUS_CODES } from 'node:http';
import { type Html, html } from './html.ts';
import type { Page } from './layout.ts';
import type { Place } from './parts.ts';

/** Why there is no such page, for a browser. */
export function problemPage(status: number, message: string, { root }: Place): Page {
  const title = STATUS_CODES[status] ?? 'Error';
  return {
    title,
    at: null,
    isLive: false,
    main: html`<h1>${title}</h1>
      <p class="lead">${message}</p>
      <p><a href=${root}>Fleet</a></p>`,
  };
}

/** The same for somebody who did not sign in, and so gets neither style sheet nor script. */
export function bareProblem(status: number, message: string): Html {
  const title = STATUS_CODES[status] ?? 'Error';
  return html`<html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <title>${title} · rollbackd</title>
    </head>
    <body><main><h1>${title}</h1><p>${message}</p></main></body>
  </html>`;
}
