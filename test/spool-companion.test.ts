import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Companion, CompanionRecord } from '../src/spool/companion.ts';
import { companionKey, keyLane } from '../src/spool/keys.ts';
import { salvage } from '../src/spool/salvage.ts';
import { SpoolFiles, spoolFile } from '../src/spool/files.ts';
import { verifyStopped } from '../src/spool/inspection.ts';
import { messagesIn } from '../src/spool/export.ts';
import { LANES } from '../src/message/message.ts';
import { decodeBlock } from '../src/spool/block.ts';
import type { Change } from '../src/store/environment.ts';
import { ManualClock } from './manual-clock.ts';
import { chance } from './parts/chance.ts';
import { Medium } from './parts/spool-model-medium.ts';
import { noise, SpoolRig, text } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

/** Counts what was taken on, and keeps the number in one record. */
class Counting implements Companion {
  count = 0;
  #kept = 0;
  cuts = 0;

  get bytes(): number {
    return this.count === this.#kept ? 0 : 8;
  }

  cut(): CompanionRecord[] {
    this.cuts++;
    if (this.#kept === this.count) return [];
    this.#kept = this.count;
    return [{ kind: 1, number: 7, value: Buffer.from(String(this.count)) }];
  }
}

function kept(rig: SpoolRig): string[] {
  return rig.spool.companionRecords().map(({ kind, number, value }) => `${kind}/${number} ${value.toString()}`);
}

test('a record is there after a restart, changes in place, and goes', async () => {
  let rig = await SpoolRig.open();
  let give: CompanionRecord[] = [{ kind: 2, number: 2 ** 48 - 1, value: noise(50_000) }];
  const large = give[0]!.value!;
  const join = () =>
    rig.spool.accompany({
      get bytes() {
        return give.reduce((sum, { value }) => sum + 1 + (value?.length ?? 0), 0);
      },
      cut: () => give.splice(0),
    });
  join();
  await rig.spool.kept(false);
  rig = await rig.restart();
  assert.deepEqual(
    rig.spool.companionRecords().map(({ kind, number, value }) => [kind, number, value.equals(large)]),
    [[2, 2 ** 48 - 1, true]],
  );
  join();
  give = [
    { kind: 2, number: 2 ** 48 - 1, value: Buffer.from('less') },
    { kind: 3, number: 0, value: Buffer.alloc(0) },
  ];
  await rig.spool.kept(true);
  await rig.audit();
  rig = await rig.crash();
  assert.deepEqual(kept(rig), [`2/${2 ** 48 - 1} less`, '3/0 ']);
  join();
  give = [{ kind: 3, number: 0, value: null }];
  await rig.spool.kept(true);
  rig = await rig.restart();
  assert.deepEqual(kept(rig), [`2/${2 ** 48 - 1} less`]);
  await rig.close();
});

test('what was kept when there is nothing to keep is kept at once, without a commit', async () => {
  const rig = await SpoolRig.open();
  await rig.spool.flush();
  rig.spool.accompany(new Counting());
  const { commits } = rig.spool.snapshot();
  await rig.spool.kept(true);
  assert.equal(rig.spool.snapshot().commits, commits);
  await rig.close();
});

test('a commit comes within commitEveryMs though no message came, and at once when somebody waits', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock, commitEveryMs: 1000 });
  await rig.spool.flush();
  const companion = new Counting();
  rig.spool.accompany(companion);
  companion.count = 1;
  rig.spool.touch(false);
  await clock.flow(900);
  assert.equal(companion.cuts, 0);
  await clock.flow(150);
  await until('the commit', () => kept(rig).length === 1);
  companion.count = 2;
  let done = false;
  void rig.spool.kept(true).then(() => (done = true));
  await until('the commit that somebody waits for', async () => {
    await clock.flow(1);
    return done;
  });
  assert.deepEqual(kept(rig), ['1/7 2']);
  await clock.flow(0);
  const closed = rig.close();
  await clock.flow(5000);
  await closed;
});

test('where the card is to rest, a commit comes after 30 s when nobody waits', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock, commitEveryMs: 250, write: 'when-needed' });
  await rig.spool.flush();
  rig.take();
  const companion = new Counting();
  rig.spool.accompany(companion);
  companion.count = 1;
  rig.spool.touch(false);
  await clock.flow(29_000);
  assert.equal(companion.cuts, 0);
  await clock.flow(1100);
  await until('the commit', () => kept(rig).length === 1);
  const closed = rig.close();
  await clock.flow(5000);
  await closed;
});

