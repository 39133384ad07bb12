import { expect, it } from 'vitest';
import { commitPage } from './commit-page.ts';

const commit = '3fa563f0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6';

it.each([
  ['https://git.example.org/ml/fraud.git', `https://git.example.org/ml/fraud/commit/${commit}`],
  ['https://git.example.org/ml/fraud/', `https://git.example.org/ml/fraud/commit/${commit}`],
  ['https://ci:s3cr3t@git.example.org:8443/fraud', `https://git.example.org:8443/fraud/commit/${commit}`],
  ['git@git.example.org:ml/fraud.git', null],
  ['https://git.example.org', null],
  ['/srv/git/fraud', null],
  ['https://git.example.org/fraud?token=s3cr3t', null],
])('commitPage of %s', (repository, page) => {
  expect(commitPage(repository, commit)).toBe(page);
});

it('makes no page of what is no commit', () => {
  expect(commitPage('https://git.example.org/fraud', 'main')).toBeNull();
  expect(commitPage('https://git.example.org/fraud', '../../admin')).toBeNull();
});
