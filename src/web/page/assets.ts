import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A file of the page. `path`: from the root, with its content's hash, so that it may be kept for ever. */
type Asset = { readonly path: string; readonly type: string; readonly body: string };

function load(file: string, type: string): Asset {
  const body = readFileSync(new URL(`assets/${file}`, import.meta.url), 'utf8');
  const [stem, extension] = file.split('.') as [string, string];
  return { path: `assets/${stem}.${createHash('sha256').update(body).digest('hex').slice(0, 12)}.${extension}`, type, body };
}

export const assets = {
  css: load('page.css', 'text/css; charset=utf-8'),
  js: load('page.js', 'text/javascript; charset=utf-8'),
  icon: load('icon.svg', 'image/svg+xml; charset=utf-8'),
};

/** One by its file's name. `isCurrent: false`: asked for by a page of another release, while replicas change over; what there is fits well enough. */
export function findAsset(file: string): { readonly asset: Asset; readonly isCurrent: boolean } | null {
  const kind = /^[a-z]+\.[0-9a-f]{12}\.(css|js|svg)$/.exec(file)?.[1];
  const asset = Object.values(assets).find(({ path }) => path.endsWith(`.${kind}`));
  return kind === undefined || asset === undefined ? null : { asset, isCurrent: asset.path === `assets/${file}` };
}
