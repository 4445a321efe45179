import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LANE_UNSPECIFIED } from '../src/message/message.ts';
import { Rate } from '../src/upstream/rate.ts';
import { ManualClock } from './manual-clock.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { fc } from './parts/properties.ts';
import { startRogueBroker } from './parts/rogue-broker.ts';
import { noise } from './parts/spool-rig.ts';
import { Ponging } from './parts/downlinks.ts';
import { until } from './parts/until.ts';
import { UpstreamRig } from './parts/upstream-rig.ts';
import { startWatcher } from './parts/watcher.ts';

const RUNS = process.env['HOLDFAST_TEST_LONG'] === '1' ? 5000 : 300;

interface Sent {
  readonly at: number;
  readonly bytes: number;
}

/** The most that was sent in any window, beyond what is allowed for its length; what stands for an amount is `of`. */
function excess(sent: readonly Sent[], perSec: number, of: (one: Sent) => number): number {
  let worst = -Infinity;
  for (let from = 0; from < sent.length; from++) {
    let sum = 0;
    for (let to = from; to < sent.length; to++) {
      sum += of(sent[to]!);
      worst = Math.max(worst, sum - perSec * ((sent[to]!.at - sent[from]!.at) / 1000 + 1));
    }
  }
  return worst;
}

/** Gaps between arrivals, ms, and their sizes. */
const arrivals = (bytesMax: number) =>
  fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 2, max: bytesMax })), {
    minLength: 1,
    maxLength: 60,
  });

/** Sends what arrives, each as soon as the rate lets it. */
function run(rate: Rate, clock: ManualClock, all: readonly (readonly [number, number])[]): Sent[] {
  const sent: Sent[] = [];
  let arrivesAt = clock.monotonic();
  for (const [gap, bytes] of all) {
    arrivesAt += gap;
    clock.advance(Math.max(0, arrivesAt - clock.monotonic()));
    for (let waits = 0; ; waits++) {
      const ms = rate.waitMs(bytes);
      if (ms === 0) break;
      assert.ok(waits < 3, 'waiting as long as was said is not enough');
      clock.advance(ms);
    }
    rate.charge(bytes);
    sent.push({ at: clock.monotonic(), bytes });
  }
  return sent;
}

test('whatever arrives, what is sent in T seconds is at most what T + 1 seconds allow', () => {
  const bounds = fc.record({
    messagesPerSec: fc.integer({ min: 1, max: 50 }),
    bytesPerSec: fc.integer({ min: 100, max: 10_000 }),
  });
  fc.assert(
    fc.property(bounds, arrivals(100), ({ messagesPerSec, bytesPerSec }, all) => {
      const clock = new ManualClock();
      const sent = run(new Rate({ messagesPerSec, bytesPerSec }, clock), clock, all);
      assert.ok(excess(sent, messagesPerSec, () => 1) < 1e-3);
      assert.ok(excess(sent, bytesPerSec, ({ bytes }) => bytes) < 1e-3);
    }),
    { numRuns: RUNS },
  );
});

test('a message larger than a second allows goes, and is waited for afterwards: only by it is more sent', () => {
  fc.assert(
    fc.property(fc.integer({ min: 10, max: 1000 }), arrivals(5000), (bytesPerSec, all) => {
      const clock = new ManualClock();
      const sent = run(new Rate({ bytesPerSec }, clock), clock, all);
      assert.equal(sent.length, all.length);
      const largest = Math.max(...sent.map(({ bytes }) => bytes));
      assert.ok(excess(sent, bytesPerSec, ({ bytes }) => bytes) <= Math.max(0, largest - bytesPerSec) + 1e-3);
    }),
    { numRuns: RUNS },
  );
});

test('nothing waits that need not, and what was not used is saved up for a second only', () => {
  const clock = new ManualClock();
  const rate = new Rate({ messagesPerSec: 10 }, clock);
  const burst = () => {
    let count = 0;
    for (; rate.waitMs(1_000_000) === 0; count++) rate.charge(1_000_000);
    return count;
  };
  assert.equal(burst(), 10);
  assert.ok(Math.abs(rate.waitMs(1) - 100) < 1e-6);
  clock.advance(350);
  assert.equal(burst(), 3);
  clock.advance(3_600_000);
  assert.equal(burst(), 10);
  // What may not wait is missing for the others.
  rate.charge(1);
  rate.charge(1);
  assert.ok(Math.abs(rate.waitMs(1) - 300) < 1e-6);
});

/** How far the clock is moved before it is seen whether more may be sent, ms. */
const STEP_MS = 50;

