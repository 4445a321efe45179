import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspectDataFile } from '../src/store/data-file.ts';
import { lookAtSpool } from '../src/spool/files.ts';
import { verify } from '../src/spool/inspection.ts';
import { pendingOf } from '../src/spool/books.ts';
import { droppedOf } from '../src/spool/ledger.ts';
import { chance } from './parts/chance.ts';
import { openGate } from './parts/gate.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { startRogueBroker } from './parts/rogue-broker.ts';
import { scratch } from './parts/scratch.ts';
import type { VictimOptions } from './parts/kill-victim.ts';
import { SEED } from './parts/seed.ts';
import { Victim } from './parts/victim.ts';
import { startWatcher, type Watcher } from './parts/watcher.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const WINDOW = 128;
/** What a crash may make us send twice (DESIGN, Delivery). */
const REPEATS_MAX = WINDOW + 1000;
/** Numbers of one life begin this far after those of the life before. */
const LIFE = 1_000_000;
/** Messages that a life has acknowledged before it is ended, or its end proves little. */
const LIFE_MIN = 50;

/** What a kill left on the medium: every block sound, the account even. Returns what is pending. */
async function audit(dataDir: string): Promise<number> {
  assert.notEqual(inspectDataFile(join(dataDir, 'spool')).kind, 'damaged');
  return lookAtSpool(dataDir, (reader, books) => {
    const { problems } = verify(reader, books);
    assert.deepEqual(problems, []);
    const { accepted, delivered, deadLetters } = books.ledger;
    assert.equal(accepted, delivered + pendingOf(books) + deadLetters + droppedOf(books.ledger));
    return pendingOf(books);
  });
}

function checkArrivals(watcher: Watcher): void {
  assert.deepEqual(watcher.gaps(), []);
  assert.equal(watcher.outOfOrder().length, 0, 'first sights out of order');
  assert.equal(watcher.contradictions().length, 0, 'a number was used twice');
}

async function killed(
  context: TestContext,
  kills: number,
  { protocol, write }: Pick<VictimOptions, 'protocol' | 'write'>,
  seed: number,
): Promise<void> {
  const random = chance(seed);
  const mosquitto = await startMosquitto();
  const gate = await openGate(mosquitto.port);
  const watcher = await startWatcher({ url: mosquitto.url, qos: 0 });
  const dataDir = join(scratch(), 'data');
  mkdirSync(dataDir);
  const options = { dataDir, url: gate.url, protocol, write, window: WINDOW };
  const acknowledged: number[] = [];
  const repeats: number[] = [];
  const pending: number[] = [];
  let arrivedBefore = 0;
  let repeatsBefore = 0;
  try {
    for (let life = 0; life < kills; life++) {
      // The broker is there all the time, never, goes, or comes back, in turn.
      const story = ['up', 'goes', 'down', 'comes'][life % 4]!;
      if (story === 'up' || story === 'goes') await gate.open();
      else await gate.close();
      const victim = new Victim({ ...options, from: life * LIFE });
      await victim.until('ready', ({ ready }) => ready);
      const lives = 50 + random() * 500;
      const turns = random() * lives;
      await sleep(turns);
      if (story === 'goes') await gate.close();
      if (story === 'comes') await gate.open();
      await sleep(lives - turns);
      await victim.until('some acknowledged', (alive) => alive.acknowledged.length > LIFE_MIN);
      assert.equal(await victim.end('SIGKILL'), 'SIGKILL', `it ended before it was killed:\n${victim.log}`);
      await victim.until('nothing refused', () => true);
      acknowledged.push(...victim.acknowledged);
      pending.push(await audit(dataDir));
      const again = watcher.repeats() - repeatsBefore;
      repeatsBefore += again;
      repeats.push(again);
      // A cut connection repeats what was in flight, a kill what was not marked: at most one of each in a life.
      assert.ok(again <= REPEATS_MAX + WINDOW, `life ${life} (${story}): ${again} came twice`);
      arrivedBefore = watcher.events.length;
    }
    await gate.open();
    const last = new Victim({ ...options, from: null });
    await last.until('drained', ({ drained }) => drained);
    assert.equal(await last.end('SIGTERM'), 0);
    assert.equal(await audit(dataDir), 0);
    const accepted = await lookAtSpool(dataDir, (_, books) => books.ledger.accepted);
    await watcher.until(
      () => `${accepted} messages, ${watcher.firstSights().length} are there`,
      ({ events }) => events.length >= accepted && watcher.firstSights().length >= accepted,
    );
    // What was sent and never written is not in the account, so there may be more to come.
    const newest = Math.max(...acknowledged);
    await watcher.until(
      () => `number ${newest}`,
      ({ events }) => events.some(({ body }) => Number(body.toString().split(' ')[0]) >= newest),
    );
    repeats.push(watcher.repeats() - repeatsBefore);
    assert.ok(repeats.at(-1)! <= REPEATS_MAX, `${repeats.at(-1)} came twice in the end`);
    checkArrivals(watcher);
    const arrived = new Set(watcher.events.map(({ body }) => Number(body.toString().split(' ')[0])));
    const missing = acknowledged.filter((number) => !arrived.has(number));
    assert.deepEqual(missing, [], 'acknowledged and never delivered');
    // The lanes' order is the order of acceptance.
    for (const lane of [0, 10]) {
      const numbers = watcher.firstSights().filter((event) => event.lane === lane);
      const values = numbers.map(({ body }) => Number(body.toString().split(' ')[0]));
      assert.deepEqual(
        values,
        values.toSorted((a, b) => a - b),
      );
    }
    context.diagnostic(
      `${kills} kills (seed ${seed}): ${acknowledged.length} acknowledged, ${accepted} accepted, ${arrivedBefore} arrived before ` +
        `the last life; repeats a life ${repeats.join(' ')}; pending after each kill ${pending.join(' ')}`,
    );
  } finally {
    await watcher.end();
    await gate.close();
    await mosquitto.end();
  }
}

