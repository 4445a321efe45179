import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { MachineFiles } from '../src/board/machine-files.ts';
import { writePrivate } from '../src/registry/private-file.ts';
import { mountSmall } from './parts/small-filesystem.ts';

const PAGE_BYTES = 4096;
const small = mountSmall('tmpfs', 256 * 1024);

describe('a disk that fills up within a file', { skip: typeof small === 'string' ? small : false }, () => {
  if (typeof small === 'string') return;
  const { dir } = small;
  after(() => small.unmount());
  const old = 'o'.repeat(2 * PAGE_BYTES);
  const fresh = 'f'.repeat(3 * PAGE_BYTES);

  /** A file as it was before, with room for one page beside it: the kernel writes as much as fits, and says so. */
  function nearlyFull(name: string): string {
    for (const each of readdirSync(dir)) rmSync(join(dir, each), { recursive: true });
    const file = join(dir, name);
    writeFileSync(file, old);
    const { bavail, bsize } = statfsSync(dir);
    writeFileSync(join(dir, 'filling'), Buffer.alloc(bavail * bsize - PAGE_BYTES));
    return file;
  }

  test('a private file is the one before it, not the beginning of the new one', () => {
    const file = nearlyFull('seal.key');
    assert.throws(() => writePrivate(file, fresh), { code: 'ENOSPC' });
    assert.equal(readFileSync(file, 'utf8'), old);
  });

  test('what provisioning writes stays as it was, all of it', () => {
    const file = nearlyFull('gateway.yaml');
    const before = readdirSync(dir);
    const write = () => new MachineFiles(dir).write([{ path: '/gateway.yaml', mode: 0o640, text: fresh }], []);
    assert.throws(write, { code: 'ENOSPC' });
    assert.equal(readFileSync(file, 'utf8'), old);
    assert.deepEqual(readdirSync(dir), before);
  });
});