for (const [what, maxRate, least, most] of [
  // 2,000 bytes of body and about 165 around them: 46 a second.
  ['bytesPerSec: 100,000', { bytesPerSec: 100_000 }, 41, 47],
  ['messagesPerSec: 60', { messagesPerSec: 60 }, 54, 61],
] as const) {
  test(`a backlog leaves at the rate that is set, measured at a mosquitto: ${what}`, async (context) => {
    const mosquitto = await startMosquitto();
    const watcher = await startWatcher({ url: mosquitto.url });
    // Its own clock: the machine may stand still, which would have to be made up for.
    const clock = new ManualClock();
    const rig = await UpstreamRig.open(mosquitto.url, { maxRate, clock });
    try {
      for (let n = 0; n < 400; n++) void rig.rig.accept(noise(2000));
      await rig.rig.spool.flush();
      rig.upstream.start();
      /** What has arrived when all has that may be sent by now. */
      const arrived = async () => {
        await until('nothing but the rate to hold messages back', () => rig.upstream.snapshot().waitsForRate);
        const sent = rig.upstream.snapshot().sent;
        await watcher.until(
          () => `${sent} messages; ${watcher.events.length} are there`,
          ({ events }) => events.length >= sent,
        );
        return watcher.events.length;
      };
      const pass = async (ms: number) => {
        for (let left = ms; left > 0; left -= STEP_MS) {
          await clock.flow(STEP_MS);
          await arrived();
        }
      };
      const burst = await arrived();
      await pass(1000);
      // After the burst of the first moment.
      const before = await arrived();
      await pass(3000);
      const later = ((await arrived()) - before) / 3;
      context.diagnostic(`${burst} messages at once, then ${later.toFixed(1)} messages/s`);
      assert.ok(burst >= least && burst <= most, `${burst} messages at once`);
      assert.ok(later >= least && later <= most, `${later} messages/s`);
      assert.equal(watcher.outOfOrder().length, 0);
      assert.equal(watcher.repeats(), 0);
    } finally {
      await ended(rig, clock);
      await watcher.end();
      await mosquitto.end();
    }
  });
}

test('status and answers to methods do not wait for the rate', async () => {
  const broker = await startRogueBroker();
  const clock = new ManualClock();
  const rig = await UpstreamRig.open(broker.url, {
    maxRate: { messagesPerSec: 1 },
    downlink: new Ponging(),
    clock,
  });
  try {
    await rig.fill(50);
    rig.upstream.start();
    await until('the first message', async () => {
      await clock.flow(100);
      return broker.events.length > 0;
    });
    // The clock stands still from here: whatever comes, nothing was waited for.
    const topic = 'holdfast/v1/line-4/line-4/methods/ping/req/7';
    broker.connections[0]!.send({ cmd: 'publish', topic, payload: 'x', qos: 0, dup: false, retain: false });
    await broker.until('the answer', ({ publishes }) =>
      publishes.some((one) => one.topic.endsWith('/methods/ping/res/7')),
    );
    assert.ok(broker.publishes.some((one) => one.topic.endsWith('/status')));
    assert.ok(broker.events.length <= 2, `${broker.events.length} messages`);
  } finally {
    await ended(rig, clock);
    await broker.end();
  }
});

/** Ends it by its own clock. */
async function ended(rig: UpstreamRig, clock: ManualClock): Promise<void> {
  let over = false;
  const end = rig.end().finally(() => (over = true));
  while (!over) await clock.flow(100);
  await end;
}

test('with a saturated lane 0 the lower lanes get their share, and each lane keeps its order', async () => {
  const broker = await startRogueBroker();
  const rig = await UpstreamRig.open(broker.url);
  const lanes = [0, 4, LANE_UNSPECIFIED];
  for (let n = 1; n <= 3200; n++) void rig.rig.accept(String(n), 0);
  for (const lane of lanes.slice(1)) for (let n = 1; n <= 150; n++) void rig.rig.accept(String(n), lane);
  await rig.rig.spool.flush();
  rig.upstream.start();
  await rig.drained();
  const order = broker.events.map(({ lane }) => lane);
  const saturated = order.slice(0, order.lastIndexOf(0) + 1);
  const lower = saturated.filter((lane) => lane !== 0).length;
  assert.ok(Math.abs(lower / saturated.length - 1 / 16) < 0.005, `${lower} of ${saturated.length}`);
  // Evenly, not at the end.
  for (let from = 0; from + 34 <= saturated.length; from += 34) {
    assert.ok(
      saturated.slice(from, from + 34).some((lane) => lane !== 0),
      `none from ${from} on`,
    );
  }
  for (const lane of lanes) {
    const seqs = broker.events.filter((event) => event.lane === lane).map(({ seq }) => seq);
    assert.deepEqual(
      seqs,
      seqs.map((_, i) => i + 1),
      `lane ${lane}`,
    );
  }
  await rig.end();
  await broker.end();
});