test('killed at random moments, broker up and down: nothing acknowledged is missing, order holds, repeats are bounded', (context) =>
  killed(context, LONG ? 50 : 4, { protocol: '5', write: 'always' }, SEED));

test('the same where only what the upstream does not take at once is written', (context) =>
  killed(context, LONG ? 50 : 4, { protocol: '5', write: 'when-needed' }, SEED));

if (LONG) {
  test('the same over MQTT 3.1.1', (context) => killed(context, 50, { protocol: '3.1.1', write: 'always' }, SEED));
}

test('killed while it drains a backlog: what comes again is bounded by the window and 1,000', async (context) => {
  // Answers late, so that a kill finds the drain in full flow rather than at its end.
  const broker = await startRogueBroker({
    onPublish: (connection, { messageId }) => void setTimeout(() => connection.puback(messageId!), 10),
  });
  const dataDir = join(scratch(), 'data');
  mkdirSync(dataDir);
  const options = { dataDir, protocol: '5', write: 'always', window: WINDOW } as const;
  const repeats: number[] = [];
  const names = new Set<string>();
  const last = new Map<number, number>();
  let counted = 0;
  try {
    const feeder = new Victim({ ...options, url: 'mqtt://127.0.0.1:1', from: 0 });
    const enough = LONG ? 40_000 : 10_000;
    await feeder.until('a backlog', ({ acknowledged }) => acknowledged.length >= enough);
    await feeder.end('SIGKILL');
    const backlog = await audit(dataDir);
    while (names.size < backlog) {
      const victim = new Victim({ ...options, url: broker.url, from: null });
      const goal = counted + 2500;
      await broker.until('2,500 more, or the rest', ({ events }) => {
        for (; counted < events.length; counted++) {
          const { lane, seq } = events[counted]!;
          const name = `${lane} ${seq}`;
          if (names.has(name)) continue;
          assert.equal(seq, (last.get(lane!) ?? 0) + 1, 'first sights out of order, or a gap');
          last.set(lane!, seq);
          names.add(name);
        }
        return counted >= goal || names.size >= backlog;
      });
      await victim.end('SIGKILL');
      await audit(dataDir);
      const again = counted - names.size - repeats.reduce((a, b) => a + b, 0);
      repeats.push(again);
      assert.ok(again <= REPEATS_MAX, `${again} came twice`);
    }
    assert.equal(names.size, backlog);
    assert.ok(repeats.length >= 4, `${repeats.length} kills`);
    context.diagnostic(`${backlog} messages, repeats a kill ${repeats.join(' ')}`);
  } finally {
    await broker.end();
  }
});

test('the bundle with simulated sensors, killed: order holds, repeats are bounded, the account stays even', async (context) => {
  const random = chance(Date.now());
  const mosquitto = await startMosquitto();
  const watcher = await startWatcher({ url: mosquitto.url, qos: 0 });
  const dir = scratch();
  const yaml = `
gateway: { id: line-4, profile: simulated, dataDir: ${dir}/data }
upstream: { url: ${mosquitto.url}, window: ${WINDOW}, reconnect: { minSecs: 0.01, maxSecs: 0.1 } }
storeAndForward: { commitEveryMs: 50 }
children:
${[1, 2, 3, 4].map((n) => `  - { id: press-${n}, simulated: { sendIntervalMs: 2, messageCount: -1 } }`).join('\n')}
`;
  const repeats: number[] = [];
  try {
    for (let life = 0; life < (LONG ? 12 : 2); life++) {
      const gateway = await startGateway({ dir, yaml });
      const seen = watcher.events.length;
      await watcher.until('some messages', ({ events }) => events.length > seen + 100);
      await sleep(random() * 300);
      await gateway.kill();
      await audit(join(dir, 'data'));
      const again = watcher.repeats() - repeats.reduce((a, b) => a + b, 0);
      assert.ok(again <= REPEATS_MAX, `${again} came twice`);
      repeats.push(again);
    }
    const gateway = await startGateway({ dir, yaml });
    const seen = watcher.events.length;
    await watcher.until('more messages', ({ events }) => events.length > seen + 200);
    assert.equal(await gateway.stop(), 0);
    await audit(join(dir, 'data'));
    checkArrivals(watcher);
    assert.equal(watcher.firstSights()[0]!.seq, 1);
    context.diagnostic(`${watcher.events.length} arrivals, repeats a life ${repeats.join(' ')}`);
  } finally {
    await watcher.end();
    await mosquitto.end();
  }
});
