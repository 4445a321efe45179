import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { openState } from '../src/store/state-rescue.ts';
import { State } from '../src/store/state.ts';
import { StoreError } from '../src/store/store-error.ts';
import { scratch } from './parts/scratch.ts';

const QUIET = pino({ level: 'silent' });

const nameOf = (n: number) => `record/${String(n).padStart(6, '0')}`;

/** Puts records of this size, many at a time and then one by one, until no further one has room; how many there are. */
async function filled(state: State, bytes: number): Promise<number> {
  let count = 0;
  for (const together of [100, 10, 1]) {
    try {
      for (;;) {
        await state.putBytes(Array.from({ length: together }, (_, i) => [nameOf(count + i), Buffer.alloc(bytes, i)]));
        count += together;
      }
    } catch (error) {
      assert.ok(error instanceof StoreError);
      assert.equal(error.fault, 'full');
      assert.match(error.message, /fills the 62 MiB that it may take: take children out, or make their twins smaller/);
    }
  }
  return count;
}

for (const bytes of [1500, 5000, 64_000, 2 ** 20]) {
  test(`full of records of ${bytes} bytes: what makes it smaller, or no larger, has room, and small notes have`, async () => {
    const dir = scratch();
    const state = new State(dir, 'relaxed');
    try {
      const count = await filled(state, bytes);
      // The same size, a smaller one, one for another, and what the gateway notes of itself.
      await state.putBytes([[nameOf(1), Buffer.alloc(bytes, 7)]]);
      await state.putBytes([[nameOf(2), Buffer.alloc(10, 7)]]);
      await state.putBytes([
        [nameOf(3), null],
        ['another', Buffer.alloc(bytes - 100, 7)],
      ]);
      await state.put('note', { epoch: 7 });
      assert.equal(state.bytes(nameOf(1))![0], 7);
      assert.deepEqual(state.get('note'), { epoch: 7 });
      // All of it can go, and its room be taken again.
      for (let n = 0; n < count; n += 50)
        await state.putBytes(Array.from({ length: 50 }, (_, i) => [nameOf(n + i), null]));
      assert.equal(state.names('record/').length, 0);
      await state.putBytes([['again', Buffer.alloc(2 ** 20)]]);
    } finally {
      await state.close();
    }
  });
}

test('a full one that is damaged goes on with what can be read, as one that is not', async () => {
  const dir = scratch();
  const state = new State(dir, 'relaxed');
  const count = await filled(state, 5000);
  await state.close();
  const path = join(dir, 'data.mdb');
  const bytes = readFileSync(path);
  // One page in the middle, and the first of LMDB's two meta pages.
  for (const page of [0, Math.floor(bytes.length / 8192)]) bytes.fill(0x55, page * 4096, (page + 1) * 4096);
  writeFileSync(path, bytes);
  const rescued = await openState(dir, QUIET);
  try {
    const left = rescued.names('record/').length;
    assert.ok(left > count * 0.9 && left <= count, `${left} of ${count}`);
    await rescued.put('note', { epoch: 7 });
  } finally {
    await rescued.close();
  }
});
