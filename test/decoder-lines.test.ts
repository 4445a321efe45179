import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineSplitter } from '../src/drivers/decoders/lines.ts';
import { fc } from './parts/properties.ts';

interface Heard {
  lines: string[];
  malformed: { why: string; sample: string }[];
}

/** What comes of these chunks, with the partial line at the end cut off. */
function split(chunks: readonly (Buffer | string)[], { delimiter = '\n', lineBytesMax = 16 } = {}): Heard {
  const heard: Heard = { lines: [], malformed: [] };
  const splitter = new LineSplitter(
    { delimiter, lineBytesMax },
    {
      line: (bytes) => void heard.lines.push(bytes.toString('latin1')),
      malformed: (why, sample) => void heard.malformed.push({ why, sample: sample.toString('latin1') }),
    },
  );
  for (const chunk of chunks) splitter.push(Buffer.from(chunk as string));
  splitter.cutOff('cut off');
  return heard;
}

test('lines come out without their delimiter, and empty ones not at all', () => {
  assert.deepEqual(split(['a\n\nbc\n\r\n', 'd\n']), { lines: ['a', 'bc', 'd'], malformed: [] });
});

test('a CR before LF is dropped, a CR elsewhere is not', () => {
  assert.deepEqual(split(['a\r\nb\rc\n', 'd\r', '\n']).lines, ['a', 'b\rc', 'd']);
});

test('with a delimiter other than LF, CR is a byte like any other', () => {
  assert.deepEqual(split(['a\r;b;'], { delimiter: ';' }).lines, ['a\r', 'b']);
});

test('a delimiter of several bytes may be spread over chunks', () => {
  assert.deepEqual(split(['a\r', '\nb\r\r', '\nc\n\r', '\n'], { delimiter: '\r\n' }).lines, ['a', 'b\r', 'c\n']);
});

test('a line of exactly the limit passes, one byte more is dropped', () => {
  const heard = split(['a'.repeat(16), '\r\n', 'b'.repeat(17), '\nc\n']);
  assert.deepEqual(heard.lines, ['a'.repeat(16), 'c']);
  assert.deepEqual(heard.malformed, [{ why: 'line longer than 16 bytes', sample: 'b'.repeat(17) }]);
});

test('an over-long line is reported once, before it ends, and the line after it is good', () => {
  const heard: string[] = [];
  const splitter = new LineSplitter(
    { delimiter: '\n', lineBytesMax: 16 },
    { line: (bytes) => void heard.push(`line ${bytes.toString()}`), malformed: (why) => void heard.push(why) },
  );
  for (let i = 0; i < 100; i++) splitter.push(Buffer.alloc(1000, 'x'));
  assert.deepEqual(heard, ['line longer than 16 bytes']);
  splitter.push(Buffer.from('xyz\ngood\n'));
  assert.deepEqual(heard, ['line longer than 16 bytes', 'line good']);
});

test('a partial line is malformed when the stream is cut off, and is not glued to what comes next', () => {
  const heard: string[] = [];
  const splitter = new LineSplitter(
    { delimiter: '\n', lineBytesMax: 16 },
    {
      line: (bytes) => void heard.push(`line ${bytes.toString()}`),
      malformed: (why, sample) => void heard.push(`${why}: ${sample.toString()}`),
    },
  );
  splitter.push(Buffer.from('whole\nhal'));
  splitter.cutOff('unplugged');
  splitter.cutOff('unplugged');
  splitter.push(Buffer.from('next\n'));
  assert.deepEqual(heard, ['line whole', 'unplugged: hal', 'line next']);
});

test('an over-long line that is cut off is not reported a second time', () => {
  assert.equal(split(['x'.repeat(100)]).malformed.length, 1);
});

test('a limit or delimiter that cannot work is refused', () => {
  assert.throws(() => split([], { delimiter: '' }), RangeError);
  assert.throws(() => split([], { lineBytesMax: 0 }), RangeError);
  assert.throws(() => split([], { lineBytesMax: Number.NaN }), RangeError);
  assert.throws(() => split([], { lineBytesMax: 262_145 }), RangeError);
});

/** Bytes in which delimiters, CR and long runs are common. */
const noise = fc
  .array(fc.oneof(fc.constantFrom('\n', '\r', '\r\n', ';', ';;', 'a'), fc.string({ unit: 'binary', maxLength: 24 })))
  .map((parts) => Buffer.from(parts.join(''), 'utf8'));
const garbage = fc.oneof(
  noise,
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
);
const delimiter = fc.constantFrom('\n', '\r\n', ';', ';;', '\r\r\n', 'aba');

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let from = 0;
  for (const size of sizes) {
    chunks.push(bytes.subarray(from, from + size));
    from += size;
  }
  return [...chunks, bytes.subarray(from)];
}

/** A sample shows what was there when the line was found too long, which does depend on the chunks. */
function withoutSamples({ lines, malformed }: Heard): { lines: string[]; malformed: string[] } {
  return { lines, malformed: malformed.map(({ why }) => why) };
}

test('the chunks that bytes arrive in make no difference', () => {
  fc.assert(
    fc.property(garbage, fc.array(fc.nat(12)), delimiter, fc.integer({ min: 1, max: 40 }), (bytes, sizes, by, max) => {
      const options = { delimiter: by, lineBytesMax: max };
      const whole = split([bytes], options);
      assert.deepEqual(withoutSamples(split(cut(bytes, sizes), options)), withoutSamples(whole));
    }),
    { numRuns: 2_000 },
  );
});

test('chunks larger than a slice make no difference either', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 6_000 }), { maxLength: 20 }),
      fc.integer({ min: 1, max: 5_000 }),
      (lengths, max) => {
        const bytes = Buffer.from(
          lengths.map((length, i) => `${String.fromCharCode(97 + i).repeat(length)}\n`).join(''),
        );
        const options = { delimiter: '\n', lineBytesMax: max };
        const expected = lengths.flatMap((length, i) =>
          length > 0 && length <= max ? [String.fromCharCode(97 + i).repeat(length)] : [],
        );
        const heard = split([bytes], options);
        assert.deepEqual(heard.lines, expected);
        assert.equal(heard.malformed.length, lengths.filter((length) => length > max).length);
        const sevens = Array.from({ length: bytes.length / 7 }, () => 7);
        assert.deepEqual(withoutSamples(split(cut(bytes, sevens), options)), withoutSamples(heard));
      },
    ),
    { numRuns: 50 },
  );
});

test('garbage never costs the next good line', () => {
  fc.assert(
    fc.property(garbage, fc.array(fc.nat(12)), fc.constantFrom('\n', ';', '\r\n'), (bytes, sizes, by) => {
      const good = 'good-1';
      const stream = Buffer.concat([bytes, Buffer.from(`${by}${good}${by}`)]);
      assert.equal(split(cut(stream, sizes), { delimiter: by, lineBytesMax: 16 }).lines.at(-1), good);
    }),
    { numRuns: 2_000 },
  );
});
