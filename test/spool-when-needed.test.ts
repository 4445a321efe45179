import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LANES } from '../src/message/message.ts';
import { keyLane } from '../src/spool/keys.ts';
import { ManualClock } from './manual-clock.ts';
import { openGate } from './parts/gate.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { startRogueBroker } from './parts/rogue-broker.ts';
import { SpoolRig } from './parts/spool-rig.ts';
import { UpstreamRig } from './parts/upstream-rig.ts';
import { until } from './parts/until.ts';
import { startWatcher } from './parts/watcher.ts';

/** Numbers that a new epoch leaves out (SPOOL.md). */
const EPOCH_GAP = 2 ** 20;

/** Commits and the blocks that they put, from now on. */
function countWrites(rig: SpoolRig): { commits: number; blocks: number } {
  const seen = { commits: 0, blocks: 0 };
  const { environment } = rig.spool;
  const write = environment.write.bind(environment);
  environment.write = (changes) => {
    seen.commits++;
    seen.blocks += changes.filter(([key, value]) => keyLane(key) < LANES && value !== null).length;
    return write(changes);
  };
  return seen;
}

/** Whether a promise has been kept by now. */
function watch(promise: Promise<void>): { kept: boolean } {
  const state = { kept: false };
  void promise.then(() => (state.kept = true));
  return state;
}

test('100 messages a second for two minutes, the upstream near: the account is written once a minute, and no block', async (context) => {
  const clock = new ManualClock();
  const broker = await startRogueBroker();
  const rig = await UpstreamRig.open(broker.url, { clock, spool: { write: 'when-needed', commitEveryMs: 250 } });
  await rig.rig.spool.flush();
  rig.upstream.start();
  await until('the session', async () => {
    await clock.flow(1);
    return broker.connects.length === 1;
  });
  // The first of all may come before the first has been asked for.
  void rig.rig.accept('first', 10, false);
  await until('the first to be sent', async () => {
    await clock.flow(1);
    return rig.rig.spool.snapshot().pending === 0;
  });
  await rig.rig.spool.flush();
  const seen = countWrites(rig.rig);
  let acknowledged = 0;
  for (let step = 0; step < 1200; step++) {
    for (let n = 0; n < 10; n++) void rig.rig.accept(`${step} ${n}`, 10, n % 2 === 0).then(() => acknowledged++);
    await until('the upstream to have them', async () => {
      await clock.flow(0);
      return rig.rig.spool.snapshot().pending === 0;
    });
    await clock.flow(100);
  }
  await clock.flow(0);
  context.diagnostic(`${seen.commits} commits and ${seen.blocks} blocks for ${broker.events.length} messages`);
  assert.equal(acknowledged, 12_000);
  assert.equal(broker.events.length, 12_001);
  assert.equal(seen.blocks, 0);
  assert.ok(seen.commits >= 1 && seen.commits <= 3, `${seen.commits} commits`);
  const ended = rig.end();
  await clock.flow(5000);
  await ended;
  await broker.end();
});

test('a sender that waits hears when the upstream has its message, without a commit', async () => {
  const held: (() => void)[] = [];
  const broker = await startRogueBroker({
    onPublish: (connection, { messageId }) => void held.push(() => connection.puback(messageId!)),
  });
  const rig = await UpstreamRig.open(broker.url, { spool: { write: 'when-needed', commitEveryMs: 60_000 } });
  await rig.rig.spool.flush();
  rig.upstream.start();
  await until('the session', () => rig.upstream.snapshot().state === 'online');
  const seen = countWrites(rig.rig);
  const first = watch(rig.rig.accept('1'));
  const second = watch(rig.rig.accept('2'));
  await broker.until('both', ({ events }) => events.length === 2);
  assert.deepEqual([first.kept, second.kept], [false, false]);
  held.find((_, n) => broker.publishes[n]!.seq === 1)!();
  await until('the first to be acknowledged', () => first.kept);
  assert.equal(second.kept, false);
  held.find((_, n) => broker.publishes[n]!.seq === 2)!();
  await until('the second to be acknowledged', () => second.kept);
  assert.deepEqual(seen, { commits: 0, blocks: 0 });
  assert.equal(rig.rig.spool.snapshot().pending, 0);
  await rig.end();
  await broker.end();
});

