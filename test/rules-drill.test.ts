import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GatewayStatus, Listed } from '../src/health/status.ts';
import type { Peeked } from '../src/health/shown.ts';
import type { SpoolStats } from '../src/spool/stats.ts';
import { holdfast } from './parts/command.ts';
import { openGate } from './parts/gate.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';
import { startWatcher, type Arrival } from './parts/watcher.ts';

/** The published query, but for the length of its window, ms: so that there are several in an outage that a test can wait for. */
const WINDOW_MS = 1000;
const HOT = 30;
const INTERVAL_MS = 20;
/** What the sensor says next after a reset: 21 degrees C, and at most so much more (see SimulatedDriver). */
const COOL_MAX = 22.25;
const RESETS_BEFORE = 2;
const RESETS_AWAY = 3;
/** Most that one look at the spool brings. */
const PEEK_MAX = '1000';

function isReset(event: { readonly module: string | null }): boolean {
  return event.module === 'cooldown';
}

function maxEventTime(event: Arrival): string {
  return (JSON.parse(event.body.toString()) as { maxEventTime: string }).maxEventTime;
}

function reading({ body }: Arrival): { readonly temperature: number; readonly at: number } {
  const { machine, timeCreated } = JSON.parse(body.toString()) as {
    machine: { temperature: number };
    timeCreated: string;
  };
  return { temperature: machine.temperature, at: Date.parse(timeCreated) };
}

/** Without the engine: which windows were hot, by their end, and the last reading in each, ms. A window has its end, not its start. */
function hotWindows(readings: readonly Arrival[]): { readonly end: number; readonly last: number }[] {
  const windows = new Map<number, { sum: number; count: number; last: number }>();
  for (const { temperature, at } of readings.map(reading)) {
    const end = Math.ceil(at / WINDOW_MS) * WINDOW_MS;
    const window = windows.get(end) ?? { sum: 0, count: 0, last: 0 };
    windows.set(end, { sum: window.sum + temperature, count: window.count + 1, last: Math.max(window.last, at) });
  }
  return [...windows].filter(([, { sum, count }]) => sum / count > HOT).map(([end, { last }]) => ({ end, last }));
}

