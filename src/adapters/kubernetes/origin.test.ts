import { describe, expect, it } from 'vitest';
import { originOf } from './origin.ts';

const image = {
  'org.opencontainers.image.source': 'https://git.example.org/ml/fraud',
  'org.opencontainers.image.revision': '3fa563f0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6',
};

describe('originOf', () => {
  it('links the commit of the image, and what people say themselves before what kubectl was told', () => {
    const cause = { 'kubernetes.io/change-cause': 'https://git.example.org/ml/fraud/pull/17' };

    expect(originOf({ ...image, ...cause }, { 'rollbackd.io/change': 'https://tickets.example.org/ML-4711' })).toEqual({
      change: 'https://tickets.example.org/ML-4711',
      commit: 'https://git.example.org/ml/fraud/commit/3fa563f0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6',
    });
    expect(originOf(cause)).toEqual({ change: 'https://git.example.org/ml/fraud/pull/17' });
  });

  it('takes the first object that says something', () => {
    expect(originOf(undefined, { 'rollbackd.io/change': 'https://a.example.org' }, { 'rollbackd.io/change': 'https://b.example.org' })).toEqual({
      change: 'https://a.example.org',
    });
  });

  it.each([
    ['nothing', {}],
    ['a cause in words', { 'kubernetes.io/change-cause': 'kubectl set image deployment/fraud server=fraud:7' }],
    ['an address with a password', { 'rollbackd.io/change': 'https://ci:s3cr3t@git.example.org/17' }],
    ['another scheme', { 'rollbackd.io/change': 'javascript:alert(1)' }],
    ['a commit without its repository', { 'org.opencontainers.image.revision': image['org.opencontainers.image.revision'] }],
    ['a repository without a commit', { 'org.opencontainers.image.source': image['org.opencontainers.image.source'] }],
  ])('makes no page of %s', (_, annotations: Readonly<Record<string, string>>) => {
    expect(originOf(annotations)).toEqual({});
  });
});
