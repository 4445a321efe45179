import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '../src/message/message.ts';
import { SpoolFull } from '../src/spool/spool.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { noise, SpoolRig, text } from './parts/spool-rig.ts';

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i));

test('what was accepted comes out in order, and leaves the medium when it is delivered', async () => {
  const rig = await SpoolRig.open();
  await Promise.all(numbers(1, 1000).map((n) => rig.accept(n)));
  await rig.audit();
  const taken = rig.take();
  assert.deepEqual(taken.map(text), numbers(1, 1000));
  assert.deepEqual(
    taken.map(({ seq }) => seq),
    numbers(1, 1000).map(Number),
  );
  for (const stored of taken) rig.spool.delivered(stored, true);
  const { blocks, messages } = await rig.audit();
  assert.deepEqual({ blocks, messages }, { blocks: 0, messages: 0 });
  assert.equal(rig.books().ledger.delivered, 1000);
  await rig.close();
});

test('accept resolves when the message is on the medium, and not before', async () => {
  const rig = await SpoolRig.open();
  const accepted = rig.accept('one');
  // Nothing has been given time to reach the files: this is what a crash right after the call leaves.
  const before = await SpoolRig.open({ dataDir: rig.copy() });
  assert.deepEqual(before.take().map(text), []);
  await before.close();
  await accepted;
  const after = await rig.crash();
  assert.deepEqual(after.take().map(text), ['one']);
  await after.audit();
  await after.close();
});

test('a sender that does not wait is committed within commitEveryMs, by the clock', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock, commitEveryMs: 250 });
  const { commits } = rig.spool.snapshot();
  let durable = false;
  const accepted = rig.accept('one', 10, false).then(() => (durable = true));
  await clock.flow(249);
  await settle();
  assert.equal(durable, false);
  assert.equal(rig.spool.snapshot().commits, commits);
  await clock.flow(2);
  await accepted;
  assert.equal(rig.spool.snapshot().commits, commits + 1);
  await rig.close();
  assert.equal(clock.timers, 0, 'timers are left after close');
});

test('close puts on the medium what was accepted last', async () => {
  const rig = await SpoolRig.open({ commitEveryMs: 60_000 });
  const accepted = numbers(1, 50).map((n) => rig.accept(n, 10, false));
  const again = await rig.restart();
  await Promise.all(accepted);
  assert.deepEqual(again.take().map(text), numbers(1, 50));
  await again.audit();
  await again.close();
});

test('a closed spool takes nothing', async () => {
  const rig = await SpoolRig.open();
  const closing = rig.close();
  await assert.rejects(rig.accept('late'), SpoolFull);
  await closing;
  await rig.spool.close();
});

test('after a restart delivery goes on at the first message that was not settled, also within a block', async () => {
  let rig = await SpoolRig.open();
  await Promise.all(numbers(1, 500).map((n) => rig.accept(n)));
  let expected = 1;
  for (const step of [1, 99, 250, 7, 143]) {
    for (const stored of rig.take(step)) {
      assert.equal(text(stored), String(expected++));
      rig.spool.delivered(stored, true);
    }
    await rig.audit();
    rig = await rig.restart();
    await rig.audit();
  }
  assert.equal(expected, 501);
  assert.equal(rig.spool.next(), null);
  assert.equal(rig.books().ledger.delivered, 500);
  // The numbers go on where they were.
  await rig.accept('501');
  assert.equal(rig.take()[0]?.seq, 501);
  await rig.close();
});

test('after a crash nothing that was acknowledged is missing, and only unmarked messages come again', async () => {
  let rig = await SpoolRig.open();
  await Promise.all(numbers(1, 300).map((n) => rig.accept(n)));
  for (const stored of rig.take(100)) rig.spool.delivered(stored, true);
  await rig.spool.flush();
  for (const stored of rig.take(20)) rig.spool.delivered(stored, true);
  assert.equal(rig.spool.unmarked, 20);
  rig = await rig.crash();
  await rig.audit();
  const again = rig.take().map(text);
  assert.deepEqual(again.slice(-200), numbers(101, 300));
  assert.equal(again.length, 200);
  await rig.close();
});

