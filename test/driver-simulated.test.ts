import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedDriver } from '../src/drivers/simulated.ts';
import { Recorder } from './driver-rig.ts';
import { chance } from './parts/chance.ts';
import { ManualClock } from './manual-clock.ts';

interface Body {
  machine: { temperature: number; pressure: number };
  ambient: { temperature: number; humidity: number };
  timeCreated: string;
}

/** A driver whose random source says `random` each time. */
async function started(messageCount: number, random: () => number = () => 0.5) {
  const clock = new ManualClock();
  const heard = new Recorder();
  const driver = new SimulatedDriver({ sendIntervalMs: 5_000, messageCount }, heard.context(clock), random);
  await driver.start();
  return { clock, heard, driver, bodies: () => heard.bodies() as Body[] };
}

test('a message goes out at start and then each interval, in the published form', async () => {
  const { clock, heard, bodies } = await started(-1);
  clock.advance(10_000);
  assert.deepEqual(bodies(), [
    {
      machine: { temperature: 21.5, pressure: 1 + (0.5 * 9) / 79 },
      ambient: { temperature: 21, humidity: 26 },
      timeCreated: '2026-01-01T00:00:00.000Z',
    },
    {
      machine: { temperature: 22, pressure: 1 + (1 * 9) / 79 },
      ambient: { temperature: 21, humidity: 26 },
      timeCreated: '2026-01-01T00:00:05.000Z',
    },
    {
      machine: { temperature: 22.5, pressure: 1 + (1.5 * 9) / 79 },
      ambient: { temperature: 21, humidity: 26 },
      timeCreated: '2026-01-01T00:00:10.000Z',
    },
  ]);
  const [first] = heard.readings;
  assert.deepEqual(
    [first?.contentType, first?.contentEncoding, first?.measuredAt],
    ['application/json', 'utf-8', 3_600_000],
  );
});

test('each step is between -0.25 and +1.25 degrees while it heats', async () => {
  for (const [random, step] of [
    [0, -0.25],
    [0.999999, 1.25],
  ] as const) {
    const { bodies } = await started(1, () => random);
    assert.ok(Math.abs((bodies()[0]?.machine.temperature ?? 0) - 21 - step) < 1e-5);
  }
});

test('it heats to 100 degrees and 10 of pressure, and stays about there', async () => {
  const { clock, bodies } = await started(-1, chance(2));
  clock.advance(5_000 * 2_000);
  const all = bodies();
  assert.ok(all.every(({ machine }) => machine.temperature >= 20 && machine.temperature < 125));
  assert.ok(all.slice(1_000).every(({ machine }) => machine.temperature > 75));
  for (const { machine } of all) {
    assert.ok(Math.abs(machine.pressure - (1 + ((machine.temperature - 21) * 9) / 79)) < 1e-9);
  }
  assert.ok(all.every(({ ambient }) => ambient.humidity >= 24 && ambient.humidity <= 27));
  assert.ok(all.every(({ ambient }) => Math.abs(ambient.temperature - 21) <= 0.5));
});

test('reset puts the temperature back to 21', async () => {
  const { clock, driver, bodies } = await started(-1);
  clock.advance(50_000);
  assert.deepEqual(await driver.command('reset'), { status: 200, payload: { temperature: 21 } });
  clock.advance(5_000);
  assert.equal(bodies().at(-1)?.machine.temperature, 21.5);
  assert.equal((await driver.command('explode')).status, 404);
});

test('after its message limit it is finished, and leaves no timer', async () => {
  const { clock, heard } = await started(500);
  clock.advance(5_000 * 498);
  assert.equal(heard.finished.length, 0);
  clock.advance(5_000 * 100);
  assert.equal(heard.readings.length, 500);
  assert.deepEqual(heard.finished, ['sent 500 messages']);
  assert.equal(clock.timers, 0);
});

test('a limit of none means none', async () => {
  const { heard } = await started(0);
  assert.deepEqual([heard.readings.length, heard.finished.length], [0, 1]);
});

test('stop leaves no timer, and start begins anew', async () => {
  const { clock, heard, driver, bodies } = await started(3);
  await driver.stop();
  assert.equal(clock.timers, 0);
  await driver.start();
  clock.advance(60_000);
  assert.equal(heard.readings.length, 4);
  assert.equal(bodies()[1]?.machine.temperature, 21.5);
});
