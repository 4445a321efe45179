import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { SealError } from '../src/registry/seal-key.ts';
import { SealedStore, type SealedMedium } from '../src/registry/sealed-store.ts';
import { State, type StateEntry } from '../src/store/state.ts';
import { scratch } from './parts/scratch.ts';

const text = (value: Buffer | null) => value?.toString() ?? null;

/** A state environment and keys in a folder of their own. */
class Rig {
  readonly dir = scratch();
  readonly keys: string = join(this.dir, 'keys');
  state: State = new State(join(this.dir, 'state'));

  open(credentials = '', medium: SealedMedium = this.state): Promise<SealedStore> {
    return SealedStore.open(medium, this.keys, credentials);
  }

  async restart(): Promise<void> {
    await this.state.close();
    this.state = new State(join(this.dir, 'state'));
  }

  get file(): string {
    return join(this.keys, 'holdfast-key');
  }

  onMedium(): Buffer {
    return readFileSync(join(this.dir, 'state/data.mdb'));
  }
}

test('what is put is there after a restart, by name, and nothing of it can be read on the medium', async () => {
  const rig = new Rig();
  const store = await rig.open();
  const big = randomBytes(50_000);
  await store.put([
    ['child/a', Buffer.from('a secret that is easy to find')],
    ['child/b', big],
    ['session/a', Buffer.from('other')],
  ]);
  await store.put([['session/a', null]]);
  assert.deepEqual(store.names('child/'), ['child/a', 'child/b']);
  await rig.restart();
  const again = await rig.open();
  assert.equal(text(again.get('child/a')), 'a secret that is easy to find');
  assert.ok(again.get('child/b')!.equals(big));
  assert.equal(again.get('session/a'), null);
  assert.deepEqual(again.names(''), ['child/a', 'child/b']);
  assert.ok(rig.onMedium().includes('sealed/child/a'), 'the test looks at the right file');
  assert.ok(!rig.onMedium().includes('easy to find'));
  assert.equal(statSync(rig.file).mode & 0o777, 0o600);
  assert.equal(statSync(rig.keys).mode & 0o777, 0o700);
  await rig.state.close();
});

test('a record that was changed, cut short or put in the place of another is refused, and the others are not', async () => {
  const rig = new Rig();
  const store = await rig.open();
  await store.put(['a', 'b', 'c', 'd'].map((name) => [name, Buffer.from(`value of ${name}`)] as const));
  const record = rig.state.bytes('sealed/a')!;
  const flipped = Buffer.from(record);
  flipped[flipped.length - 20]! ^= 1;
  await rig.state.putBytes([
    ['sealed/a', flipped],
    ['sealed/b', record],
    ['sealed/c', record.subarray(0, 20)],
    ['sealed/e', Buffer.alloc(100, 1)],
    ['sealed/f', Buffer.of(1)],
  ]);
  for (const name of ['a', 'b', 'c', 'e', 'f']) assert.throws(() => store.get(name), SealError, name);
  assert.equal(text(store.get('d')), 'value of d');
  // What cannot be read is not lost with the key that may have sealed it, nor does it keep the rest from working.
  const key = readFileSync(rig.file);
  await store.rotate();
  const again = await rig.open();
  assert.equal(text(again.get('d')), 'value of d');
  assert.ok(rig.state.bytes('sealed/a')!.equals(flipped));
  assert.ok(readFileSync(rig.file).equals(key));
  await assert.rejects(again.rotate(), /not finished/);
  await rig.state.close();
});