test('an upstream that does not answer: what waits is on the medium within commitEveryMs, and its sender hears it', async () => {
  const clock = new ManualClock();
  const broker = await startRogueBroker({ onPublish: () => undefined });
  const rig = await UpstreamRig.open(broker.url, { clock, spool: { write: 'when-needed', commitEveryMs: 1000 } });
  await rig.rig.spool.flush();
  rig.upstream.start();
  await until('the session', async () => {
    await clock.flow(1);
    return broker.connects.length === 1 && rig.upstream.snapshot().state === 'online';
  });
  await clock.flow(500);
  const seen = countWrites(rig.rig);
  const sender = watch(rig.rig.accept('1'));
  const nobody = watch(rig.rig.accept('2', 10, false));
  await until('both to be sent', async () => {
    await clock.flow(0);
    return broker.events.length === 2;
  });
  await clock.flow(990);
  assert.deepEqual([seen.blocks, sender.kept], [0, false]);
  await clock.flow(20);
  await until('the commit', async () => {
    await clock.flow(0);
    return sender.kept && nobody.kept;
  });
  assert.deepEqual(seen, { commits: 1, blocks: 1 });
  assert.equal(broker.events.length, 2, 'nothing was sent twice for it');
  const copy = rig.rig.copy();
  const ended = rig.end();
  await clock.flow(10_000);
  await ended;
  await broker.end();
  const again = await SpoolRig.open({ clock, dataDir: copy, write: 'when-needed' });
  assert.equal(again.take().length, 2);
  await again.close();
});

test('the upstream away: each message is on the medium within commitEveryMs; those with a waiting sender at once', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock, write: 'when-needed', commitEveryMs: 1000 });
  await rig.spool.flush();
  await clock.flow(100);
  const seen = countWrites(rig);
  void rig.accept('nobody waits', 10, false);
  await clock.flow(990);
  assert.equal(seen.blocks, 0);
  await clock.flow(20);
  await until('the commit', () => !rig.spool.snapshot().commitUnderWay);
  assert.equal(seen.blocks, 1);
  const sender = watch(rig.accept('somebody waits'));
  await clock.flow(50);
  await until('the commit', async () => {
    await clock.flow(0);
    return sender.kept;
  });
  assert.equal(seen.blocks, 2);
  await rig.audit();
  await rig.close();
});

test('a backlog, then the upstream is back: all in order, also what comes meanwhile, and then the medium rests again', async (context) => {
  const mosquitto = await startMosquitto();
  const gate = await openGate(mosquitto.port);
  const watcher = await startWatcher({ url: mosquitto.url, qos: 0 });
  const commitEveryMs = 1000;
  const rig = await UpstreamRig.open(gate.url, { window: 64, spool: { write: 'when-needed', commitEveryMs } });
  try {
    rig.upstream.start();
    await until('the session', () => rig.upstream.snapshot().state === 'online');
    let next = 1;
    const accept = (count: number, lane = 10) => {
      for (let n = 0; n < count; n++) void rig.rig.accept(String(next++), lane, n % 3 === 0);
    };
    for (let outage = 0; outage < 3; outage++) {
      accept(200);
      await rig.drained();
      await gate.close();
      await until('the connection to be lost', () => rig.upstream.snapshot().state !== 'online');
      for (let n = 0; n < 20; n++) {
        accept(100);
        await rig.rig.spool.flush();
      }
      await gate.open();
      // More comes while the backlog drains.
      for (let n = 0; n < 20; n++) {
        accept(50);
        await new Promise<void>((resolve) => {
          setTimeout(resolve, 2);
        });
      }
      await rig.drained();
    }
    await watcher.until('all', (one) => one.firstSights().length >= next - 1);
    assert.equal(watcher.firstSights().length, next - 1);
    assert.deepEqual(
      watcher.firstSights().map(({ body }) => Number(body)),
      Array.from({ length: next - 1 }, (_, n) => n + 1),
    );
    assert.equal(watcher.contradictions().length, 0);
    assert.deepEqual(watcher.losses, []);
    await rig.rig.audit();
    const seen = countWrites(rig.rig);
    let slow = 0;
    for (let n = 0; n < 100; n++) {
      const [began, before] = [performance.now(), seen.blocks];
      accept(10);
      await rig.drained();
      // What has waited for so long, since the machine stood still, is to be written. (A timer may be early by less than 1 ms.)
      if (performance.now() - began > commitEveryMs - 1) slow++;
      else assert.equal(seen.blocks, before, 'the medium does not rest');
    }
    assert.ok(slow < 50, `${slow} of 100 rounds were too slow to show anything`);
    context.diagnostic(`${next - 1} messages, ${watcher.repeats()} came twice`);
    assert.equal((await rig.rig.audit()).messages, 0);
  } finally {
    await rig.end();
    await watcher.end();
    await gate.close();
    await mosquitto.end();
  }
});

