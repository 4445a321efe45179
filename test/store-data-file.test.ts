import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { DATA_FILE, inspectDataFile } from '../src/store/data-file.ts';
import { Environment } from '../src/store/environment.ts';
import { StoreError } from '../src/store/store-error.ts';
import { scratch } from './parts/scratch.ts';
import { NODE_FLAGS, runnable } from './parts/script.ts';
import { noise } from './parts/spool-rig.ts';

const PAGE = 4096;

describe('a data file, before it is mapped', () => {
  const dir = scratch();
  const file = join(dir, DATA_FILE);
  let whole: Buffer;
  let used = 0;
  before(async () => {
    const env = Environment.open({ directory: dir, mapBytes: 2 ** 24, durability: 'strict' });
    for (let n = 0; n < 40; n++) await env.write([[Buffer.from(`key ${n}`), noise(10_000)]]);
    used = env.usedPages();
    await env.close();
    whole = readFileSync(file);
  });
  const put = (bytes: Buffer) => {
    writeFileSync(file, bytes);
    return inspectDataFile(dir);
  };

  test('is sound when it is whole, and when more is behind it', () => {
    assert.deepEqual(put(whole), { kind: 'sound', bytes: whole.length, pageBytes: PAGE });
    assert.equal(put(Buffer.concat([whole, Buffer.alloc(3 * PAGE)])).kind, 'sound');
  });

  test('is absent when there is none, or nothing in it', () => {
    assert.equal(inspectDataFile(join(dir, 'elsewhere')).kind, 'absent');
    assert.equal(put(Buffer.alloc(0)).kind, 'absent');
  });

  test('is damaged when it was cut at any page, or in the middle of one', () => {
    for (let page = 0; page < used; page++) {
      for (const odd of [0, 1, 17, 2048, 4095]) {
        const length = page * PAGE + odd;
        if (length === 0) continue;
        const state = put(whole.subarray(0, length));
        assert.equal(state.kind, 'damaged', `${length} bytes of ${used * PAGE}`);
        assert.match((state as { why: string }).why, /cut short|ends within/);
      }
    }
  });

  test('is damaged when it is no LMDB file, or one of another format', () => {
    assert.equal(put(noise(20 * PAGE)).kind, 'damaged');
    assert.equal(put(Buffer.alloc(20 * PAGE)).kind, 'damaged');
    assert.equal(put(Buffer.from('{"json": true}')).kind, 'damaged');
    for (const meta of [0, PAGE]) {
      for (const [offset, value, why] of [
        [16, 0x12345678, /not an LMDB file/],
        [20, 2, /formats (2 and 1|1 and 2)/],
        [40, 3000, /pages of 3000 bytes/],
        [40, 0, /pages of 0 bytes/],
      ] as const) {
        const bytes = Buffer.from(whole);
        bytes.writeUInt32LE(value, meta + offset);
        const state = put(bytes);
        // The second page's own size is not looked at: it must lie where the first says.
        if (meta === PAGE && offset === 40) continue;
        assert.equal(state.kind, 'damaged', `${meta + offset}`);
        assert.match((state as { why: string }).why, why);
      }
    }
  });

  test('is damaged when a last page is beyond any file', () => {
    const bytes = Buffer.from(whole);
    for (const meta of [0, PAGE]) bytes.writeBigUInt64LE(2n ** 60n, meta + 16 + 8 + 16 + 2 * 48);
    assert.equal(put(bytes).kind, 'damaged');
  });

  test('a damaged one is never opened; a sound one that was cut is never a SIGBUS', () => {
    const opener = join(scratch(), 'open.mjs');
    writeFileSync(
      opener,
      `import { Environment } from ${JSON.stringify(runnable('src/store/environment'))};
       try {
         const env = Environment.open({ directory: process.argv[2], mapBytes: 2 ** 24, durability: 'strict' });
         env.read((reader) => reader.scan(Buffer.from([0]), () => true));
         console.log('read');
       } catch (error) { console.log(error.fault); }`,
    );
    const outcome = (bytes: Buffer) => {
      writeFileSync(file, bytes);
      return execFileSync(process.execPath, [...NODE_FLAGS, opener, dir])
        .toString()
        .trim();
    };
    assert.equal(outcome(whole), 'read');
    for (const pages of [1, 2, 3, used - 1]) assert.equal(outcome(whole.subarray(0, pages * PAGE)), 'damaged');
  });

  test('of a newer LMDB is not taken for damaged', () => {
    const bytes = Buffer.from(whole);
    for (const meta of [0, PAGE]) bytes.writeUInt32LE(2, meta + 20);
    const state = put(bytes);
    assert.equal(state.kind, 'unreadable');
    assert.match((state as { error: Error }).error.message, /newer/);
  });

  test('that cannot be read is not taken for damaged', () => {
    const folder = join(dir, 'folder');
    mkdirSync(join(folder, DATA_FILE), { recursive: true });
    assert.equal(inspectDataFile(folder).kind, 'unreadable');
  });
});

