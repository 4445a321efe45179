import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { DATA_FILE } from '../src/store/data-file.ts';
import { Environment, type Change, type Entry, type Reader } from '../src/store/environment.ts';
import { PageFile } from '../src/store/page-file.ts';
import { openRemnants } from '../src/store/page-salvage.ts';
import { PIECE_BYTES, pieceKey } from '../src/store/pieces.ts';
import { chance } from './parts/chance.ts';
import { fc } from './parts/properties.ts';
import { scratch } from './parts/scratch.ts';

const MIB = 2 ** 20;
const key = (n: number) => Buffer.from(`k${String(n).padStart(3, '0')}`);

/** Bytes that no other value has. */
function value(seed: number, bytes: number): Buffer {
  const random = chance(seed);
  return Buffer.from(Array.from({ length: bytes }, () => Math.floor(random() * 256)));
}

function opened(): Environment {
  return Environment.open({ directory: join(scratch(), 'e'), mapBytes: 64 * MIB, durability: 'relaxed' });
}

function all(reader: Reader, from: Buffer = Buffer.of(0)): Entry[] {
  const found: Entry[] = [];
  reader.scan(from, (entry) => found.push(entry) > 0);
  return found;
}

/** Lengths at which something changes: none, one byte more and less than so many pieces, and any others. */
const LENGTHS = fc.oneof(
  fc.constantFrom(1, 2030, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES - 9, 2 * PIECE_BYTES - 8),
  fc.constantFrom(2 * PIECE_BYTES - 7, 3 * PIECE_BYTES - 16, 262_144),
  fc.integer({ min: 0, max: 60_000 }),
);
const CHANGES = fc.array(
  fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.option(LENGTHS), fc.nat()), { minLength: 1, maxLength: 5 }),
  { minLength: 1, maxLength: 12 },
);

test('values of any length are what was written, for LMDB and without it, whatever they took the place of', async () => {
  await fc.assert(
    fc.asyncProperty(CHANGES, async (batches) => {
      const environment = opened();
      const model = new Map<string, Buffer>();
      for (const batch of batches) {
        const changes: Change[] = [];
        for (const [n, bytes, seed] of batch) {
          const put = bytes === null ? null : value(seed, bytes);
          changes.push([key(n), put]);
          if (put === null) model.delete(key(n).toString());
          else model.set(key(n).toString(), put);
        }
        await environment.write(changes);
      }
      const expected = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1));
      const entries = expected.map(([name, bytes]) => ({ key: Buffer.from(name), value: bytes }));
      const look = (reader: Reader) => {
        assert.deepEqual(all(reader), entries);
        for (let n = 0; n <= 10; n++) {
          assert.deepEqual(reader.get(key(n)), model.get(key(n).toString()) ?? null);
          // Also from a key between a value's first piece and its next.
          for (const from of [key(n), Buffer.concat([key(n), Buffer.of(0)])]) {
            const ceiling = entries.find((entry) => Buffer.compare(entry.key, from) >= 0) ?? null;
            const below = entries.findLast((entry) => Buffer.compare(entry.key, from) < 0) ?? null;
            assert.deepEqual(reader.ceiling(from), ceiling);
            assert.deepEqual(reader.below(from), below);
          }
        }
        const heads: [Buffer, number][] = [];
        reader.scanHeads(Buffer.of(0), 4, (entry, bytes) => heads.push([entry.value, bytes]) > 0);
        assert.deepEqual(
          heads,
          entries.map((entry) => [entry.value.subarray(0, 4), entry.value.length]),
        );
      };
      environment.read(look);
      await environment.recreate();
      environment.read(look);
      const file = PageFile.open(join(environment.directory, DATA_FILE));
      look(file);
      file.close();
      // Nothing is left behind: what is deleted goes with all its pieces.
      await environment.write(expected.map(([name]) => [Buffer.from(name), null]));
      assert.equal(
        environment.read((reader) => reader.livePages().live),
        2,
      );
      await environment.close();
    }),
    { seed: 3, numRuns: 40 },
  );
});

test('a value of which a piece is missing ends before it, and the piece behind it is an entry of its own', async () => {
  const environment = opened();
  const whole = value(1, 14_000);
  await environment.write([
    [key(1), whole],
    [key(2), value(2, 10)],
  ]);
  await environment.write([[pieceKey(key(1), 2), null]]);
  environment.read((reader) => {
    const short = whole.subarray(0, 2 * PIECE_BYTES - 8);
    assert.deepEqual(reader.get(key(1)), short);
    assert.deepEqual(
      all(reader).map((entry) => [entry.key, entry.value.length]),
      [
        [key(1), short.length],
        [pieceKey(key(1), 3), 14_000 - short.length - (PIECE_BYTES - 8) + 8],
        [key(2), 10],
      ],
    );
  });
  await environment.close();
});

test('a piece that belongs to another value is none of this one', async () => {
  const environment = opened();
  await environment.write([[key(1), value(1, 10_000)]]);
  // As it would be if one of the two had been put back from an older copy of the file.
  const other = value(2, PIECE_BYTES);
  const moved = environment.read((reader) => reader.get(key(1)))!;
  await environment.write([[key(1), null]]);
  await environment.write([[key(1), other]]);
  await environment.write([
    [pieceKey(key(1), 1), Buffer.from([0xf1, 0x70, 0, 1, 0, 0, 0, 0, ...moved.subarray(0, 9)])],
  ]);
  environment.read((reader) => assert.deepEqual(reader.get(key(1)), other));
  await environment.close();
});

test('values in pieces are found in a file without its trees', async () => {
  const environment = opened();
  const values = [60_000, 262_144, PIECE_BYTES, 300].map((bytes, n) => value(n, bytes));
  for (const [n, bytes] of values.entries()) await environment.write([[key(n), bytes]]);
  await environment.close();
  const remnants = openRemnants(join(environment.directory, DATA_FILE));
  const found = [...remnants.all((error) => assert.fail(error))];
  for (const bytes of values) {
    const remnant = found.findLast((each) => each.bytes.subarray(0, bytes.length).equals(bytes));
    assert.ok(remnant !== undefined, `the value of ${bytes.length} bytes is not there`);
    assert.deepEqual(remnants.read(remnant.places, bytes.length), bytes);
  }
  remnants.close();
});
