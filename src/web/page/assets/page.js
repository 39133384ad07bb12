// Asks for the page again now and then, and puts the new content in the place of the old. The page can be read without it.
const body = document.body;
const everyMs = Number(body.dataset.refreshMs);
const patienceMs = 10_000;
const connection = document.getElementById('connection');
const gist = document.getElementById('gist');
const slowestMs = 60_000;

let failures = 0;
let failingSince = null;
let timer;
let underWay = null;

/** What a swap must not lose: which parts are open, how far tables are scrolled, where the keyboard is. */
function swap(next) {
  const main = document.querySelector('main');
  if (main.isEqualNode(next)) return;
  const selection = document.getSelection();
  // Somebody copies text out of it: not now.
  if (selection !== null && !selection.isCollapsed && main.contains(selection.anchorNode)) return;
  const open = [...main.querySelectorAll('details[id][open]')].map(({ id }) => id);
  const focused = main.contains(document.activeElement) ? pathTo(document.activeElement, main) : null;
  for (const details of next.querySelectorAll('details[id]')) details.open = open.includes(details.id);
  // Nodes that a parser of its own made never run as script; they are only moved over.
  main.replaceChildren(...next.childNodes);
  main.dataset.gist = next.dataset.gist;
  if (focused !== null) find(focused, main)?.focus({ preventScroll: true });
}

/** How to find an element again: a link by where it leads, anything else by its place. */
function pathTo(element, main) {
  if (element === main) return { self: true };
  const href = element.getAttribute('href');
  const alike = href === null ? [...main.querySelectorAll(element.localName)] : linksTo(href, main);
  return { href, tag: element.localName, nth: alike.indexOf(element) };
}

function find({ self, href, tag, nth }, main) {
  if (self) return main;
  const alike = href === null ? [...main.querySelectorAll(tag)] : linksTo(href, main);
  return alike[nth] ?? main;
}

function linksTo(href, main) {
  return [...main.querySelectorAll('a[href]')].filter((link) => link.getAttribute('href') === href);
}

function failed(why) {
  failures += 1;
  failingSince ??= new Date();
  body.classList.add('stale');
  const said = `${why} since ${failingSince.toISOString().slice(11, 19)} UTC; what is shown is from before. Trying again.`;
  if (connection.textContent !== said) connection.textContent = said;
}

function succeeded() {
  failures = 0;
  failingSince = null;
  body.classList.remove('stale');
  if (connection.textContent !== '') connection.textContent = '';
}

async function refresh() {
  underWay = new AbortController();
  const signal = AbortSignal.any([underWay.signal, AbortSignal.timeout(patienceMs)]);
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' }, cache: 'no-store', credentials: 'same-origin', redirect: 'error', signal });
    const text = await answer.text();
    if (!answer.ok) {
      failed(answer.status === 401 ? 'You are not signed in any more (load the page anew)' : `rollbackd answers ${answer.status}`);
      return;
    }
    const next = new DOMParser().parseFromString(text, 'text/html');
    // Another release of rollbackd, with a style and a script of its own.
    if (next.querySelector('script')?.src !== document.querySelector('script').src) {
      location.reload();
      return;
    }
    const said = next.querySelector('main').dataset.gist;
    const changed = said !== document.querySelector('main').dataset.gist;
    swap(next.querySelector('main'));
    document.title = next.title;
    document.getElementById('freshness').replaceWith(next.getElementById('freshness'));
    if (changed) gist.textContent = said;
    succeeded();
  } catch {
    if (underWay.signal.aborted) return;
    failed('rollbackd cannot be reached');
  } finally {
    underWay = null;
    plan();
  }
}

/** Slower while it fails, not at all while nobody looks. */
function plan() {
  clearTimeout(timer);
  if (document.hidden) return;
  timer = setTimeout(refresh, Math.min(slowestMs, everyMs * 2 ** Math.min(failures, 4)));
}

document.addEventListener('visibilitychange', () => {
  if (!(everyMs > 0)) return;
  clearTimeout(timer);
  if (document.hidden) underWay?.abort();
  else if (underWay === null) void refresh();
});
if (everyMs > 0) plan();
