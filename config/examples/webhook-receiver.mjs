#!/usr/bin/env node
// A receiver for rollbackd's `webhook` control plane: the contract in one file, with nothing but Node.
//
//   SIGNING_SECRET_FILE=/etc/rollbackd/webhook-secret STATE_FILE=state.json PORT=8090 node webhook-receiver.mjs
//
// The state file says what there is: {"fraud": {"serving": "7", "durable": "7", "versions": {"6": "unloaded", "7": "available"}}}.
// Where it writes that file, a real receiver tells the thing that moves traffic.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';

const { SIGNING_SECRET_FILE, STATE_FILE, PORT = '8090', HOST = '127.0.0.1' } = process.env;
const secret = readFileSync(SIGNING_SECRET_FILE, 'utf8').trim();
const maxAgeSeconds = 300;
const maxBodyBytes = 65_536;

const read = () => JSON.parse(readFileSync(STATE_FILE, 'utf8'));
const write = (state) => {
  writeFileSync(`${STATE_FILE}.new`, JSON.stringify(state));
  renameSync(`${STATE_FILE}.new`, STATE_FILE);
};
/** Changes with what serves. */
const generationOf = (model) => JSON.stringify([model.serving, model.versions]);

/** Model and Idempotency-Key → answer: a repeat gets the answer of the first, and nothing is done again. Kept here as long as the process lives. */
const answered = new Map();

function isSigned(request, body) {
  const timestamp = request.headers['x-rollbackd-timestamp'] ?? '';
  const given = Buffer.from(String(request.headers['x-rollbackd-signature'] ?? ''));
  const wanted = Buffer.from(`sha256=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`);
  const isFresh = Math.abs(Date.now() / 1000 - Number(timestamp)) <= maxAgeSeconds;
  return isFresh && given.length === wanted.length && timingSafeEqual(given, wanted);
}

function observe(model) {
  return {
    serving: [{ version: model.serving, share: 1 }],
    versions: Object.entries(model.versions).map(([version, state]) => ({ version, state })),
    generation: generationOf(model),
    durable: model.durable,
  };
}

/** @returns [status, answer] */
function act(state, name, action) {
  const model = state[name];
  const { to, expect } = action;
  if (expect !== null && expect !== generationOf(model)) return [409, { error: 'what serves has changed since' }];
  if (!Object.hasOwn(model.versions, to)) return [422, { error: `there is no version ${to}` }];
  if (action.action === 'stage') model.versions[to] = 'available';
  else if (action.action === 'unstage') model.versions[to] = 'unloaded';
  else if (action.action === 'switch') model.serving = to;
  else if (action.action === 'persist') model.durable = to;
  else return [400, { error: `unknown action ${action.action}` }];
  write(state);
  return [200, { done: true }];
}

function answer(request, body) {
  if (!isSigned(request, body)) return [401, { error: 'the signature does not fit, or is older than five minutes' }];
  const name = decodeURIComponent(new URL(request.url, 'http://receiver').pathname.split('/')[2] ?? '');
  const state = read();
  if (!Object.hasOwn(state, name)) return [404, { error: `there is no model ${name}` }];
  if (request.method === 'GET') return [200, observe(state[name])];
  const key = request.headers['idempotency-key'];
  if (key === undefined) return [400, { error: 'no Idempotency-Key' }];
  const known = answered.get(`${name} ${key}`);
  if (known !== undefined) return known;
  const result = act(state, name, JSON.parse(body));
  // A conflict is not kept: the next try may fit.
  if (result[0] !== 409) answered.set(`${name} ${key}`, result);
  return result;
}

const server = createServer((request, response) => {
  const chunks = [];
  let bytes = 0;
  request.on('data', (chunk) => {
    bytes += chunk.length;
    if (bytes <= maxBodyBytes) chunks.push(chunk);
  });
  request.on('end', () => {
    let result = [413, { error: 'too large' }];
    if (bytes <= maxBodyBytes) {
      try {
        result = answer(request, Buffer.concat(chunks).toString('utf8'));
      } catch {
        result = [400, { error: 'not understood' }];
      }
    }
    response.writeHead(result[0], { 'Content-Type': 'application/json' }).end(JSON.stringify(result[1]));
  });
});
server.listen(Number(PORT), HOST, () => process.stdout.write(`listening on ${server.address().port}\n`));
process.on('SIGTERM', () => server.close());
