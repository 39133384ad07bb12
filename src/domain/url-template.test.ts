import { describe, expect, it } from 'vitest';
import { parseTemplate, smokeVariables, type Template } from './template.ts';
import { renderUrl, urlTemplateFault } from './url-template.ts';

function aTemplate(text: string): Template {
  const { template } = parseTemplate(text, smokeVariables);
  if (template === undefined) throw new Error('no template');
  return template;
}

describe('renderUrl', () => {
  it.each([
    ['7', 'http://tfs:8501/v1/models/fraud/versions/7:predict?v=7'],
    ['2024/../admin?x=1#y', 'http://tfs:8501/v1/models/fraud/versions/2024%2F..%2Fadmin%3Fx%3D1%23y:predict?v=2024%2F..%2Fadmin%3Fx%3D1%23y'],
    ['a b&c=d', 'http://tfs:8501/v1/models/fraud/versions/a%20b%26c%3Dd:predict?v=a%20b%26c%3Dd'],
  ])('keeps the value %s in its place', (to, url) => {
    expect(renderUrl(aTemplate('http://tfs:8501/v1/models/fraud/versions/{{ $to }}:predict?v={{ $to }}'), { to })).toBe(url);
  });

  it('refuses what a function of the template cannot work on', () => {
    expect(() => renderUrl(aTemplate('http://tfs/{{ $to | humanize }}/x'), { to: 'seven' })).toThrow('which cannot stand in one');
  });

  it.each(['.', '..', '', '\ud800'])('refuses the value %j', (to) => {
    expect(() => renderUrl(aTemplate('http://tfs/{{ $to }}/x'), { to })).toThrow(`gives ${JSON.stringify(to)}, which cannot stand in one`);
  });
});

describe('urlTemplateFault', () => {
  it.each(['http://tfs:8501/v1/{{ $to }}', 'https://tfs', 'https://tfs?v={{ $to }}', 'http://[::1]:80/{{ $to }}'])('takes %s', (url) => {
    expect(urlTemplateFault(aTemplate(url))).toBeNull();
  });

  it.each([
    ['http://{{ $labels.instance }}/x', 'scheme, host and port must be written out'],
    ['http://tfs{{ $to }}/x', 'scheme, host and port must be written out'],
    ['http://tfs:{{ $to }}', 'scheme, host and port must be written out'],
    // A URL reads a backslash as a slash: the value would be the host.
    ['http://\\/{{ $to }}', 'scheme, host and port must be written out'],
    ['{{ $to }}', 'scheme, host and port must be written out'],
    ['ftp://tfs/x', 'starts with http:// or https://'],
    ['/v1/x', 'starts with http:// or https://'],
    ['', 'scheme, host and port must be written out'],
  ])('refuses %s', (url, words) => {
    expect(urlTemplateFault(aTemplate(url))).toContain(words);
  });
});
