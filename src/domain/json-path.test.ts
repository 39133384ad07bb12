import { describe, expect, it } from 'vitest';
import { equalJson, parseJsonPath, readJsonPath } from './json-path.ts';

const document = { predictions: [{ score: 0.93, 'model.name': 'fraud', "it's": null }, 2], text: 'abc', naïve: { a: 1, b: 2 } };

function read(text: string): unknown {
  const { path, fault } = parseJsonPath(text);
  if (fault !== undefined) throw new Error(`${fault.offset}: ${fault.message}`);
  const answer = readJsonPath(path, document);
  return answer.found ? answer.value : answer.reason;
}

describe('readJsonPath', () => {
  it.each([
    ['$', document],
    ['$.predictions[0].score', 0.93],
    ['$.predictions[1]', 2],
    ["$['predictions'][0]['model.name']", 'fraud'],
    ['$["predictions"][0]["it\'s"]', null],
    ["$.predictions[0]['it\\'s']", null],
    ['$.naïve.b', 2],
    ['$.predictions.length()', 2],
    ['$.text.length()', 3],
    ['$.naïve.length()', 2],
  ])('reads %s', (path, value) => {
    expect(read(path)).toEqual(value);
  });

  it.each([
    ['$.outputs', '$ is an object with the keys predictions, text, naïve, so there is no key "outputs"'],
    ['$.predictions[2]', '$.predictions is an array of 2, so there is no [2]'],
    ['$.predictions[0].score.x', '$.predictions[0].score is the number 0.93, so there is no key "x"'],
    ['$.predictions.score', '$.predictions is an array of 2, so there is no key "score"'],
    ['$.predictions[1].length()', '$.predictions[1] is the number 2, which has no length()'],
    ["$.predictions[0]['it\\'s'].x", "$.predictions[0]['it\\'s'] is null, so there is no key \"x\""],
    ['$.toString', '$ is an object with the keys predictions, text, naïve, so there is no key "toString"'],
    ['$.__proto__', '$ is an object with the keys predictions, text, naïve, so there is no key "__proto__"'],
  ])('says for %s what it found', (path, reason) => {
    expect(read(path)).toBe(reason);
  });
});

describe('parseJsonPath', () => {
  it.each([
    ['predictions[0]', '0: a JSON path starts with $; write $.predictions[0]'],
    ['$.a[*]', '3: "[*]" is no step; known are .name, [\'name\'], [0] and, at the end, .length()'],
    ['$..a', '1: "..a" is no step; known are .name, [\'name\'], [0] and, at the end, .length()'],
    ['$.a[-1]', '3: "[-1]" is no step; known are .name, [\'name\'], [0] and, at the end, .length()'],
    ['$.a[01]', '3: "[01]" is no step; known are .name, [\'name\'], [0] and, at the end, .length()'],
    ['$.a.', '3: "." is no step; known are .name, [\'name\'], [0] and, at the end, .length()'],
    ['$.length().a', '10: .length() must be the last step'],
  ])('refuses %s with its place', (path, message) => {
    expect(() => read(path)).toThrow(message);
  });
});

describe('equalJson', () => {
  it.each([
    [{ a: 1, b: [1, null] }, { b: [1, null], a: 1 }, true],
    [{ a: 1 }, { a: 1, b: 2 }, false],
    [[1, 2], [2, 1], false],
    [{ 0: 1 }, [1], false],
    [null, {}, false],
    ['1', 1, false],
  ])('compares %j with %j', (left, right, same) => {
    expect(equalJson(left, right)).toBe(same);
  });
});