describe('the key', () => {
  test('that is missing or another one is said, and nothing is changed by that', async () => {
    const rig = new Rig();
    await (await rig.open()).put([['a', Buffer.from('1')]]);
    const before = rig.state.bytes('sealed/a')!;
    renameSync(rig.file, join(rig.dir, 'kept'));
    await assert.rejects(rig.open(), /the key is not in .*holdfast-key: bring it back/);
    assert.ok(!existsSync(rig.file), 'no other one is made in its place');
    writeFileSync(rig.file, randomBytes(32));
    await assert.rejects(rig.open(), /sealed with another key than that in .*holdfast-key: nothing was changed/);
    writeFileSync(rig.file, 'too short');
    await assert.rejects(rig.open(), /holdfast-key: is not a key of 32 bytes/);
    assert.ok(rig.state.bytes('sealed/a')!.equals(before));
    copyFileSync(join(rig.dir, 'kept'), rig.file);
    assert.equal(text((await rig.open()).get('a')), '1');
    await rig.state.close();
  });

  test('comes from a systemd credential before the file, raw or as text; what the file sealed is sealed anew', async () => {
    const rig = new Rig();
    await (await rig.open()).put([['a', Buffer.from('1')]]);
    const credentials = join(rig.dir, 'credentials');
    const other = new Rig();
    await (await other.open()).put([['x', Buffer.from('0')]]);
    const key = readFileSync(other.file);
    await other.state.close();
    for (const [index, form] of [key, key.toString('hex'), `${key.toString('base64')}\n`].entries()) {
      rmSync(credentials, { recursive: true, force: true });
      mkdirSync(credentials);
      writeFileSync(join(credentials, 'holdfast-key'), form);
      const store = await rig.open(credentials);
      assert.equal(text(store.get('a')), '1');
      await assert.rejects(store.rotate(), /systemd credential/);
      // The file is needed no more after the first time.
      if (index === 0) rmSync(rig.file);
    }
    await assert.rejects(rig.open(), /the key is not in/);
    // A new credential, with the one before beside it.
    renameSync(join(credentials, 'holdfast-key'), join(credentials, 'holdfast-key-old'));
    writeFileSync(join(credentials, 'holdfast-key'), randomBytes(32));
    assert.equal(text((await rig.open(credentials)).get('a')), '1');
    rmSync(join(credentials, 'holdfast-key-old'));
    assert.equal(text((await rig.open(credentials)).get('a')), '1');
    await rig.state.close();
  });
});

describe('a change of keys', () => {
  const NAMES = Array.from({ length: 30 }, (_, index) => `record/${String(index).padStart(2, '0')}`);

  async function filled(): Promise<{ rig: Rig; before: Buffer }> {
    const rig = new Rig();
    const store = await rig.open();
    // More than goes into one transaction.
    await store.put(NAMES.map((name) => [name, Buffer.alloc(100_000, name)] as const));
    return { rig, before: readFileSync(rig.file) };
  }

  function mustHaveAll(store: SealedStore): void {
    for (const name of NAMES) assert.ok(store.get(name)!.equals(Buffer.alloc(100_000, name)), name);
  }

  test('leaves nothing that the old key opens, and loses nothing that is written meanwhile', async () => {
    const { rig, before } = await filled();
    const store = await rig.open();
    const rotated = store.rotate();
    const written = store.put([[NAMES[29]!, Buffer.from('newer')]]);
    await Promise.all([rotated, written]);
    assert.equal(text(store.get(NAMES[29]!)), 'newer');
    await store.put([[NAMES[29]!, Buffer.alloc(100_000, NAMES[29])]]);
    assert.ok(!readFileSync(rig.file).equals(before));
    mustHaveAll(await rig.open());
    writeFileSync(rig.file, before);
    await assert.rejects(rig.open(), /another key/);
    await rig.state.close();
  });

  // Writes of a rotation: three transactions for 3 MB; the fourth never comes.
  for (const allowed of [0, 1, 2, 3]) {
    test(`that is cut off after ${allowed} transactions goes on at the next start`, async () => {
      const { rig, before } = await filled();
      let left = allowed;
      const { state } = rig;
      const failing: SealedMedium = {
        bytes: (name) => state.bytes(name),
        names: (prefix) => state.names(prefix),
        putBytes: (entries: readonly StateEntry[]) =>
          left-- > 0 ? state.putBytes(entries) : Promise.reject(new Error('power cut')),
      };
      const store = await rig.open('', failing);
      const rotated = store.rotate();
      if (allowed < 3) await assert.rejects(rotated, /power cut/);
      else await rotated;
      await rig.restart();
      const again = await rig.open();
      mustHaveAll(again);
      assert.ok(!readFileSync(rig.file).equals(before), 'the new key is in use');
      assert.ok(!existsSync(`${rig.file}.next`));
      await rig.state.close();
    });
  }

  test(
    'that cannot write its key changes nothing',
    { skip: process.getuid?.() === 0 && 'SKIP: root may write anywhere' },
    async () => {
      const { rig, before } = await filled();
      const store = await rig.open();
      chmodSync(rig.keys, 0o500);
      await assert.rejects(store.rotate(), SealError);
      chmodSync(rig.keys, 0o700);
      assert.ok(readFileSync(rig.file).equals(before));
      mustHaveAll(await rig.open());
      await rig.state.close();
    },
  );
});
