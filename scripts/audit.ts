/**
 * `npm audit` over all that is locked, what only developers and CI run included: a bad package there signs the release. Any finding fails. Where the
 * registry does not answer that question (a mirror, a machine without a network) one line says so, and nothing fails.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { readAudit } from './audit-answer.ts';

const { stdout, error } = spawnSync('npm', ['audit', '--json'], {
  cwd: path.resolve(import.meta.dirname, '..'),
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
});
const audit = error === undefined ? readAudit(stdout) : { kind: 'failed' as const, reason: error.message };
switch (audit.kind) {
  case 'clean':
    console.log(`npm audit: no known vulnerability in ${audit.packages} packages`);
    break;
  case 'found':
    for (const line of audit.lines) console.error(`npm audit: ${line}`);
    process.exitCode = 1;
    break;
  case 'not_asked':
    console.error(`npm audit: NOT AUDITED, NOTHING IS KNOWN OF VULNERABLE PACKAGES: ${audit.reason}; run it where the npm registry can be asked`);
    break;
  case 'failed':
    console.error(`npm audit: ${audit.reason}`);
    process.exitCode = 1;
    break;
}