describe('an environment', () => {
  const open = (directory = scratch(), readOnly = false) =>
    Environment.open({ directory, mapBytes: 2 ** 22, durability: 'strict', readOnly });
  const key = (n: number) => Buffer.from(`key ${String(n).padStart(4, '0')}`);

  test('applies all changes or none', async () => {
    const env = open();
    await env.write([
      [key(1), Buffer.from('one')],
      [key(2), Buffer.from('two')],
    ]);
    await env.write([
      [key(1), null],
      [key(9), null],
      [key(3), Buffer.from('three')],
    ]);
    const read = (n: number) => env.read((reader) => reader.get(key(n))?.toString() ?? null);
    assert.deepEqual([read(1), read(2), read(3)], [null, 'two', 'three']);
    // More than the map holds: none of it happens, and the environment goes on.
    await assert.rejects(
      env.write([
        [key(4), Buffer.from('four')],
        [key(5), noise(2 ** 23)],
      ]),
      (error: unknown) => error instanceof StoreError && error.fault === 'full',
    );
    assert.equal(read(4), null);
    await env.write([[key(6), Buffer.from('six')]]);
    assert.equal(read(6), 'six');
    await env.close();
  });

  test('walks in order, finds the next and the one before, and gives copies', async () => {
    const env = open();
    await env.write(Array.from({ length: 100 }, (_, n) => [key(n * 2), Buffer.from(String(n * 2))] as const));
    const found = env.read((reader) => {
      const keys: string[] = [];
      reader.scan(key(190), (entry) => keys.push(entry.key.toString()) < 3);
      return {
        keys,
        at: reader.ceiling(key(51))?.value.toString(),
        exact: reader.ceiling(key(52))?.value.toString(),
        below: reader.below(key(52))?.value.toString(),
        last: reader.below(key(9999))?.value.toString(),
        none: reader.ceiling(key(9999)),
        first: reader.below(key(0)),
        value: reader.get(key(4))!,
      };
    });
    assert.deepEqual(found.keys, ['key 0190', 'key 0192', 'key 0194']);
    assert.deepEqual(
      [found.at, found.exact, found.below, found.last, found.none, found.first],
      ['52', '52', '50', '198', null, null],
    );
    await env.write([[key(4), Buffer.from('!!')]]);
    assert.equal(found.value.toString(), '4', 'a copy must not change');
    await env.close();
  });

  test('closing waits for the write under way', async () => {
    const directory = scratch();
    const env = open(directory);
    const written = env.write(Array.from({ length: 200 }, (_, n) => [key(n), noise(1000)] as const));
    const closed = env.close();
    await written;
    await closed;
    await env.close();
    const again = open(directory);
    assert.ok(again.read((reader) => reader.get(key(199))) !== null);
    await again.close();
  });

  test('two writes at once are a bug and say so; after closing they are refused', async () => {
    const env = open();
    const first = env.write([[key(1), noise(10)]]);
    assert.throws(() => env.write([[key(2), noise(10)]]), /two batches in flight/);
    await first;
    await env.close();
    await assert.rejects(
      env.write([[key(3), noise(10)]]),
      (error: unknown) => (error as StoreError).fault === 'closed',
    );
    assert.throws(
      () => env.read(() => 1),
      (error: unknown) => (error as StoreError).fault === 'closed',
    );
  });

  test('opened for reading it is not made, and not written to', async () => {
    const directory = scratch();
    assert.throws(
      () => open(join(directory, 'none'), true),
      (error: unknown) => (error as StoreError).fault === 'absent',
    );
    const env = open(directory);
    await env.write([[key(1), Buffer.from('one')]]);
    await env.close();
    const reader = open(directory, true);
    assert.throws(() => reader.write([[key(1), null]]), /opened for reading/);
    assert.equal(reader.read((look) => look.get(key(1)))?.toString(), 'one');
    await reader.close();
  });

  test('a folder that cannot be made, or is a file, is a StoreError that names it', () => {
    const directory = scratch();
    writeFileSync(join(directory, 'file'), '');
    assert.throws(
      () => open(join(directory, 'file')),
      (error: unknown) => {
        assert.ok(error instanceof StoreError);
        assert.match(error.message, /file/);
        return true;
      },
    );
  });

  test('pages taken and given back within one write do not make the file look cut short', async () => {
    const directory = scratch();
    const env = open(directory);
    // Some pages are free, as they are in a spool that is at work.
    await env.write(Array.from({ length: 20 }, (_, n) => [key(n), noise(5000)] as const));
    for (let n = 1; n < 20; n++) await env.write([[key(n), null]]);
    const fresh = Array.from({ length: 50 }, (_, n) => key(n + 1));
    await env.write([
      ...fresh.map((one) => [one, noise(16_000)] as const),
      ...fresh.map((one) => [one, null] as const),
    ]);
    assert.ok(env.usedPages() > 200);
    assert.equal(inspectDataFile(directory).kind, 'sound');
    await env.close();
    assert.equal(inspectDataFile(directory).kind, 'sound');
    const again = open(directory);
    assert.ok(again.read((reader) => reader.get(key(0))) !== null);
    await again.close();
  });

  test('live pages are counted exactly, and fall when entries go', async () => {
    const env = open();
    const live = () => env.read((reader) => reader.livePages().live);
    await env.write([[key(0), noise(10)]]);
    const before = live();
    await env.write(Array.from({ length: 10 }, (_, n) => [key(n + 1), noise(16_000)] as const));
    // 16,000 bytes and a header of 16 need four pages of 4,096.
    assert.equal(live() - before, 40);
    await env.write(Array.from({ length: 10 }, (_, n) => [key(n + 1), null] as const));
    assert.equal(live(), before);
    await env.close();
  });
});