test('after a crash a new epoch begins behind a gap, and says so; what the medium holds keeps the old one', async () => {
  const broker = await startRogueBroker();
  const spool = { write: 'when-needed', commitEveryMs: 60_000 } as const;
  let rig = await UpstreamRig.open(broker.url, { spool });
  for (let n = 1; n <= 5; n++) void rig.rig.accept(String(n), 10, false);
  await rig.rig.spool.flush();
  rig.upstream.start();
  await rig.drained();
  // Seen by the upstream, and never written.
  for (let n = 6; n <= 55; n++) await rig.rig.accept(String(n));
  for (let n = 1; n <= 3; n++) await rig.rig.accept(String(n), 0);
  await broker.until('all', ({ events }) => events.length === 58);
  await rig.upstream.stop();
  // And some that only the medium has, with some that nobody has and nobody was told.
  const pending = await rig.rig.crash();
  assert.deepEqual(
    pending.spool.lossesToReport().map(({ id: _, sent: __, ...row }) => row),
    [
      {
        epoch: 1,
        lane: 10,
        reason: 'unclean-stop',
        firstSeq: 5,
        lastSeq: 5,
        count: 0,
        firstEventTime: null,
        lastEventTime: null,
        exact: false,
      },
    ],
    'lane 0 had never been on the medium',
  );
  assert.equal(pending.books().epoch, 2);
  await pending.accept('new');
  await pending.accept('urgent', 0);
  await pending.audit();
  const dataDir = pending.copy();
  await pending.close();
  // Killed once more, with those two on the medium.
  rig = await UpstreamRig.open(broker.url, { spool: { ...spool, dataDir } });
  assert.equal(rig.rig.books().epoch, 3);
  await rig.rig.accept('newest');
  rig.upstream.start();
  await rig.drained();
  const news = broker.events.slice(58).map(({ lane, seq, body }) => ({ lane, seq, body }));
  // Whatever was delivered and never marked may come again, under its old number.
  const again = news.filter(({ lane, seq }) => lane === 10 && seq! <= 5);
  assert.ok(again.length <= 5);
  assert.deepEqual(
    news.filter((one) => !again.includes(one)),
    [
      { lane: 0, seq: 1, body: 'urgent' },
      { lane: 10, seq: 5 + EPOCH_GAP + 1, body: 'new' },
      { lane: 10, seq: 5 + 2 * EPOCH_GAP + 2, body: 'newest' },
    ],
  );
  await until('the reports to be taken', () => rig.rig.spool.snapshot().lossRows === 0);
  const reports = broker.publishes.filter(({ topic }) => topic.endsWith('/losses')).map(({ body }) => JSON.parse(body));
  assert.deepEqual(
    reports.map(({ epoch, lane, reason, firstSeq, lastSeq, count }) => [epoch, lane, reason, firstSeq, lastSeq, count]),
    [
      [1, 10, 'unclean-stop', 5, 5, 0],
      [2, 0, 'unclean-stop', 1, 1, 0],
      [2, 10, 'unclean-stop', 5 + EPOCH_GAP + 1, 5 + EPOCH_GAP + 1, 0],
    ],
  );
  await rig.end();
  await broker.end();
});

