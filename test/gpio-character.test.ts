import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { characterWay } from '../src/drivers/gpio-character.ts';
import { GpioDriver, type GpioOptions } from '../src/drivers/gpio.ts';
import * as uapi from '../src/drivers/gpio-ioctl.ts';
import type { OpenLine } from '../src/drivers/gpio-line.ts';
import { eitherWay } from '../src/drivers/gpio-ways.ts';
import { Recorder } from './driver-rig.ts';
import { ManualClock } from './manual-clock.ts';
import { CharacterChip } from './parts/character-chip.ts';

/*
 * The character device's part of the GPIO driver, on a chip that is none: what a chip in the virtual machine (test/hil) cannot
 * be made to do. The structures themselves are compared with a C compiler's in gpio-ioctl.test.ts.
 */

const CHIP = 'pinctrl-bcm2711';
let chip: CharacterChip;
let clock: ManualClock;
let heard: Recorder;

beforeEach(() => {
  chip = new CharacterChip(CHIP);
  clock = new ManualClock();
  heard = new Recorder();
});

function gpio(change: Partial<GpioOptions> = {}, open?: OpenLine, afterFailure = false): GpioDriver {
  const options: GpioOptions = {
    line: { name: 'GPIO17', chip: CHIP, offset: 17 },
    direction: 'in',
    edge: 'both',
    debounceMs: 0,
    activeLow: false,
    bias: 'as-is',
    initial: 0,
    duration: false,
    ...change,
  };
  return new GpioDriver(options, { ...heard.context(clock), afterFailure }, open ?? characterWay(() => chip.kernel));
}

/** Bodies and properties of what was told. */
function told(): unknown[] {
  return heard.readings.map(({ body, properties }) => {
    const { line: _, ...rest } = JSON.parse(body.toString()) as Record<string, unknown>;
    return properties === undefined ? rest : { ...rest, ...properties };
  });
}

describe('edges', () => {
  test("have the kernel's own time, and those that it could not keep are counted by their numbers", async () => {
    await gpio().start();
    chip.edge(1, 5_000);
    chip.edge(0, 5_001);
    chip.edge(1, 5_007, 3);
    chip.edge(1, 5_009, 1);
    chip.wake();
    assert.deepEqual(told(), [
      { value: 0 },
      { value: 1 },
      { value: 0 },
      { value: 1, coalesced: 'true', lost: '3' },
      { value: 1, coalesced: 'true', lost: '1' },
    ]);
    assert.deepEqual(
      heard.readings.slice(1).map(({ measuredAt }) => measuredAt),
      [5_000, 5_001, 5_007, 5_009],
    );
  });

  test('that came while the line was opened are part of the level at the start', async () => {
    chip.edge(1, 4_000);
    chip.edge(0, 4_001);
    chip.edge(1, 4_002);
    await gpio().start();
    chip.wake();
    chip.edge(0, 4_500);
    chip.wake();
    assert.deepEqual(told(), [{ value: 1 }, { value: 0 }]);
  });

  test('are told some at a time, the rest when the thread that waits for them has its next turn', async () => {
    await gpio().start();
    for (let i = 0; i < 100; i++) chip.edge(i % 2 === 0 ? 1 : 0, 5_000 + i);
    chip.wake();
    assert.equal(heard.readings.length, 1 + 64);
    chip.wake();
    assert.equal(heard.readings.length, 1 + 100);
  });

  test('tell how long the level before them lasted, where that is known', async () => {
    await gpio({ duration: true }).start();
    chip.edge(1, 5_000);
    chip.edge(0, 5_250);
    chip.edge(1, 5_300, 2);
    chip.edge(0, 5_301);
    chip.wake();
    assert.deepEqual(told(), [
      { value: 0, heldMs: null },
      { value: 1, heldMs: null },
      { value: 0, heldMs: 250 },
      { value: 1, heldMs: null, coalesced: 'true', lost: '2' },
      { value: 0, heldMs: 1 },
    ]);
  });
});

describe('debounce', () => {
  test("is the kernel's, where it offers one", async () => {
    await gpio({ debounceMs: 20 }).start();
    assert.deepEqual([chip.asked.length, chip.asked[0]!.readUInt32LE(328)], [1, 20_000]);
    chip.edge(1, 5_000);
    chip.wake();
    assert.deepEqual(told(), [{ value: 0 }, { value: 1 }]);
  });

  test('is ours, where it does not: a level counts when it has held', async () => {
    chip.refuses.set(uapi.GET_LINE, 'ENOTSUPP');
    await gpio({ debounceMs: 20 }).start();
    for (const [i, level] of ([1, 0, 1, 0, 1] as const).entries()) {
      chip.edge(level, 5_000 + i);
      chip.wake();
      clock.advance(19);
    }
    assert.deepEqual(told(), [{ value: 0 }]);
    clock.advance(1);
    assert.deepEqual(told(), [{ value: 0 }, { value: 1 }]);
    // One that bounces back is none.
    chip.edge(0, 6_000);
    chip.edge(1, 6_001);
    chip.wake();
    clock.advance(100);
    assert.equal(told().length, 2);
    assert.equal(chip.asked.length, 2);
  });
});

