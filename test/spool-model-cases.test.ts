import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '../src/message/message.ts';
import { ManualClock } from './manual-clock.ts';
import { noise, SpoolRig } from './parts/spool-rig.ts';

// What the model of the spool has found, each as small as it could be made.

test('a block of which the end has expired goes with the last message that was left in it', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock });
  const brief: Message = { ...rig.message('brief'), expiresAfterSecs: 1 };
  void rig.accept('lasting', undefined, false);
  void rig.spool.accept(brief, false);
  await rig.spool.flush();
  await clock.flow(2000);
  const [lasting, ...others] = rig.take();
  assert.deepEqual(others, []);
  rig.spool.delivered(lasting!, true);
  const { blocks, messages } = await rig.audit();
  assert.deepEqual({ blocks, messages }, { blocks: 0, messages: 0 });
  assert.equal(rig.books().ledger.dropped.expired, 1);
  await rig.close();
});

test('more dead letters at once than the file has room for beside their blocks: it stays within the quota, and the oldest are counted', async () => {
  const quota = { bytes: 2 * 2 ** 20 };
  const rig = await SpoolRig.open({ quota, whenFull: 'reject-new', clock: new ManualClock() });
  for (let n = 0; n < 120; n++) {
    void rig.accept(noise(8000)).catch(() => undefined);
    await rig.spool.flush();
  }
  const taken = rig.take();
  for (const stored of taken) rig.spool.deadLetter(stored, 'refused');
  for (let n = 0; n < 5; n++) {
    void rig.accept('one more').catch(() => undefined);
    await rig.spool.flush();
    const { fileBytes } = rig.spool.snapshot();
    assert.ok(fileBytes <= quota.bytes, `the file has ${fileBytes} bytes, the quota is ${quota.bytes}`);
  }
  await rig.audit();
  const { deadLetters, dropped } = rig.books().ledger;
  assert.ok(deadLetters > 0 && (dropped.discarded ?? 0) > 0);
  assert.equal(deadLetters + dropped.discarded!, taken.length);
  await rig.close();
});

test('dead letters that are dropped before they are on the medium are counted once, also when more come that have no room', async () => {
  const rig = await SpoolRig.open({ quota: { bytes: 4 * 2 ** 20 } });
  for (let n = 0; n < 150; n++) await rig.accept(noise(30_000));
  const lay = () => rig.take(10).forEach((stored) => rig.spool.deadLetter(stored, 'refused'));
  lay();
  const dropped = rig.spool.dropDeadLetters();
  lay();
  assert.equal(await dropped, 10);
  const { deadLetters } = await rig.audit();
  assert.equal(deadLetters, 10);
  assert.equal(rig.books().ledger.dropped.discarded, 10);
  await rig.close();
});
