import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A file of the page. `path`: from the root, with its content's hash, so that it may be kept for ever. */
export type Asset = { readonly path: string; readonly name: string; readonly type: string; readonly body: string };

function load(file: string, type: string): Asset {
  const body = readFileSync(new URL(`assets/${file}`, import.meta.url), 'utf8');
  const [stem, extension] = file.split('.') as [string, string];
  const name = `${stem}.${createHash('sha256').update(body).digest('hex').slice(0, 12)}.${extension}`;
  return { path: `assets/${name}`, name, type, body };
}

export const assets = {
  css: load('page.css', 'text/css; charset=utf-8'),
  js: load('page.js', 'text/javascript; charset=utf-8'),
  icon: load('icon.svg', 'image/svg+xml; charset=utf-8'),
};
