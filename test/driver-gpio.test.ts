import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { GpioDriver, type GpioOptions } from '../src/drivers/gpio.ts';
import type { Level } from '../src/drivers/gpio-line.ts';
import { type OnoffGpio, sysfsWay } from '../src/drivers/gpio-sysfs.ts';
import { Recorder } from './driver-rig.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { until } from './parts/until.ts';

/*
 * This machine has no GPIO chip, and the package onoff cannot be pointed elsewhere than /sys/class/gpio: so here is a stand-in
 * that treats our side as onoff 6 does, its flaws included. Real edges are for the machine with a real chip (test/hil).
 */

const NUMBER = 529;
let root: string;
let clock: ManualClock;
let heard: Recorder;
/** The voltage at the pin, 1 high; undefined: the chip is gone. */
let pin: Level | undefined;
let made: FakeGpio[];
let refuse: string | undefined;

class FakeGpio implements OnoffGpio {
  readonly number: number;
  readonly options: { debounceTimeout: number; activeLow: boolean };
  readonly #edge: string;
  #direction: string;
  #watchers: ((error: Error | null | undefined, level: Level) => void)[] = [];
  exported = true;

  constructor(
    number: number,
    direction: string,
    edge: string,
    options: { debounceTimeout: number; activeLow: boolean },
  ) {
    if (refuse !== undefined) throw new Error(refuse);
    this.number = number;
    this.options = options;
    this.#edge = edge;
    this.#direction = direction === 'in' ? 'in' : 'out';
    // high and low are voltages, whatever active-low says.
    if (direction !== 'in') pin = direction === 'high' ? 1 : 0;
    made.push(this);
  }

  /** How often the level was read through the descriptor that tells of edges. */
  reads = 0;

  readSync(): Level {
    this.reads++;
    return this.level();
  }

  level(): Level {
    if (!this.exported) throw Object.assign(new Error('EBADF: bad file descriptor, read'), { code: 'EBADF' });
    if (pin === undefined) throw Object.assign(new Error('ENODEV: no such device, read'), { code: 'ENODEV' });
    return this.options.activeLow ? (pin === 1 ? 0 : 1) : pin;
  }

  writeSync(level: Level): void {
    this.readSync();
    pin = this.options.activeLow ? (level === 1 ? 0 : 1) : level;
  }

  watch(callback: (error: Error | null | undefined, level: Level) => void): void {
    this.#watchers.push(callback);
  }

  unwatchAll(): void {
    this.#watchers = [];
  }

  direction(): string {
    return this.#direction;
  }

  edge(): string {
    return this.#edge;
  }

  unexport(): void {
    this.unwatchAll();
    this.exported = false;
  }

  /** What onoff does on an interrupt, or when a debounce is over: reads, and calls those that want such a level. */
  interrupt(): void {
    const level = this.readSync();
    const wanted = this.#edge === 'both' || this.#edge === (level === 1 ? 'rising' : 'falling');
    if (wanted) for (const watcher of this.#watchers.slice()) watcher(null, level);
  }
}

function gpio(change: Partial<GpioOptions> = {}): GpioDriver {
  const options: GpioOptions = {
    line: { name: 'GPIO17', chip: 'pinctrl-bcm2711', offset: 17 },
    direction: 'in',
    edge: 'both',
    debounceMs: 0,
    activeLow: false,
    bias: 'as-is',
    initial: 0,
    duration: false,
    ...change,
  };
  const sysfs = sysfsWay({
    root,
    gpioClass: async () => FakeGpio,
    openLevel: () => ({ read: () => line().level(), close: () => {} }),
  });
  return new GpioDriver(options, heard.context(clock), sysfs);
}

/** The only line that was opened. */
function line(): FakeGpio {
  const latest = made.at(-1);
  assert.ok(latest);
  return latest;
}

function edge(level: Level): void {
  pin = level;
  line().interrupt();
}

/** As a kernel does after a write to `export`. */
function makeLineFolder(): void {
  const folder = join(root, `gpio${NUMBER}`);
  mkdirSync(folder);
  for (const file of ['value', 'direction', 'active_low', 'edge']) writeFileSync(join(folder, file), '');
}

const values = (): unknown[] =>
  heard.readings.map(({ body, properties }) => [
    (JSON.parse(body.toString()) as { value: Level }).value,
    ...(properties?.coalesced === 'true' ? ['coalesced'] : []),
  ]);

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'holdfast-gpio-'));
  const chip = join(root, 'gpiochip512');
  mkdirSync(chip);
  for (const [file, text] of [
    ['label', 'pinctrl-bcm2711'],
    ['base', '512'],
    ['ngpio', '58'],
  ] as const) {
    writeFileSync(join(chip, file), `${text}\n`);
  }
  writeFileSync(join(root, 'export'), '');
  writeFileSync(join(root, 'unexport'), '');
  makeLineFolder();
  clock = new ManualClock();
  heard = new Recorder();
  pin = 0;
  made = [];
  refuse = undefined;
});

