import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { DATA_FILE } from '../src/store/data-file.ts';
import { Environment, type Change, type Entry, type Reader } from '../src/store/environment.ts';
import { checkFile, type CheckOptions } from '../src/store/page-check.ts';
import { META_BYTES, PAGE_HEADER_BYTES, WORD_BYTES } from '../src/store/page.ts';
import { PageFile } from '../src/store/page-file.ts';
import { StoreError } from '../src/store/store-error.ts';
import { NO_BAD_SECTORS, withBadSectors } from './parts/bad-sector.ts';
import { chance } from './parts/chance.ts';
import { scratch } from './parts/scratch.ts';
import { noise } from './parts/spool-rig.ts';

const SEED = 42;
/** The larger the pages, the longer a look at the whole file takes: after every so many commits. */
const LOOK_EVERY = process.env['HOLDFAST_TEST_LONG'] === '1' ? { 4096: 5, 16_384: 5 } : { 4096: 16, 16_384: 40 };

/** A new environment with pages of this size: LMDB takes that of the machine, or the one that it finds in the file. */
function make(pageBytes: number, directory = scratch(), mapBytes = 2 ** 30): Environment {
  const file = Buffer.alloc(2 * pageBytes);
  for (const number of [0, 1]) {
    const page = file.subarray(number * pageBytes);
    page[0] = number;
    page.writeUInt16LE(8, WORD_BYTES + 2);
    page.writeUInt32LE(0xbeefc0de, PAGE_HEADER_BYTES);
    page.writeUInt32LE(1, PAGE_HEADER_BYTES + 4);
    const trees = PAGE_HEADER_BYTES + 8 + 2 * WORD_BYTES;
    page.writeUInt32LE(pageBytes, trees);
    page.writeUInt16LE(8, trees + 4);
    const treeBytes = 8 + 5 * WORD_BYTES;
    for (const tree of [0, 1])
      page.fill(0xff, trees + (tree + 1) * treeBytes - WORD_BYTES, trees + (tree + 1) * treeBytes);
    page[META_BYTES - 2 * WORD_BYTES] = 1;
  }
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, DATA_FILE), file);
  return Environment.open({ directory, mapBytes, durability: 'relaxed' });
}

function keyOf(lane: number, number: number): Buffer {
  const key = Buffer.alloc(8);
  key[0] = lane;
  key.writeUInt32BE(number, 4);
  return key;
}

const checked = (path: string, options?: CheckOptions) => checkFile(path, options).listed;

const text = (entry: Entry | null) => entry && [entry.key.toString('hex'), entry.value.toString('base64')].join(' ');

function all(reader: Reader, from: Buffer): (string | null)[] {
  const found: (string | null)[] = [];
  reader.scan(from, (entry) => found.push(text(entry)) > 0);
  return found;
}

for (const pageBytes of [4096, 16_384] as const) {
  describe(`a file with pages of ${pageBytes} bytes`, () => {
    test(`is read as LMDB reads it, after each of many commits, and found sound (seed ${SEED})`, async () => {
      const env = make(pageBytes);
      const random = chance(SEED);
      const below = (n: number) => Math.floor(random() * n);
      const keys = new Set<string>();
      const path = join(env.directory, DATA_FILE);
      let deepest = 0;
      for (let commit = 0; commit < 400; commit++) {
        const changes: Change[] = [];
        for (let n = below(40); n >= 0; n--) {
          const key = keyOf(below(11), below(5000));
          const growing = commit < 250;
          if (below(growing ? 6 : 2) === 0 && keys.size > 0) {
            const [gone] = keys;
            keys.delete(gone!);
            changes.push([Buffer.from(gone!, 'hex'), null]);
          } else {
            keys.add(key.toString('hex'));
            changes.push([key, noise(below(2) === 0 ? below(60) : below(3 * pageBytes))]);
          }
        }
        // To nothing, and from there.
        if (commit === 330) for (const key of keys) changes.push([Buffer.from(key, 'hex'), null]);
        if (commit === 330) keys.clear();
        await env.write(changes);
        if (commit % LOOK_EVERY[pageBytes] !== 0 && (commit < 328 || commit > 334)) continue;
        assert.deepEqual(checked(path), [], `commit ${commit}`);
        assert.deepEqual(checked(path, { valueHeaders: false }), []);
        const file = PageFile.open(path);
        assert.equal(file.pageBytes, pageBytes);
        deepest = Math.max(deepest, file.meta.main.depth);
        const from = keyOf(below(11), 0);
        env.read((reader) => {
          assert.deepEqual(all(file, from), all(reader, from));
          assert.deepEqual(file.livePages(), reader.livePages());
          assert.equal(file.usedPages(), env.usedPages());
          for (let n = 0; n < 20; n++) {
            const key = keyOf(below(12), below(5000));
            assert.equal(text(file.ceiling(key)), text(reader.ceiling(key)));
            assert.equal(text(file.below(key)), text(reader.below(key)));
            assert.deepEqual(file.get(key), reader.get(key));
          }
        });
        file.close();
      }
      assert.ok(deepest >= 2);
      await env.close();
    });
  });
}

