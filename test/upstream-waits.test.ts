import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, settle } from './manual-clock.ts';
import { startRogueBroker, type RogueBroker } from './parts/rogue-broker.ts';
import { Ponging } from './parts/downlinks.ts';
import { UpstreamRig, type UpstreamRigOptions } from './parts/upstream-rig.ts';
import { until } from './parts/until.ts';

const STATUS = /\/status$/;

/** A gateway with 10 messages on the medium, its clock in the test's hands. */
async function withClock(
  clock: ManualClock,
  act: (broker: RogueBroker, rig: UpstreamRig) => Promise<void>,
  options: Omit<UpstreamRigOptions, 'clock'> = {},
): Promise<void> {
  const broker = await startRogueBroker();
  const rig = await UpstreamRig.open(broker.url, { ...options, clock });
  await rig.fill(10);
  try {
    await act(broker, rig);
  } finally {
    const ended = rig.end();
    // Its timers are ours to move.
    await clock.flow(5000);
    await ended;
    await broker.end();
  }
}

/** Sees to it that what a broker was sent until now has come. */
async function exchanged(broker: RogueBroker, rig: UpstreamRig): Promise<void> {
  await until('to be online', () => rig.upstream.snapshot().state === 'online');
  await broker.until('the status', ({ publishes }) => publishes.some(({ topic }) => STATUS.test(topic)));
  await settle();
}

test('with the time known, nothing waits', async () => {
  await withClock(new ManualClock(), async (broker, rig) => {
    rig.upstream.start();
    assert.equal(rig.upstream.snapshot().waitsForClock, false);
    await broker.until('all', ({ events }) => events.length === 10);
    assert.ok(!rig.log.some(({ msg }) => /the time/.test(msg)));
  });
});

test('messages wait until the time is known; connection, status and methods do not', async () => {
  const clock = new ManualClock({ known: false, wall: 0 });
  await withClock(
    clock,
    async (broker, rig) => {
      rig.upstream.start();
      await exchanged(broker, rig);
      const topic = 'holdfast/v1/line-4/line-4/methods/ping/req/7';
      broker.connections[0]!.send({ cmd: 'publish', topic, payload: 'x', qos: 0, dup: false, retain: false });
      await broker.until('the answer', ({ publishes }) => publishes.some((one) => one.topic.endsWith('/res/7')));
      await clock.flow(20_000);
      assert.deepEqual([rig.upstream.snapshot().waitsForClock, broker.events.length], [true, 0]);
      clock.setWall(Date.UTC(2026, 0, 1));
      clock.setKnown(true);
      await clock.flow(500);
      await broker.until('all', ({ events }) => events.length === 10);
      assert.equal(rig.upstream.snapshot().waitsForClock, false);
      // Lost again, it is not waited for again.
      clock.setKnown(false);
      await rig.fill(1, 11);
      await broker.until('one more', ({ events }) => events.length === 11);
    },
    { downlink: new Ponging() },
  );
});

test('after 30 s messages are sent whether or not the time is known, counted from the start and not from the connection', async () => {
  const clock = new ManualClock({ known: false, wall: 0 });
  await withClock(clock, async (broker, rig) => {
    const { manners } = broker;
    broker.manners = { onConnect: (connection) => connection.refuse(0x88) };
    rig.upstream.start();
    await clock.flow(15_000);
    broker.manners = manners;
    await broker.until('a refusal', ({ connects }) => connects.length > 0);
    await until('the next attempt', async () => {
      await clock.flow(10);
      return rig.upstream.snapshot().state === 'online';
    });
    await exchanged(broker, rig);
    const left = 30_000 + 3_600_000 - clock.monotonic();
    assert.ok(left > 0 && left < 15_000);
    await clock.flow(left - 600);
    assert.deepEqual([rig.upstream.snapshot().waitsForClock, broker.events.length], [true, 0]);
    await clock.flow(1100);
    await broker.until('all', ({ events }) => events.length === 10);
    assert.ok(rig.complaints().some((msg) => /still not known/.test(msg)));
  });
});

test('stopping while messages wait sends none of them', async () => {
  const clock = new ManualClock({ known: false, wall: 0 });
  await withClock(clock, async (broker, rig) => {
    rig.upstream.start();
    await exchanged(broker, rig);
    const stopped = rig.upstream.stop();
    await clock.flow(3000);
    await stopped;
    assert.equal(broker.events.length, 0);
  });
});

test('a broker that answers pings and acknowledges nothing is noticed after a minute, once', async () => {
  const clock = new ManualClock();
  await withClock(clock, async (broker, rig) => {
    const said = (pattern: RegExp) => rig.log.filter(({ msg }) => pattern.test(msg)).length;
    rig.upstream.start();
    await broker.until('all', ({ events }) => events.length === 10);
    await until('all to be acknowledged', () => rig.upstream.snapshot().inFlight === 0);
    // With nothing in flight, silence means nothing. (The status of each minute is acknowledged.)
    await clock.flow(50_000);
    broker.manners = { onPublish: () => undefined };
    await rig.fill(5, 11);
    await broker.until('the next', ({ events }) => events.length === 15);
    await clock.flow(50_000);
    assert.deepEqual([rig.upstream.snapshot().stalledSecs, said(/acknowledges nothing/)], [null, 0]);
    await clock.flow(20_000);
    assert.ok((rig.upstream.snapshot().stalledSecs ?? 0) >= 60);
    await clock.flow(600_000);
    assert.equal(said(/acknowledges nothing/), 1);
    assert.equal(rig.upstream.snapshot().state, 'online');
    broker.manners = {};
    for (const { packetId } of broker.events.slice(10)) broker.connections[0]!.puback(packetId);
    await until('the acknowledgements', () => rig.upstream.snapshot().inFlight === 0);
    assert.equal(rig.upstream.snapshot().stalledSecs, null);
    assert.equal(said(/acknowledges again/), 1);
  });
});
