import { expect, it } from 'vitest';
import { commitPage } from './commit-page.ts';

const commit = '3fa563f0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6';

it.each([
  ['a clone address', 'https://git.example.org/ml/fraud.git', `https://git.example.org/ml/fraud/commit/${commit}`],
  ['a page', 'https://git.example.org/ml/fraud/', `https://git.example.org/ml/fraud/commit/${commit}`],
  ['an address with a password', 'https://ci:planted-secret@git.example.org:8443/fraud', `https://git.example.org:8443/fraud/commit/${commit}`],
  ['SSH', 'git@git.example.org:ml/fraud.git', null],
  ['a host', 'https://git.example.org', null],
  ['a folder', '/srv/git/fraud', null],
  ['an address with a query', 'https://git.example.org/fraud?token=planted-secret', null],
])('commitPage of %s', (_name, repository, page) => {
  expect(commitPage(repository, commit)).toBe(page);
});

it('makes no page of what is no commit', () => {
  expect(commitPage('https://git.example.org/fraud', 'main')).toBeNull();
  expect(commitPage('https://git.example.org/fraud', '../../admin')).toBeNull();
});
