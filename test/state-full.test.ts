import assert from 'node:assert/strict';
import { test } from 'node:test';
import { State } from '../src/store/state.ts';
import { StoreError } from '../src/store/store-error.ts';
import { scratch } from './parts/scratch.ts';

const MIB = 2 ** 20;

test('records that fill what they may take are refused in words that say what to do; smaller ones and deleting go on', async () => {
  const state = new State(scratch(), 'relaxed');
  try {
    const refused = async () => {
      for (let n = 0; n < 70; n++) await state.putBytes([[`record/${n}`, Buffer.alloc(MIB, n)]]);
    };
    await assert.rejects(refused, (error) => {
      assert.ok(error instanceof StoreError);
      assert.equal(error.fault, 'full');
      assert.match(error.message, /fills the 62 MiB that it may take: take children out/);
      return true;
    });
    const names = state.names('record/');
    assert.ok(names.length > 50, `${names.length} found room`);
    // What was there is there, and room can be made.
    assert.ok(names.every((name) => state.bytes(name)?.length === MIB));
    await state.putBytes(names.slice(0, 10).map((name) => [name, null]));
    await state.putBytes([['record/again', Buffer.alloc(MIB)]]);
    assert.equal(state.bytes('record/again')?.length, MIB);
  } finally {
    await state.close();
  }
});