afterEach(() => rmSync(root, { recursive: true }));

test('an input gives its level at start, and then each edge with its time', async () => {
  const driver = gpio();
  await driver.start();
  assert.equal(line().number, NUMBER);
  clock.advance(250);
  edge(1);
  edge(0);
  assert.deepEqual(
    heard.readings.map(({ body, measuredAt, contentType, properties }) => [
      body.toString(),
      measuredAt,
      contentType,
      properties,
    ]),
    [
      ['{"line":"GPIO17","value":0}', 3_600_000, 'application/json', undefined],
      ['{"line":"GPIO17","value":1}', 3_600_250, 'application/json', undefined],
      ['{"line":"GPIO17","value":0}', 3_600_250, 'application/json', undefined],
    ],
  );
  await driver.stop();
  assert.deepEqual([line().exported, clock.timers], [false, 0]);
});

test('debounce and active-low are given to onoff', async () => {
  pin = 1;
  await gpio({ debounceMs: 20, activeLow: true }).start();
  assert.deepEqual(line().options, { debounceTimeout: 20, activeLow: true });
  assert.deepEqual(values(), [[0]]);
});

test('an edge back to the level that was known stands for a pulse that nobody saw', async () => {
  await gpio().start();
  edge(0);
  assert.deepEqual(values(), [[0], [0, 'coalesced']]);
});

test('a debounced line that is back at its level only bounced', async () => {
  await gpio({ debounceMs: 20 }).start();
  edge(0);
  assert.deepEqual(values(), [[0]]);
});

test('a debounced line tells no edge of the asked kind when it is back at its level', async () => {
  pin = 1;
  await gpio({ edge: 'rising', debounceMs: 20 }).start();
  edge(1);
  assert.deepEqual(values(), [[1]], 'a short low in between');
  edge(0);
  assert.deepEqual(values(), [[1]], 'falling was not asked for');
  edge(1);
  assert.deepEqual(values(), [[1], [1]]);
  pin = 0;
  clock.advance(5_000);
  pin = 1;
  clock.advance(5_000);
  assert.deepEqual(values(), [[1], [1], [1, 'coalesced']]);
});

test('an edge that never came is noticed by looking', async () => {
  await gpio().start();
  pin = 1;
  clock.advance(1_000);
  assert.deepEqual(values(), [[0]], 'its edge may still be on the way');
  clock.advance(1_000);
  assert.deepEqual(values(), [[0], [1, 'coalesced']]);
  clock.advance(10_000);
  assert.equal(values().length, 2);
});

test('looking and the command read leave the descriptor that tells of edges alone', async () => {
  const driver = gpio();
  await driver.start();
  const { reads } = line();
  pin = 1;
  clock.advance(10_000);
  assert.deepEqual(await driver.command('read', null), { status: 200, payload: { value: 1 } });
  assert.equal(line().reads, reads);
});

test('an edge that comes late is not taken for a lost one', async () => {
  await gpio().start();
  pin = 1;
  clock.advance(1_000);
  line().interrupt();
  clock.advance(10_000);
  assert.deepEqual(values(), [[0], [1]]);
});

test('with edge rising, only rising edges are readings', async () => {
  await gpio({ edge: 'rising' }).start();
  edge(1);
  edge(0);
  clock.advance(5_000);
  edge(1);
  pin = 0;
  clock.advance(5_000);
  pin = 1;
  clock.advance(5_000);
  assert.deepEqual(values(), [[0], [1], [1], [1, 'coalesced']]);
});

test('with edge none, the level comes at start and on command read', async () => {
  const driver = gpio({ edge: 'none' });
  await driver.start();
  pin = 1;
  clock.advance(5_000);
  assert.deepEqual(values(), [[0]]);
  assert.deepEqual(await driver.command('read', null), { status: 200, payload: { value: 1 } });
  assert.deepEqual(values(), [[0], [1]]);
});

test('a chip that goes away is noticed by looking', async () => {
  for (const direction of ['in', 'out'] as const) {
    heard = new Recorder();
    pin = 0;
    const driver = gpio({ direction });
    await driver.start();
    pin = undefined;
    clock.advance(1_000);
    assert.match(String(heard.failures[0]), /GPIO17 \(pinctrl-bcm2711 line 17\): ENODEV/);
    await driver.stop();
  }
});

test('a chip that goes away during an edge does not throw out of the native callback', async () => {
  const driver = gpio();
  await driver.start();
  pin = undefined;
  assert.doesNotThrow(() => line().interrupt());
  line().interrupt();
  assert.equal(heard.failures.length, 1);
  assert.deepEqual(values(), [[0]]);
  await driver.stop();
});

test('a debounce that ends after the line was released reads nothing', async () => {
  const driver = gpio({ debounceMs: 20 });
  await driver.start();
  await driver.stop();
  assert.doesNotThrow(() => line().interrupt());
  assert.deepEqual([values(), heard.failures], [[[0]], []]);
});