test('a rule cools a hot sensor, without a network too; its stored resets arrive later, in order, each as it was and once', async (context) => {
  const mosquitto = await startMosquitto({ persistence: true });
  // Opens when the watcher is back: what a broker takes while nobody is subscribed is not ours to answer for.
  const gate = await openGate(mosquitto.port);
  const watcher = await startWatcher({ url: mosquitto.url });
  const dir = scratch();
  const gateway = await startGateway({
    dir,
    yaml: `
gateway: { id: line-4, profile: simulated, dataDir: ${dir}/data }
upstream: { url: ${gate.url}, reconnect: { minSecs: 0.05, maxSecs: 0.2 } }
routes:
  up: FROM /messages/* INTO $upstream
  heat: FROM /messages WHERE $connectionDeviceId = 'press-1' INTO BrokeredEndpoint("/modules/cooldown/inputs/input")
modules:
  - id: cooldown
    query: |
      SELECT 'reset' AS command, Max(timeCreated) as maxEventTime
      INTO output FROM input TIMESTAMP BY timeCreated
      GROUP BY TumblingWindow(millisecond, ${WINDOW_MS}) HAVING Avg(machine.temperature) > ${HOT}
    outputs: { output: [ { command: press-1 } ] }
children:
  - { id: press-1, simulated: { sendIntervalMs: ${INTERVAL_MS}, messageCount: -1 } }
`,
  });
  const json = async <T>(...args: string[]): Promise<T> => {
    const { code, stdout, stderr } = await holdfast([...args, '-c', gateway.config, '--json']);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as T;
  };
  const resetsGiven = async () => {
    const module = (await json<Listed[]>('list')).find((listed) => listed.type === 'module');
    assert.ok(module !== undefined && module.fault === undefined && module.wordless === 0, JSON.stringify(module));
    return module.out;
  };
  const waiting = async () => (await json<Peeked[]>('spool', 'peek', '-n', PEEK_MAX)).filter(isReset);
  const resets = () => watcher.firstSights().filter(isReset);
  try {
    await watcher.until('resets to arrive', () => resets().length >= RESETS_BEFORE);

    const from = gateway.log.length;
    await mosquitto.stop();
    await gateway.waitForLog(/connection to .* lost/, from);
    await gate.close();
    const atCut = await resetsGiven();
    // What was on the way when the broker went may come twice; what is given from now on may not.
    const cutAt = Date.now();
    const kept = await until('resets without a network', async () => {
      const found = (await waiting()).filter(({ acceptedAt }) => Date.parse(acceptedAt) > cutAt);
      return found.length >= RESETS_AWAY ? found : null;
    });
    assert.ok((await resetsGiven()) >= atCut + kept.length);
    const { upstream } = await json<GatewayStatus>('status');
    assert.notEqual(upstream!.state, 'online');
    const seenAway = resets().length;

    await mosquitto.start();
    await watcher.whenSubscribed(2);
    await gate.open();
    const stored = () => watcher.events.filter(({ id }) => kept.some((each) => each.id === id));
    await watcher.until('the first stored reset', () => stored().length > 0);
    const first = performance.now();
    await watcher.until('all stored resets', () => new Set(stored().map(({ id }) => id)).size === kept.length);
    const burstMs = performance.now() - first;
    // As they were written down, in that order, and with the number that they had; none a second time.
    const told = ({ id, seq, eventTime }: Arrival | Peeked) => ({ id, seq, eventTime });
    assert.deepEqual(stored().map(told), kept.map(told));
    assert.deepEqual(
      stored().map(({ body }) => JSON.parse(body.toString()) as unknown),
      kept.map(({ body }) => body),
    );
    const spanMs = Date.parse(kept.at(-1)!.eventTime!) - Date.parse(kept[0]!.eventTime!);
    assert.ok(spanMs >= (RESETS_AWAY - 1) * WINDOW_MS && burstMs < spanMs / 2, `${spanMs} ms of them in ${burstMs} ms`);

    const before = resets().length;
    await watcher.until('a reset with the network', () => resets().length > before);
    const out = await resetsGiven();
    await watcher.until('those given by then', () => resets().length >= out);
    assert.equal(await gateway.stop(), 0);

    // Each number once in the account, which is even; what was delivered is what arrived.
    const { ledger, lanes } = await json<SpoolStats>('spool', 'stats');
    const left = await json<Peeked[]>('spool', 'peek', '-n', PEEK_MAX);
    const sights = watcher.firstSights();
    assert.deepEqual([ledger.dropped, ledger.refused, ledger.deadLetters, ledger.pending], [{}, {}, 0, left.length]);
    assert.equal(ledger.accepted, ledger.delivered + ledger.pending);
    const numbers = new Set([...sights, ...left].map(({ seq }) => seq));
    assert.deepEqual([numbers.size, lanes.length, lanes[0]!.nextSeq], [ledger.accepted, 1, ledger.accepted + 1]);
    assert.deepEqual([watcher.gaps(), watcher.outOfOrder(), watcher.contradictions()], [[], [], []]);
    assert.deepEqual(watcher.losses, []);

    // The rule did what it says, in the outage as before and after it: worked out again from all readings.
    const readings = sights.filter((event) => !isReset(event));
    const closedBy = reading(readings.at(-1)!).at;
    const given = resets()
      .map((event) => ({ end: Date.parse(event.eventTime!), last: Date.parse(maxEventTime(event)) }))
      .filter(({ end }) => end < closedBy);
    assert.deepEqual(
      given,
      hotWindows(readings).filter(({ end }) => end < closedBy),
    );
    assert.ok(given.length >= RESETS_BEFORE + RESETS_AWAY + 1);
    // And it worked at once: hot before each reset, cool in the very next reading.
    for (const { seq } of resets()) {
      const after = readings.find((event) => event.seq > seq);
      const hot = readings.findLast((event) => event.seq < seq && reading(event).temperature > HOT);
      if (after === undefined) continue;
      assert.ok(reading(after).temperature <= COOL_MAX, `${reading(after).temperature} after reset ${seq}`);
      assert.ok(hot !== undefined && seq - hot.seq <= 2, `nothing hot right before reset ${seq}`);
    }
    context.diagnostic(
      `${seenAway} resets arrived before the outage ended, ${kept.length} waited in it and came within ${Math.round(burstMs)} ms, ` +
        `${given.length} in all of ${readings.length} readings`,
    );
  } finally {
    await gateway.kill();
    await watcher.end();
    await gate.close();
    await mosquitto.end();
  }
});