test('a file stays sound through commits that fail', async () => {
  const mapBytes = 8 * 2 ** 20;
  const env = make(4096, scratch(), mapBytes);
  const random = chance(SEED);
  let failed = 0;
  for (let commit = 0; commit < 300; commit++) {
    const changes: Change[] = [];
    for (let n = 0; n < 20; n++) {
      const value = random() < 0.3 ? null : noise(Math.floor(random() * 9000));
      changes.push([keyOf(1, Math.floor(random() * 300)), value]);
    }
    if (commit % 7 === 3) changes.push([keyOf(2, 0), Buffer.alloc(mapBytes)]);
    await env.write(changes).catch(() => failed++);
    assert.deepEqual(checked(join(env.directory, DATA_FILE)), [], `commit ${commit}`);
  }
  assert.ok(failed >= 40);
  await env.close();
});

describe('a file that is read without LMDB', () => {
  const make40 = async () => {
    const env = make(4096);
    for (let n = 0; n < 400; n++) await env.write([[keyOf(1, n), noise(n % 4 === 0 ? 5000 : 100)]]);
    await env.close();
    return join(env.directory, DATA_FILE);
  };
  const is = (fault: string) => (error: unknown) => error instanceof StoreError && error.fault === fault;

  test('gives only the first bytes of each value where only those are asked for', async () => {
    const file = PageFile.open(await make40());
    const whole: Entry[] = [];
    file.scan(Buffer.of(0), (entry) => whole.push(entry) > 0);
    const heads: Entry[] = [];
    file.scanHeads(Buffer.of(0), 120, (entry) => heads.push(entry) > 0);
    assert.deepEqual(
      heads,
      whole.map(({ key, value }) => ({ key, value: value.subarray(0, 120) })),
    );
    file.close();
  });

  test('that is not there, or empty, is absent; another that is none is damaged; no lock file is made', async () => {
    const folder = scratch();
    const path = join(folder, DATA_FILE);
    assert.throws(() => PageFile.open(path), is('absent'));
    writeFileSync(path, '');
    assert.throws(() => PageFile.open(path), is('absent'));
    writeFileSync(path, noise(100_000));
    assert.throws(() => PageFile.open(path), is('damaged'));
    copyFileSync(await make40(), path);
    PageFile.open(path).close();
    assert.ok(!existsSync(join(folder, 'lock.mdb')));
  });

  test('without its newer meta page, is as it was one commit before, and that is said', async () => {
    const path = await make40();
    const before = PageFile.open(path);
    const { transaction, main } = before.meta;
    before.close();
    const bytes = readFileSync(path);
    bytes[(transaction % 2) * 4096 + PAGE_HEADER_BYTES] = 0;
    writeFileSync(path, bytes);
    const file = PageFile.open(path);
    assert.equal(file.meta.transaction, transaction - 1);
    assert.ok(file.meta.main.entries < main.entries);
    assert.equal(all(file, Buffer.of(0)).length, 399);
    file.close();
    assert.match(checked(path).join(), /meta page \d is not an LMDB file/);
  });

  test('is sound with a tail of zeros behind its last page', async () => {
    const path = await make40();
    writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.alloc(100 * 4096)]));
    assert.deepEqual(checked(path), []);
  });

  test('with a page of nonsense: a strict reader throws, one with complaints goes on behind it', async () => {
    const path = await make40();
    const sound = PageFile.open(path);
    const root = sound.treePage(sound.meta.main.root!);
    assert.ok(!root.leaf && root.count > 3);
    const lost = root.child(1);
    const [from, to] = [root.key(1), root.key(2)];
    const whole = all(sound, Buffer.of(0));
    sound.close();
    const bytes = readFileSync(path);
    noise(4096).copy(bytes, lost * 4096);
    writeFileSync(path, bytes);

    const strict = PageFile.open(path);
    assert.throws(() => all(strict, Buffer.of(0)), is('damaged'));
    assert.throws(() => strict.get(from), is('damaged'));
    assert.equal(strict.walkable(), false);
    strict.close();
    const said: string[] = [];
    const lenient = PageFile.open(path, (error) => said.push(error.message));
    const kept = whole.filter((entry) => entry! < from.toString('hex') || entry! >= to.toString('hex'));
    assert.deepEqual(all(lenient, Buffer.of(0)), kept);
    assert.match(said.join(), new RegExp(`data\\.mdb: page ${lost} says that it is page \\d+`));
    lenient.close();
    assert.ok(checked(path).some((problem) => problem.includes(`page ${lost} `)));
  });

  test('whose tree bites its own tail is no endless walk', async () => {
    const path = await make40();
    const sound = PageFile.open(path);
    const root = sound.meta.main.root!;
    sound.close();
    const bytes = readFileSync(path);
    const node = root * 4096 + bytes.readUInt16LE(root * 4096 + PAGE_HEADER_BYTES);
    bytes.writeUInt32LE(root, node);
    writeFileSync(path, bytes);
    const said: string[] = [];
    const file = PageFile.open(path, (error) => said.push(error.message));
    assert.ok(all(file, Buffer.of(0)).length > 0);
    assert.ok(said.length > 0);
    file.close();
    assert.match(checked(path).join(), /is in use twice/);
  });

  test('that ends before its last page is said to be cut short', async () => {
    const path = await make40();
    writeFileSync(path, readFileSync(path).subarray(0, statSync(path).size - 4096));
    assert.throws(() => PageFile.open(path), is('damaged'));
    const said: string[] = [];
    const file = PageFile.open(path, (error) => said.push(error.message));
    assert.match(said.join(), /it was cut short/);
    assert.ok(all(file, Buffer.of(0)).length > 300);
    file.close();
  });

  test(
    'on a medium that cannot read some pages: an error for each, no SIGBUS, and the rest is read',
    { skip: NO_BAD_SECTORS },
    async () => {
      const path = await make40();
      const sound = PageFile.open(path);
      const whole = all(sound, Buffer.of(0));
      const root = sound.treePage(sound.meta.main.root!);
      const leaf = root.child(2);
      const [from, to] = [root.key(2).toString('hex'), root.key(3).toString('hex')];
      // The first piece of the first value; the second lies in the leaf, and is nobody's then.
      const first = sound.treePage(root.child(0));
      const place = first.value(0);
      const gone = first.key(0).toString('hex');
      assert.ok('page' in place);
      sound.close();
      const bad = await withBadSectors(path, [leaf * 4096 + 512, place.page * 4096 + 1024]);
      try {
        const strict = PageFile.open(bad.path);
        assert.throws(() => all(strict, Buffer.of(0)), is('io'));
        strict.close();
        const said: string[] = [];
        const file = PageFile.open(bad.path, (error) => said.push(error.message));
        const found = all(file, Buffer.of(0));
        const expected = whole.slice(1).filter((entry) => entry! < from || entry! >= to);
        assert.ok(found.shift()!.startsWith(`${gone}0001 `));
        const different = found.filter((entry, n) => entry !== expected[n]).map((entry) => entry!.slice(0, 40));
        assert.deepEqual(different, []);
        assert.equal(found.length, expected.length);
        assert.deepEqual(
          said.map((text_) => text_.replace(bad.path, '')),
          [`: page ${place.page}: EIO: i/o error, read`, `: page ${leaf}: EIO: i/o error, read`],
        );
        file.close();
        assert.ok(checked(bad.path).some((problem) => problem.includes(`page ${leaf}: EIO`)));
      } finally {
        await bad.end();
      }
    },
  );
});