test('rewind begins again at the first unsettled message of each lane', async () => {
  const rig = await SpoolRig.open();
  for (let n = 1; n <= 40; n++) void rig.accept(String(n), n % 2 === 0 ? 0 : 10);
  await rig.spool.flush();
  const taken = rig.take(30);
  for (const stored of taken.slice(0, 11)) rig.spool.delivered(stored, true);
  rig.spool.rewind();
  const rest = rig.take();
  assert.equal(rest.length, 29);
  const settled = new Set(taken.slice(0, 11).map(text));
  assert.deepEqual(
    rest.map(text).toSorted(),
    numbers(1, 40)
      .filter((n) => !settled.has(n))
      .toSorted(),
  );
  for (const lane of [0, 10]) {
    const seqs = rest.filter((stored) => stored.lane === lane).map(({ seq }) => seq);
    assert.deepEqual(
      seqs,
      seqs.toSorted((a, b) => a - b),
    );
  }
  for (const stored of rest) rig.spool.delivered(stored, true);
  await rig.audit();
  assert.equal(rig.spool.next(), null);
  await rig.close();
});

test('lanes settle each at its own pace', async () => {
  let rig = await SpoolRig.open();
  for (let n = 1; n <= 60; n++) void rig.accept(String(n), [0, 5, 10][n % 3]);
  await rig.spool.flush();
  const taken = rig.take();
  const ofLane = (lane: number, all: readonly Stored[]) => all.filter((stored) => stored.lane === lane);
  for (const stored of ofLane(10, taken)) rig.spool.delivered(stored, true);
  for (const stored of ofLane(0, taken).slice(0, 3)) rig.spool.delivered(stored, true);
  await rig.audit();
  rig = await rig.crash();
  const left = rig.take();
  assert.deepEqual(
    [0, 5, 10].map((lane) => ofLane(lane, left).length),
    [17, 20, 0],
  );
  await rig.audit();
  await rig.close();
});

test('lane 0 goes first, and lower lanes keep a share of one in 16', async () => {
  const rig = await SpoolRig.open();
  for (let n = 1; n <= 170; n++) void rig.accept(`high ${n}`, 0);
  for (let n = 1; n <= 40; n++) void rig.accept(`low ${n}`, 7);
  await rig.spool.flush();
  const lanes = rig.take(170).map(({ lane }) => lane);
  assert.deepEqual(
    lanes.slice(0, 16),
    Array.from({ length: 16 }, (_, n) => (n < 15 ? 0 : 7)),
  );
  const low = lanes.filter((lane) => lane === 7).length;
  assert.equal(low, 10, `${low} of 170 were of the lower lane`);
  await rig.close();
});

test('a dead letter is kept with its reason, counted once, and the rest goes on', async () => {
  let rig = await SpoolRig.open();
  for (let n = 1; n <= 10; n++) void rig.accept(String(n));
  await rig.spool.flush();
  for (const stored of rig.take()) {
    if (stored.seq % 3 === 0) rig.spool.deadLetter(stored, 'refused with reason 0x87');
    else rig.spool.delivered(stored, true);
  }
  const { deadLetters } = await rig.audit();
  assert.equal(deadLetters, 3);
  rig = await rig.crash();
  assert.equal((await rig.audit()).deadLetters, 3);
  assert.deepEqual(rig.take(), []);
  // Numbers of dead letters go on as well: a new one must not take an old one's place.
  await rig.accept('11');
  rig.spool.deadLetter(rig.take()[0]!, 'poison');
  assert.equal((await rig.audit()).deadLetters, 4);
  await rig.close();
});

test('dead letters that two people send again at the same time, while a third lets one go, go once', async () => {
  let rig = await SpoolRig.open();
  for (const n of numbers(1, 4)) void rig.accept(n);
  await rig.spool.flush();
  for (const stored of rig.take()) rig.spool.deadLetter(stored, 'poison');
  const retry = () => rig.spool.retryDeadLetters();
  const done = await Promise.all([retry(), retry(), rig.spool.dropDeadLetters(new Set([4]))]);
  assert.equal(done[0] + done[1], 3);
  assert.equal(done[2], 1);
  await rig.audit();
  const { deadLetters, dropped } = rig.books().ledger;
  assert.deepEqual({ deadLetters, dropped }, { deadLetters: 0, dropped: { discarded: 1 } });
  // With an account of less than none it would not open any more.
  rig = await rig.restart();
  assert.deepEqual(rig.take().map(text), numbers(1, 3));
  await rig.close();
});

test('dead letters beyond those that are kept are named in the log, in few lines', async () => {
  const rig = await SpoolRig.open();
  for (let n = 1; n <= 1100; n++) void rig.accept(String(n), 10, false);
  await rig.spool.flush();
  for (const stored of rig.take()) {
    rig.spool.deadLetter(stored, 'refused with reason 0x87');
    if (stored.seq % 20 === 0) await rig.spool.flush();
  }
  assert.equal((await rig.audit()).deadLetters, 1000);
  assert.equal(rig.books().ledger.dropped.discarded, 100);
  await rig.close();
  const said = rig.log.filter(({ msg }) => /oldest dead letters were let go/.test(msg));
  assert.ok(said.length <= 2, `${said.length} lines`);
  assert.equal(
    said.reduce((sum, line) => sum + Number(line['count']), 0),
    100,
  );
  assert.deepEqual([said[0]!['first'], said.at(-1)!['last']], [1, 100]);
});

