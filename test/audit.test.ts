import { expect, it } from 'vitest';
import { readAudit } from '../scripts/audit-answer.ts';

/** As npm 11.19 prints them. */
const dependencies = { prod: 127, dev: 215, optional: 139, peer: 42, peerOptional: 0, total: 343 };
const none = { info: 0, low: 0, moderate: 0, high: 0, critical: 0, total: 0 };
const advisory = {
  ...{ source: 1, name: 'yaml', dependency: 'yaml', title: 'Stack overflow in yaml', url: 'https://github.com/advisories/GHSA-x', severity: 'moderate' },
  ...{ cwe: [], cvss: { score: 4.3, vectorString: null }, range: '<99' },
};
const report = (vulnerabilities: object, counts: object): object => ({
  auditReportVersion: 2,
  vulnerabilities,
  metadata: { vulnerabilities: counts, dependencies },
});
const unheard = { error: { summary: '', detail: '' } };

it.each([
  ['nothing found', report({}, none), { kind: 'clean', packages: 343 }],
  [
    'a finding, and who takes it in',
    report(
      {
        knip: { name: 'knip', severity: 'moderate', isDirect: true, via: ['yaml'], effects: [], range: '', nodes: [], fixAvailable: false },
        yaml: { name: 'yaml', severity: 'moderate', isDirect: true, via: [advisory], effects: ['knip'], range: '', nodes: [], fixAvailable: false },
      },
      { ...none, moderate: 2, total: 2 },
    ),
    { kind: 'found', lines: ['yaml <99 (moderate): Stack overflow in yaml, https://github.com/advisories/GHSA-x'] },
  ],
  ['findings that are only counted', report({}, { ...none, high: 1, total: 1 }), { kind: 'found', lines: ['1 findings, without an advisory'] }],
  [
    'a mirror without that service',
    {
      message: '405 Method Not Allowed - POST https://mirror.internal/-/npm/v1/security/advisories/bulk',
      method: 'POST',
      statusCode: 405,
      body: '',
      ...unheard,
    },
    { kind: 'not_asked', reason: 'the registry answered 405' },
  ],
  [
    'no network',
    { message: 'request to https://mirror.internal/-/npm failed, reason: getaddrinfo ENOTFOUND mirror.internal', ...unheard },
    { kind: 'not_asked', reason: 'the registry cannot be reached (ENOTFOUND)' },
  ],
  [
    'no lock file',
    { error: { code: 'ENOLOCK', summary: 'This command requires an existing lockfile.', detail: '' } },
    { kind: 'failed', reason: 'This command requires an existing lockfile.' },
  ],
  ['a report of another version', { ...report({}, none), auditReportVersion: 3 }, { kind: 'failed', reason: 'npm audit gave an answer of no known form' }],
  ['nothing', {}, { kind: 'failed', reason: 'npm audit gave an answer of no known form' }],
])('reads the answer of npm audit: %s', (_, answer, expected) => {
  expect(readAudit(JSON.stringify(answer))).toEqual(expected);
});

it('takes what is no JSON for a failure, never for clean', () => {
  expect(readAudit('npm error')).toEqual({ kind: 'failed', reason: 'npm audit gave no JSON' });
});