test('a commit between acknowledgements leaves an even account of what it does not carry', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock, write: 'when-needed', commitEveryMs: 600_000 });
  await rig.spool.flush();
  assert.equal(rig.spool.next(), null, 'somebody sends');
  for (let n = 1; n <= 10; n++) void rig.accept(String(n), n % 2 === 0 ? 10 : 0);
  const { commits } = rig.spool.snapshot();
  // Of each lane some are delivered: they count, and are in no block.
  for (const stored of rig.take().filter(({ seq }) => seq <= 3)) rig.spool.delivered(stored, true);
  await clock.flow(60_000);
  await until('the account to be written', () => rig.spool.snapshot().commits > commits);
  const books = rig.books();
  assert.deepEqual([books.ledger.accepted, books.ledger.delivered], [6, 6]);
  assert.deepEqual([books.lanes[0]!.pending, books.lanes[10]!.pending], [0, 0]);
  const crashed = await rig.crash({ clock });
  await crashed.audit();
  await crashed.close();
});

test('a clean stop keeps the epoch and the numbers, also of what was never written', async () => {
  const broker = await startRogueBroker();
  let rig = await UpstreamRig.open(broker.url, { spool: { write: 'when-needed', commitEveryMs: 60_000 } });
  await rig.rig.spool.flush();
  rig.upstream.start();
  for (let n = 1; n <= 30; n++) await rig.rig.accept(String(n));
  await rig.end();
  const { dataDir } = rig.rig;
  rig = await UpstreamRig.open(broker.url, { spool: { dataDir, write: 'when-needed' } });
  assert.equal(rig.rig.books().epoch, 1);
  assert.deepEqual(rig.rig.spool.lossesToReport(), []);
  assert.equal(rig.rig.books().ledger.delivered, 30);
  rig.upstream.start();
  await rig.rig.accept('31');
  assert.deepEqual([broker.events.at(-1)!.seq, broker.events.at(-1)!.body], [31, '31']);
  await rig.end();
  // One that writes always goes on with it, and a crash of that one begins none.
  const always = await (await UpstreamRig.open(broker.url, { spool: { dataDir } })).rig.crash();
  assert.equal(always.books().epoch, 1);
  await always.close();
  await broker.end();
});

test('the upstream is lost with messages in flight that are half written: all come again, in order, and no acknowledgement is lost', async () => {
  let answer = true;
  const broker = await startRogueBroker({
    onPublish: (connection, { messageId }) => {
      if (answer) connection.puback(messageId!);
    },
  });
  const rig = await UpstreamRig.open(broker.url, { spool: { write: 'when-needed', commitEveryMs: 30 }, window: 64 });
  rig.upstream.start();
  await until('the session', () => rig.upstream.snapshot().state === 'online');
  let kept = 0;
  let next = 1;
  for (let round = 0; round < 10; round++) {
    answer = round % 2 === 0;
    for (let n = 0; n < 100; n++) {
      void rig.rig.accept(String(next++)).then(() => kept++);
      if (n % 20 === 19) {
        await new Promise<void>((resolve) => {
          setTimeout(resolve, 8);
        });
      }
    }
    if (!answer) {
      answer = true;
      broker.connections.at(-1)!.close();
    }
  }
  await rig.drained();
  await until('all promises', () => kept === next - 1);
  const first: number[] = [];
  for (const { body } of broker.events) if (Number(body) > (first.at(-1) ?? 0)) first.push(Number(body));
  assert.deepEqual(
    first,
    Array.from({ length: next - 1 }, (_, n) => n + 1),
    'each number before all greater ones',
  );
  assert.equal((await rig.rig.audit()).messages, 0);
  await rig.end();
  await broker.end();
});