test('an unmatched delivery counts as delivered and as unmatched', async () => {
  const rig = await SpoolRig.open();
  void rig.accept('one');
  await rig.accept('two');
  const [one, two] = rig.take();
  rig.spool.delivered(one!, false);
  rig.spool.delivered(two!, true);
  await rig.audit();
  const { delivered, unmatched } = rig.books().ledger;
  assert.deepEqual({ delivered, unmatched }, { delivered: 2, unmatched: 1 });
  await rig.close();
});

test('what is turned away or has no route is in the account', async () => {
  const rig = await SpoolRig.open();
  rig.spool.refused('too-large');
  rig.spool.refused('too-large');
  rig.spool.discard('no-route', rig.message('one'));
  rig.spool.discard('loop', rig.message('two'));
  await rig.audit();
  const { accepted, dropped, refused } = rig.books().ledger;
  assert.deepEqual(
    { accepted, dropped, refused },
    { accepted: 2, dropped: { 'no-route': 1, loop: 1 }, refused: { 'too-large': 2 } },
  );
  await rig.close();
});

test('bodies from nothing to the largest survive the medium', async () => {
  let rig = await SpoolRig.open();
  const bodies = [0, 1, 2000, 16_368, 48 * 1024, 262_144].map(noise);
  await Promise.all(bodies.map((body) => rig.accept(body)));
  rig = await rig.crash();
  const taken = rig.take();
  assert.equal(taken.length, bodies.length);
  taken.forEach((stored, i) => assert.ok(stored.message.body.equals(bodies[i]!), `body ${i} differs`));
  await rig.audit();
  await rig.close();
});

test('when the medium does not keep up, messages are refused rather than kept in memory without bound', async () => {
  const rig = await SpoolRig.open({ commitEveryMs: 60_000 });
  const body = noise(262_144);
  const results = await Promise.allSettled(Array.from({ length: 100 }, () => rig.accept(body)));
  const refused = results.filter(({ status }) => status === 'rejected').length;
  assert.ok(refused >= 30 && refused < 40, `${refused} of 100 were refused`);
  await rig.audit();
  assert.equal(rig.books().ledger.refused.rejected, refused);
  assert.equal(rig.take().length, 100 - refused);
  await rig.close();
});

test('what waits in memory stays within its bound when large messages take the place of small ones', async () => {
  const rig = await SpoolRig.open({ commitEveryMs: 60_000 });
  const waiting = () => rig.spool.snapshot().waitingBytes;
  let accepted = 0;
  const accept = (body: Buffer) => {
    accepted++;
    void rig.accept(body, 10, false);
  };
  // Blocks of 8 KB: each is cut at once, since it is long before it is compressed.
  while (waiting() < 16 * 2 ** 20) accept(Buffer.concat([noise(8000), Buffer.alloc(48 * 1024)]));
  for (let n = 0; n < 200; n++) accept(noise(250_000));
  assert.ok(waiting() < 17 * 2 ** 20, `${waiting()} bytes wait`);
  await rig.audit();
  const { ledger } = rig.books();
  assert.equal(ledger.accepted, accepted);
  assert.ok(ledger.dropped.evicted! > 1000);
  await rig.close();
});

test('flush waits for what was accepted, and not for what comes meanwhile, however much', async () => {
  const rig = await SpoolRig.open();
  let accepted = 0;
  // More than one block for each commit, as on a slow card.
  rig.spool.onCommit(() => {
    for (let n = 0; n < 2 && accepted < 500; n++) void rig.accept(`${++accepted} ${noise(60_000).toString('hex')}`);
  });
  await rig.accept('first');
  let last = false;
  void rig.accept('last').then(() => (last = true));
  await rig.spool.flush();
  assert.ok(last);
  assert.ok(accepted < 50, `${accepted} more were waited for`);
  accepted = 500;
  await rig.audit();
  await rig.close();
});

test('lanes below a busy one take turns in their share of one in sixteen', async () => {
  const rig = await SpoolRig.open();
  for (const [lane, count] of [
    [0, 400],
    [4, 100],
    [10, 100],
  ] as const) {
    for (let n = 0; n < count; n++) void rig.accept('x', lane, false);
  }
  await rig.spool.flush();
  const lanes = rig.take(320).map(({ lane }) => lane);
  const count = (lane: number) => lanes.filter((each) => each === lane).length;
  assert.deepEqual([count(0), count(4), count(10)], [300, 10, 10]);
  await rig.close();
});
