import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DURATION_PATTERN,
  formatDuration,
  formatSize,
  parseDuration,
  parsePercent,
  parseSize,
  PERCENT_PATTERN,
  SIZE_PATTERN,
} from '../src/config/units.ts';
import { fc } from './parts/properties.ts';

const whole = fc.oneof(fc.maxSafeNat(), fc.nat({ max: 10_000 }));

test('every number of milliseconds survives being written and read', () => {
  fc.assert(fc.property(whole, (ms) => assert.equal(parseDuration(formatDuration(ms)), ms)));
  fc.assert(
    fc.property(fc.nat({ max: 100_000 }), (days) => assert.equal(parseDuration(`${days}d`), days * 86_400_000)),
  );
});

test('every number of bytes survives being written and read', () => {
  fc.assert(fc.property(whole, (bytes) => assert.equal(parseSize(formatSize(bytes)), bytes)));
  fc.assert(
    fc.property(fc.nat({ max: 8000 }), (gib) =>
      assert.equal(formatSize(parseSize(`${gib}GiB`)!), formatSize(gib * 1024 ** 3)),
    ),
  );
});

test('a number is written in the largest unit that it fills', () => {
  assert.deepEqual([0, 250, 5000, 90_000, 7_200_000, 604_800_000].map(formatDuration), [
    '0ms',
    '250ms',
    '5s',
    '90s',
    '2h',
    '7d',
  ]);
  assert.deepEqual([0, 12, 1000, 65_536, 536_870_912, 1024 ** 4].map(formatSize), [
    '0B',
    '12B',
    '1000B',
    '64KiB',
    '512MiB',
    '1TiB',
  ]);
});

test('fractions are read as far as they come out whole', () => {
  assert.equal(parseDuration('1.5m'), 90_000);
  assert.equal(parseDuration('1.1s'), 1100);
  assert.equal(parseDuration('0.5ms'), undefined);
  assert.equal(parseSize('1.5GiB'), 1_610_612_736);
  assert.equal(parseSize('0.3KiB'), 307);
  assert.equal(parsePercent('12.5%'), 12.5);
});

test('thousands and 1024s are told apart', () => {
  assert.equal(parseSize('100MB'), 100_000_000);
  assert.equal(parseSize('100MiB'), 104_857_600);
  assert.deepEqual([parseSize('1kB'), parseSize('1KB'), parseSize('1 KiB')], [1000, 1000, 1024]);
});

test('text that is no time, size or percentage is nothing', () => {
  for (const text of [
    '',
    '5',
    's',
    '5 parsecs',
    '-5s',
    '5S',
    '1e3s',
    '1.s',
    '.5s',
    '5s ',
    '5  s',
    '99999999999999d',
    'NaNs',
  ]) {
    assert.equal(parseDuration(text), undefined, text);
  }
  for (const text of ['', '5', 'MiB', '12 parsecs', '-1B', '512M', '512mib', '1,5GiB', '9999999TiB', '0x1B']) {
    assert.equal(parseSize(text), undefined, text);
  }
  for (const text of ['', '10', '%', '101%', '-1%', '10 percent']) assert.equal(parsePercent(text), undefined, text);
});

test('whatever is read matches the pattern that the JSON Schema gives to editors', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^\d{1,4}(\.\d{1,2})? ?(ms|s|m|h|d|B|kB|MB|MiB|GiB|%)$/));
  const agrees = (read: (text: string) => unknown, pattern: string): void =>
    fc.assert(fc.property(text, (input) => read(input) === undefined || new RegExp(pattern).test(input)));
  agrees(parseDuration, DURATION_PATTERN);
  agrees(parseSize, SIZE_PATTERN);
  agrees(parsePercent, PERCENT_PATTERN);
});