test('verify holds the records against their checksums; one that is damaged is named, left out, and goes', async () => {
  let rig = await SpoolRig.open();
  await rig.accept('a message');
  const companion = new Counting();
  rig.spool.accompany(companion);
  companion.count = 5;
  await rig.spool.kept(true);
  await rig.audit();
  await rig.spool.environment.write([[companionKey(1, 7), Buffer.from('no longer what it was')]]);
  await assert.rejects(rig.audit(), /the rules' record 7 of kind 1 does not match its checksum/);
  rig = await rig.restart();
  assert.deepEqual(kept(rig), []);
  assert.ok(rig.log.some(({ msg, number }) => msg.includes('a record of the rules') && number === 7));
  await rig.audit();
  rig = await rig.restart();
  assert.equal(rig.log.filter(({ msg }) => msg.includes('a record of the rules')).length, 0);
  await rig.close();
});

test('export, salvage and compaction: the first two give messages only, the last keeps the records', async () => {
  const rig = await SpoolRig.open();
  const companion = new Counting();
  rig.spool.accompany(companion);
  companion.count = 9;
  await rig.accept('a message');
  await rig.spool.kept(true);
  await rig.spool.compact();
  assert.deepEqual(kept(rig), ['1/7 9']);
  await rig.close();
  const path = spoolFile(rig.dataDir);
  const files = SpoolFiles.stopped(path, (error) => assert.fail(error));
  const exported: string[] = [];
  for await (const { stored } of messagesIn(files, {}, () => 0, assert.fail)) exported.push(...stored.map(text));
  assert.deepEqual(exported, ['a message']);
  for await (const batch of messagesIn(files, { deadLetters: true }, () => 0, assert.fail))
    assert.equal(batch.stored.length, 0);
  files.close();
  assert.deepEqual([...salvage(path, null, assert.fail)].map(text), ['a message']);
  assert.deepEqual((await verifyStopped(path, () => 0)).problems, []);
});

test('with write: when-needed a message that must be written is not sent before it is, nor any after it in its lane', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock, commitEveryMs: 250, write: 'when-needed' });
  await rig.spool.flush();
  rig.take();
  void rig.accept('before', 10, false);
  void rig.spool.accept(rig.message('an output', 10), false, true);
  void rig.accept('after', 10, false);
  assert.deepEqual(rig.take().map(text), ['before']);
  await clock.flow(300);
  await until('the commit', () => {
    const more = rig.take().map(text);
    if (more.length === 0) return false;
    assert.deepEqual(more, ['an output', 'after']);
    return true;
  });
  await rig.audit();
  const closed = rig.close();
  await clock.flow(5000);
  await closed;
});

test('with write: when-needed what must be written is sent all the same when the medium has taken nothing for 5 s', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock, commitEveryMs: 250, write: 'when-needed' });
  await rig.spool.flush();
  rig.take();
  const medium = new Medium(rig.spool.environment);
  medium.refuse('io');
  void rig.spool.accept(rig.message('an output', 10), false, true);
  await clock.flow(3000);
  assert.deepEqual(rig.take().map(text), []);
  const sent: string[] = [];
  for (let second = 0; second < 5; second++) {
    await clock.flow(1000);
    sent.push(...rig.take().map(text));
  }
  assert.deepEqual(sent, ['an output']);
  medium.heal();
  const closed = rig.close();
  await clock.flow(5000);
  await closed;
});

/**
 * After each commit, of whatever is there: the record says how many messages had been taken on at some moment, and the messages
 * that were ever on the medium are just those.
 */
function follow(rig: SpoolRig, write: (changes: readonly Change[]) => Promise<void>) {
  const numbers = new Set<number>();
  const seen = { commits: 0, partial: 0, wrong: null as string | null };
  rig.spool.environment.write = async (changes) => {
    await write(changes);
    let record: number | null = null;
    for (const [key, value] of changes) {
      if (value === null) continue;
      if (keyLane(key) < LANES) {
        for (const stored of decodeBlock(value).messages) numbers.add(Number(text(stored).split(' ')[0]));
      } else if (key.equals(companionKey(1, 7))) record = Number(value.toString('utf8', 4));
    }
    seen.commits++;
    if (rig.spool.snapshot().waitingBytes > 0) seen.partial++;
    const most = Math.max(0, ...numbers);
    if (numbers.size !== most) seen.wrong ??= `${numbers.size} messages, the last of them ${most}`;
    else if (most > 0 && record !== null && record !== most)
      seen.wrong ??= `the record says ${record}, there are ${most}`;
  };
  return { seen, numbers };
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`whatever a commit carries: messages up to one moment, and the record of that moment (seed ${seed})`, async () => {
    const random = chance(seed);
    const rig = await SpoolRig.open({ quota: { bytes: 8 * 2 ** 20 }, commitEveryMs: 1, whenFull: 'reject-new' });
    await rig.spool.flush();
    const real = rig.spool.environment.write.bind(rig.spool.environment);
    let refused = 0;
    const { seen, numbers } = follow(rig, async (changes) => {
      if (random() < 0.2 && refused < 3) {
        refused++;
        throw new Error('the medium refuses');
      }
      await real(changes);
    });
    const companion = new Counting();
    rig.spool.accompany(companion);
    let taken = 0;
    for (let step = 0; step < 120 && taken < 700; step++) {
      const burst = Math.floor(random() * 12);
      for (let n = 0; n < burst; n++) {
        const body = `${taken + 1} ${noise(Math.floor(random() ** 4 * 40_000)).toString('latin1')}`;
        const accepted = rig.accept(body, Math.floor(random() * LANES), random() < 0.5);
        accepted.catch(() => undefined);
        // In the same turn of the event loop, as the rules do.
        companion.count = ++taken;
      }
      if (burst > 0) rig.spool.touch(random() < 0.3);
      if (random() < 0.6) await new Promise((resolve) => setImmediate(resolve));
    }
    await until('all to be written', async () => {
      await rig.spool.flush().catch(() => undefined);
      return numbers.size === taken;
    });
    assert.equal(seen.wrong, null);
    assert.deepEqual(kept(rig), [`1/7 ${taken}`]);
    assert.ok(seen.partial > 0, 'no commit left anything out');
    assert.ok(seen.commits > 3);
    await rig.audit();
    await rig.close();
  });
}