describe('counting', () => {
  test('tells the edges of each interval, lost ones too, and what is left at a stop', async () => {
    const driver = gpio({ edge: 'rising', countEveryMs: 10_000 });
    await driver.start();
    assert.deepEqual(told(), []);
    chip.edge(1, 5_000);
    chip.edge(1, 5_001, 4);
    chip.wake();
    clock.advance(10_000);
    assert.deepEqual(told(), [{ count: 6, perSec: 0.6, total: 6, exact: true }]);
    chip.edge(1, 6_000);
    chip.wake();
    assert.deepEqual(await driver.command('read', null), { status: 200, payload: { value: 1, total: 7 } });
    clock.advance(5_000);
    driver.lastWords();
    await driver.stop();
    assert.deepEqual(told()[1], { count: 1, perSec: 0.2, total: 7, exact: true });
    assert.deepEqual([told().length, clock.timers, chip.open.size], [2, 0, 0]);
  });

  test('of both edges tells how long the level was 1, by their own times', async () => {
    const start = clock.monotonic();
    await gpio({ countEveryMs: 1_000 }).start();
    chip.edge(1, start + 100);
    chip.edge(0, start + 350);
    chip.edge(1, start + 900);
    chip.wake();
    clock.advance(1_000);
    clock.advance(1_000);
    chip.edge(0, start + 2_100, 2);
    chip.wake();
    clock.advance(1_000);
    clock.advance(1_000);
    assert.deepEqual(
      told().map((each) => (each as { count: number; activeMs: number | null }).activeMs),
      [350, 1_000, null, 0],
    );
  });
});

describe('what goes wrong', () => {
  test('a chip that goes away is said once, by those that wait for edges at once, and everything is given back', async () => {
    const driver = gpio();
    await driver.start();
    chip.edge(1, 5_000);
    chip.gone = true;
    chip.wake();
    assert.match(String(heard.failures), /GPIO17 \(pinctrl-bcm2711 line 17\): ENODEV/);
    assert.ok(!chip.isWatched, 'a chip that is gone is not waited for');
    await driver.stop();
    assert.deepEqual([heard.failures.length, chip.open.size], [1, 0]);
  });

  test('who uses a line is named', async () => {
    chip.consumer = 'spi0 CS0';
    await assert.rejects(gpio().start(), /GPIO17 .*: 'spi0 CS0' uses the line/);
    assert.equal(chip.open.size, 0);
  });

  test('what the chip cannot do is said in the words of the configuration', async () => {
    chip.refuses.set(uapi.GET_LINE, 'EINVAL');
    await assert.rejects(
      gpio({ edge: 'rising', bias: 'pull-up' }).start(),
      /the chip cannot have the line as an input with edge rising and bias pull-up \(EINVAL\)/,
    );
  });
});

describe('which way', () => {
  const sysfs: OpenLine = async () => ({
    through: 'sysfs number 529',
    countsEdges: false,
    levelAtOpen: 1,
    read: () => 1,
    write: () => {},
    release: () => {},
  });
  const never: OpenLine = async () => assert.fail('sysfs is not asked');
  const opened = (): string => heard.log.find(({ msg }) => msg.startsWith('open through'))?.msg ?? '';

  test('the character device, where it works', async () => {
    await gpio(
      {},
      eitherWay(
        characterWay(() => chip.kernel),
        never,
      ),
    ).start();
    assert.equal(opened(), 'open through /dev/gpiochip0');
  });

  test('sysfs, where it does not, and the log says why', async () => {
    const reasons: [RegExp, () => void][] = [
      [/there is no \/dev\/gpiochip\*/, () => (chip.gone = true)],
      [/no permission for \/dev\/gpiochip0/, () => (chip.forbidden = true)],
      [
        /of the first version \(before Linux 5\.10\)/,
        () => [uapi.GET_LINE, uapi.GET_LINE_INFO].forEach((call) => chip.refuses.set(call, 'EINVAL')),
      ],
      [/the line is exported in sysfs/, () => (chip.consumer = 'sysfs')],
    ];
    for (const [reason, spoil] of reasons) {
      chip = new CharacterChip(CHIP);
      heard = new Recorder();
      spoil();
      await gpio(
        {},
        eitherWay(
          characterWay(() => chip.kernel),
          sysfs,
        ),
      ).start();
      assert.match(opened(), /^open through sysfs number 529 \(not the character device: /);
      assert.match(opened(), reason);
      assert.deepEqual(told(), [{ value: 1 }]);
    }
    heard = new Recorder();
    const unloadable = characterWay(() => {
      throw new Error('no binary for this processor');
    });
    await gpio({}, eitherWay(unloadable, sysfs)).start();
    assert.match(opened(), /the C library cannot be called: no binary for this processor/);
  });

  test('a line that is wrong or taken is not tried twice', async () => {
    const either = eitherWay(
      characterWay(() => chip.kernel),
      never,
    );
    await assert.rejects(gpio({ line: { name: 'X', chip: 'no-such', offset: 1 } }, either).start(), /'no-such'/);
    chip.consumer = 'heartbeat';
    await assert.rejects(gpio({}, either).start(), /'heartbeat' uses the line/);
  });
});

describe('an output', () => {
  test('begins with its initial level; after a failure with its safe one; and is left safe', async () => {
    for (const [afterFailure, safe, begins, ends] of [
      [false, undefined, 1, 1],
      [false, 0, 1, 0],
      [true, 0, 0, 0],
      [true, undefined, 1, 1],
    ] as const) {
      chip = new CharacterChip(CHIP);
      const driver = gpio(
        { direction: 'out', edge: 'none', initial: 1, ...(safe === 0 && { safe }) },
        undefined,
        afterFailure,
      );
      await driver.start();
      assert.equal(chip.asked[0]!.readUInt32LE(328), begins);
      chip.level = begins;
      await driver.stop();
      assert.equal(chip.level, ends);
    }
  });
});