test('an output starts at its initial level without a glitch, in the logical sense', async () => {
  for (const [initial, activeLow, voltage] of [
    [0, false, 0],
    [1, false, 1],
    [0, true, 1],
    [1, true, 0],
  ] as const) {
    const driver = gpio({ direction: 'out', initial, activeLow });
    await driver.start();
    assert.equal(pin, voltage);
    assert.deepEqual(await driver.command('read', null), { status: 200, payload: { value: initial } });
    await driver.stop();
  }
  assert.deepEqual(values(), []);
});

test('an output is set and toggled', async () => {
  const driver = gpio({ direction: 'out' });
  await driver.start();
  for (const [payload, value] of [
    [1, 1],
    [0, 0],
    [true, 1],
    [false, 0],
    [{ value: 1 }, 1],
    [{ value: false }, 0],
  ] as const) {
    assert.deepEqual(await driver.command('set', payload), { status: 200, payload: { value } });
    assert.equal(pin, value);
  }
  assert.deepEqual(await driver.command('toggle', null), { status: 200, payload: { value: 1 } });
  assert.deepEqual(await driver.command('toggle', null), { status: 200, payload: { value: 0 } });
  for (const bad of [2, '1', null, {}, { value: 'on' }, [1]])
    assert.equal((await driver.command('set', bad)).status, 400);
  assert.equal((await driver.command('blink', null)).status, 404);
});

test('a pulse goes to the other level and back, and answers then', async () => {
  const driver = gpio({ direction: 'out' });
  await driver.start();
  const pulse = driver.command('pulse', { ms: 300 });
  assert.equal(pin, 1);
  clock.advance(299);
  assert.equal(pin, 1);
  assert.equal((await driver.command('set', 0)).status, 409);
  clock.advance(1);
  assert.equal(pin, 0);
  assert.deepEqual(await pulse, { status: 200, payload: { value: 0 } });
  for (const bad of [null, 5, {}, { ms: 0 }, { ms: 10_001 }, { ms: Number.NaN }]) {
    assert.equal((await driver.command('pulse', bad)).status, 400);
  }
});

test('a stop during a pulse puts the level back first', async () => {
  const driver = gpio({ direction: 'out' });
  await driver.start();
  const pulse = driver.command('pulse', { ms: 300 });
  await driver.stop();
  assert.equal(pin, 0);
  assert.equal((await pulse).status, 503);
  assert.equal(clock.timers, 0);
});

test('an input cannot be set, and a line that is not open answers 503', async () => {
  const driver = gpio();
  assert.equal((await driver.command('read', null)).status, 503);
  await driver.start();
  assert.equal((await driver.command('set', 1)).status, 404);
  pin = undefined;
  assert.equal((await driver.command('read', null)).status, 500);
  assert.equal(heard.failures.length, 1);
});

test('a line is exported, waited for without blocking, and only then opened', async () => {
  rmSync(join(root, `gpio${NUMBER}`), { recursive: true });
  const starting = gpio().start();
  while (readFileSync(join(root, 'export'), 'utf8') !== '529') await settle();
  await clock.flow(1_000);
  assert.equal(made.length, 0);
  makeLineFolder();
  await until('the line to be opened', async () => {
    // About as fast as the world's: its patience is by this clock, and looking at files is not.
    await clock.flow(10);
    return made.length > 0;
  });
  await starting;
  assert.deepEqual(values(), [[0]]);
});

test('a line whose files never become ours is given up, and given back', async () => {
  rmSync(join(root, `gpio${NUMBER}`), { recursive: true });
  const starting = assert.rejects(gpio().start(), /GPIO17 .*no permission for .*gpio529: .*group gpio/);
  const over = { yet: false };
  void starting.then(() => {
    over.yet = true;
  });
  while (!over.yet) await clock.flow(100);
  await starting;
  assert.equal(readFileSync(join(root, 'unexport'), 'utf8'), '529');
});

test('a stop while a line waits for its files gives the line back before it answers', async () => {
  rmSync(join(root, `gpio${NUMBER}`), { recursive: true });
  const driver = gpio();
  const starting = assert.rejects(driver.start());
  while (readFileSync(join(root, 'export'), 'utf8') !== '529') await settle();
  await clock.flow(100);
  const over = { yet: false };
  const stopping = driver.stop().then(() => {
    over.yet = true;
  });
  while (!over.yet) await clock.flow(20);
  assert.equal(readFileSync(join(root, 'unexport'), 'utf8'), '529');
  assert.deepEqual([made.length, clock.timers], [0, 0]);
  await Promise.all([starting, stopping]);
});

test('what onoff refuses is told with the name of the line', async () => {
  refuse = 'EIO: i/o error, write';
  await assert.rejects(gpio().start(), /GPIO17 \(pinctrl-bcm2711 line 17\): EIO/);
  refuse = undefined;
  await assert.rejects(
    gpio({ line: { name: 'GPIO99', chip: 'pinctrl-bcm2711', offset: 99 } }).start(),
    /GPIO99 .*has lines 0 to 57, not 99/,
  );
  assert.ok(existsSync(root));
});
