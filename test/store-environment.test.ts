import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Environment } from '../src/store/environment.ts';
import { storeError, type StoreError } from '../src/store/store-error.ts';
import { scratch } from './parts/scratch.ts';
import { mountSmall } from './parts/small-filesystem.ts';

const MIB = 2 ** 20;

const key = (n: number) => Buffer.from(String(n).padStart(8, '0'));

async function put(environment: Environment, from: number, count: number): Promise<void> {
  for (let n = from; n < from + count; n++) await environment.write([[key(n), Buffer.alloc(64 * 1024, n)]]);
}

test('address space that was asked for is kept when the file is made anew', async () => {
  const environment = Environment.open({ directory: join(scratch(), 'e'), mapBytes: MIB, durability: 'relaxed' });
  environment.stretch(8 * MIB);
  await put(environment, 0, 4);
  await environment.recreate();
  // Four times what it was opened with at first.
  await put(environment, 4, 60);
  assert.deepEqual(
    environment.read((reader) => reader.get(key(63))),
    Buffer.alloc(64 * 1024, 63),
  );
  await environment.close();
});

test('a filesystem that has given up refuses more address space, and what is mapped stays readable', async (t) => {
  const small = mountSmall('ext4', 16 * MIB);
  if (typeof small === 'string') return t.skip(`SKIP: ${small}`);
  t.after(small.unmount);
  const environment = Environment.open({ directory: join(small.dir, 'e'), mapBytes: MIB, durability: 'relaxed' });
  await put(environment, 0, 4);
  // EXT4_IOC_SHUTDOWN, without writing the journal: what ext4 does to itself when its card is gone.
  const shutDown = `import fcntl, os, struct; fcntl.ioctl(os.open(".", os.O_RDONLY), 0x8004587d, struct.pack("I", 2))`;
  execFileSync('python3', ['-c', shutDown], { cwd: small.dir });
  assert.throws(() => environment.stretch(8 * MIB), { code: 'EIO' });
  assert.deepEqual(
    environment.read((reader) => reader.get(key(3))),
    Buffer.alloc(64 * 1024, 3),
  );
  await environment.close();
});

test('a file whose folder is gone, or shut to us, has the length that it was seen with last', async () => {
  const directory = join(scratch(), 'e');
  const environment = Environment.open({ directory, mapBytes: MIB, durability: 'relaxed' });
  await put(environment, 0, 1);
  const bytes = environment.fileBytes();
  assert.ok(bytes > 64 * 1024);
  renameSync(directory, `${directory}-elsewhere`);
  assert.equal(environment.fileBytes(), bytes);
  // A path that cannot be followed, whoever asks: as with EACCES or EIO.
  symlinkSync('e', directory);
  assert.equal(environment.fileBytes(), bytes);
  await environment.close();
});

/** Bytes of a file that are in this process's map of it (proc(5), /proc/PID/smaps). */
function mapped(file: string): number {
  const smaps = readFileSync('/proc/self/smaps', 'latin1');
  const from = smaps.indexOf(` ${file}\n`);
  assert.ok(from >= 0, `${file} is not mapped`);
  return Number(/^Rss:\s+(\d+) kB/m.exec(smaps.slice(from))![1]) * 1024;
}

test('what was looked at does not stay in the map', async () => {
  const directory = join(scratch(), 'e');
  const environment = Environment.open({ directory, mapBytes: 64 * MIB, durability: 'relaxed' });
  await put(environment, 0, 320);
  const look = (n: number) => environment.read((reader) => reader.get(key(n)));
  for (let n = 0; n < 320; n++) assert.equal(look(n)?.at(-1), n & 255, `value ${n}`);
  // One look within another, under which the pages go.
  environment.read((reader) => {
    for (let n = 0; n < 64; n++) look(n);
    assert.equal(reader.get(key(7))?.[0], 7, 'the outer look goes on');
  });
  for (let n = 0; n < 32; n++) look(n);
  const bytes = mapped(join(directory, 'data.mdb'));
  assert.ok(bytes < 8 * MIB, `${bytes} bytes of 20 MiB are still in the map`);
  await environment.close();
});

/** A filesystem of 3 MiB, or why there is none. */
function small(): { readonly dir: string } | string {
  const dir = join(scratch(), 'small');
  mkdirSync(dir);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${3 * MIB}`, 'tmpfs', dir], { stdio: 'pipe' });
    return { dir };
  } catch (error) {
    return `SKIP: cannot mount a tmpfs: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`;
  }
}

const place = small();
test(
  'a copy that does not fit leaves nothing behind, and the file as it was',
  { skip: typeof place === 'string' && place },
  async (t) => {
    const { dir } = place as { dir: string };
    t.after(() => execFileSync('umount', ['-l', dir]));
    const directory = join(dir, 'e');
    const environment = Environment.open({ directory, mapBytes: 16 * MIB, durability: 'relaxed' });
    await put(environment, 0, 28);
    await assert.rejects(environment.recreate(), (error: StoreError) => error.fault === 'full');
    assert.equal(existsSync(`${directory}.new`), false);
    await put(environment, 28, 1);
    assert.deepEqual(
      environment.read((reader) => reader.get(key(27))),
      Buffer.alloc(64 * 1024, 27),
    );
    await environment.close();
  },
);

test('what went wrong is not taken from the name of a folder', () => {
  const path = join(scratch(), 'EIO', 'ENOSPC', 'data.mdb');
  assert.throws(
    () => openSync(path, 'r'),
    (error) => storeError(error, path).fault === 'absent',
  );
});
