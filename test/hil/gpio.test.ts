import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { GpioOptions } from '../../src/drivers/gpio.ts';
import { until } from '../parts/until.ts';
import { DriverMachine } from './driver-machine.ts';
import { GuestChild } from './guest-child.ts';
import type { Way } from './guest.ts';
import { CHIP, NO_MACHINE } from './machine.ts';

/*
 * The GPIO driver on a real kernel's GPIO, with real edges: the product's driver, koffi, onoff and epoll run in an arm64
 * machine with a PL061 chip, and this file holds the far ends of its wires.
 */

const MS_PER_PULSE = 200;
const DEBOUNCE_MS = 200;
/** Between edges that the kernel is to see each. */
const SPACE_MS = 40;
/** An ordinary user in a group of the same number: the machine has no /etc/group. */
const GATEWAY = 990;

let vm: DriverMachine;
/** In which way lines are opened. */
let way: Way = 'either';
let open: GuestChild[] = [];

async function gpio(line: number, change: Partial<GpioOptions> = {}, afterCrash = false): Promise<GuestChild> {
  const child = await GuestChild.start(vm, line, change, way, afterCrash);
  open.push(child);
  return child;
}

/** An input or output that must run. */
async function running(line: number, change: Partial<GpioOptions> = {}): Promise<GuestChild> {
  const child = await gpio(line, change);
  assert.deepEqual([child.started.state, child.started.lastError], ['running', null]);
  return child;
}

/** What stands in /sys/class/gpio for lines: `gpio504`. */
async function exported(): Promise<string[]> {
  const names = (await vm.shell('ls /sys/class/gpio')).split('\n');
  return names.filter((name) => /^gpio\d+$/.test(name));
}

function untilExported(): Promise<string[]> {
  return until('a line to be exported', async () => {
    const lines = await exported();
    return lines.length > 0 && lines;
  });
}

/** For a test that shows that something does not happen; what happens is waited for. */
function pass(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

const { HOLDFAST_TEST_LONG, HOLDFAST_TEST_HIL } = process.env;
const skip =
  HOLDFAST_TEST_LONG === '1' || HOLDFAST_TEST_HIL === '1'
    ? NO_MACHINE
    : 'SKIP: the driver by itself on a real kernel runs in npm run test:hil and test:long; the whole gateway on it runs here';

describe('GPIO on a real kernel', { skip }, () => {
  before(async () => {
    vm = await DriverMachine.boot();
  });

  after(async () => {
    await vm?.end();
  });

  afterEach(async () => {
    for (const child of open) await child.stop();
    open = [];
    assert.deepEqual(await exported(), [], 'a stop gives every line back');
    for (let line = 0; line < 8; line++) await vm.pins.drive(line, 0);
    vm.pins.forget();
  });

  for (const each of ['character', 'sysfs'] as const) {
    describe(`a line by ${each === 'sysfs' ? 'sysfs' : 'the character device'}`, () => {
      before(() => (way = each));
      test('an input tells its level at start, low or high', async () => {
        await vm.pins.drive(1, 1);
        const [low, high] = [await running(0), await running(1)];
        assert.deepEqual([low.told(), high.told()], [[0], [1]]);
      });

      test('every edge is told, with the level after it and the time', async (t) => {
        const child = await running(0);
        const before = Number(await vm.shell('date +%s')) * 1_000;
        const begun = performance.now();
        await child.edges(1, 0, 1, 0, 1, 0);
        t.diagnostic(`6 of 6 edges, each told within ${Math.round((performance.now() - begun) / 6)} ms on average`);
        assert.deepEqual(child.told(), [0, 1, 0, 1, 0, 1, 0]);
        const times = child.readings().map(({ eventTime }) => eventTime);
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b),
        );
        assert.ok(times[1]! >= before && times.at(-1)! < before + 20_000);
      });

      test('two inputs do not mix up their edges', async () => {
        const [one, other] = [await running(0), await running(7)];
        await one.edges(1);
        await other.edges(1, 0);
        await one.edges(0, 1);
        assert.deepEqual(
          [one.told(), other.told()],
          [
            [0, 1, 0, 1],
            [0, 1, 0],
          ],
        );
      });

      test('with edge rising or falling only those edges are told', async () => {
        const [rising, falling] = [await running(0, { edge: 'rising' }), await running(1, { edge: 'falling' })];
        for (const child of [rising, falling]) {
          const first = child === rising ? 1 : 0;
          for (let round = 0; round < 3; round++) {
            if (child === falling) await vm.pins.drive(child.line, 1);
            // The next edge comes only when the machine has seen the one before.
            await pass(50);
            await child.edges(first);
            if (child === rising) await vm.pins.drive(child.line, 0);
            await pass(50);
          }
        }
        assert.deepEqual(
          [rising.told(), falling.told()],
          [
            [0, 1, 1, 1],
            [0, 0, 0, 0],
          ],
        );
      });

      test('with edge none the kernel makes no interrupts, and the level comes when asked for', async () => {
        const child = await running(0, { edge: 'none' });
        await vm.pins.drive(0, 1);
        assert.deepEqual(await child.command('read'), { status: 200, payload: { value: 1 } });
        assert.deepEqual(child.told(), [0, 1]);
      });

      test('a burst ends at the right level, and a loss that shows in the levels is marked', async (t) => {
        const child = await running(0);
        const voltages = Array.from({ length: 501 }, (_, i) => (i % 2 === 0 ? 1 : 0));
        const begun = performance.now();
        await vm.pins.drive(0, ...voltages);
        const ms = performance.now() - begun;
        await settled(child, 1);
        const told = child.told();
        const coalesced = told.filter(Array.isArray).length;
        t.diagnostic(
          `501 edges within ${Math.round(ms)} ms: ${told.length - 1} readings, ${coalesced} of them coalesced`,
        );
        honest(told);
      });

      test('reading the level at the moment of an edge does not swallow the edge', async () => {
        const child = await running(0);
        await whileNobodyWaitsForEdges(async () => {
          await vm.pins.drive(0, 1);
          assert.deepEqual(await child.command('read'), { status: 200, payload: { value: 1 } });
        });
        await child.untilTold(2);
        assert.deepEqual(child.told(), [0, 1], 'a reading that is marked was noticed by looking, a second late');
      });

      test('a bouncing contact is one reading, and one that bounces back to its level is none', async () => {
        const child = await running(0, { debounceMs: DEBOUNCE_MS });
        await bounce(0, 1, 0, 1, 0, 1);
        await child.untilTold(2);
        await bounce(0, 0, 1, 0, 1);
        await pass(3 * DEBOUNCE_MS);
        await bounce(0, 0, 1, 0);
        await child.untilTold(3);
        assert.deepEqual(child.told(), [0, 1, 0]);
      });

      test('a debounced input does not take a glitch for an edge, whichever edge is asked for', async () => {
        await vm.pins.drive(0, 1);
        const rising = await running(0, { edge: 'rising', debounceMs: DEBOUNCE_MS });
        const falling = await running(1, { edge: 'falling', debounceMs: DEBOUNCE_MS });
        // The rising line is high and the falling one low: each glitches to the other level and back.
        await bounce(0, 0, 1);
        await bounce(1, 1, 0);
        await pass(3 * DEBOUNCE_MS);
        assert.deepEqual([rising.told(), falling.told()], [[1], [0]]);
        // Both then change, for longer than the debounce, and change back.
        await vm.pins.drive(0, 0);
        await vm.pins.drive(1, 1);
        await pass(3 * DEBOUNCE_MS);
        await vm.pins.drive(0, 1);
        await vm.pins.drive(1, 0);
        await Promise.all([rising.untilTold(2), falling.untilTold(2)]);
        const told = [rising.told(), falling.told()];
        assert.deepEqual(told, [Array(2).fill(1), Array(2).fill(0)]);
      });

      test('with active-low a low voltage is 1, and rising means that the voltage falls', async () => {
        const both = await running(0, { activeLow: true });
        const rising = await running(1, { activeLow: true, edge: 'rising' });
        await both.edges(1, 0, 1);
        assert.deepEqual(both.told(), [1, 0, 1, 0]);
        await vm.pins.drive(1, 1);
        await pass(50);
        await rising.edges(0);
        assert.deepEqual(rising.told(), [1, 1]);
      });

      test('an output has its initial level from the first moment, in the logical sense', async () => {
        for (const [initial, activeLow, puts] of [
          [0, false, []],
          [1, false, [1]],
          [0, true, [1]],
          [1, true, []],
        ] as const) {
          const child = await running(4, { direction: 'out', initial, activeLow });
          assert.deepEqual(await child.command('read'), { status: 200, payload: { value: initial } });
          assert.deepEqual(wire(4), puts, JSON.stringify({ initial, activeLow }));
          // The chip keeps its last voltage when the line is given back; the next round begins at 0.
          await child.command('set', activeLow ? 1 : 0);
          await child.stop();
          vm.pins.forget();
        }
        assert.deepEqual(
          vm.readings.filter(({ child }) => child === 'child4'),
          [],
          'an output tells nothing',
        );
      });

      test('set and toggle change the voltage at the pin, and answer what was read back', async () => {
        const child = await running(4, { direction: 'out' });
        const answered: unknown[] = [];
        for (const payload of [1, 0, { value: true }]) answered.push(await child.command('set', payload));
        answered.push(await child.command('toggle'), await child.command('toggle'), await child.command('set', 0));
        assert.deepEqual(
          answered,
          [1, 0, 1, 0, 1, 0].map((value) => ({ status: 200, payload: { value } })),
        );
        assert.deepEqual(wire(4), [1, 0, 1, 0, 1, 0]);
      });

      test('with active-low set 1 pulls the pin low', async () => {
        const child = await running(4, { direction: 'out', activeLow: true });
        await child.command('set', 1);
        await child.command('toggle');
        assert.deepEqual(wire(4), [1, 0, 1]);
        await child.command('set', 1);
      });

      test('a pulse is seen at the pin, as long as it was asked for', async (t) => {
        const child = await running(4, { direction: 'out' });
        const answer = await child.command('pulse', { ms: MS_PER_PULSE });
        assert.deepEqual(answer, { status: 200, payload: { value: 0 } });
        await vm.pins.untilPut(2);
        assert.deepEqual(wire(4), [1, 0]);
        const [up, down] = vm.pins.puts;
        const ms = down!.at - up!.at;
        t.diagnostic(`a pulse of ${MS_PER_PULSE} ms was seen for ${Math.round(ms)} ms`);
        // A timer is never early by more than 1 ms; late it may be, as busy as the machine is.
        assert.ok(ms > MS_PER_PULSE - 10 && ms < MS_PER_PULSE * 4, String(ms));
      });

      test('an output with a safe state is left in it, and begins with it after a crash', async () => {
        const child = await running(4, { direction: 'out', initial: 1, safe: 0 });
        await child.stop();
        assert.deepEqual(wire(4), [1, 0]);
        vm.pins.forget();
        const after = await gpio(4, { direction: 'out', initial: 1, safe: 0 }, true);
        assert.deepEqual(await after.command('read'), { status: 200, payload: { value: 0 } });
        assert.deepEqual(wire(4), []);
        // A restart after a proper stop is a beginning like any other.
        await after.restart();
        assert.deepEqual(wire(4), [1]);
      });

      test('a stop during a pulse puts the voltage back', async () => {
        const child = await running(4, { direction: 'out' });
        const pulse = child.command('pulse', { ms: 10_000 });
        await vm.pins.untilPut(1);
        await child.stop();
        assert.equal((await pulse).status, 503);
        assert.deepEqual(wire(4), [1, 0]);
      });

      test('a label that is not there is refused with those that are, and a line past the end with the range', async () => {
        const label = await gpio(0, { line: { name: 'GPIO17', chip: 'pinctrl-bcm2711', offset: 17 } });
        assert.match(
          label.started.lastError ?? '',
          /^GPIO17 \(pinctrl-bcm2711 line 17\): no GPIO chip is labelled 'pinctrl-bcm2711'; this machine has '9030000.pl061'$/,
        );
        const offset = await gpio(1, { line: { name: 'PIN8', chip: CHIP, offset: 8 } });
        assert.match(offset.started.lastError ?? '', /has lines 0 to 7, not 8$/);
        assert.deepEqual([label.started.state, offset.started.state], ['waiting', 'waiting']);
      });

      test('a restart opens the line again, tells the level, and leaks no file', async () => {
        const child = await running(0);
        const files = await vm.ask('openFiles', {});
        for (let i = 0; i < 10; i++) await child.restart();
        await child.edges(1, 0);
        assert.deepEqual(child.told(), [...Array<number>(11).fill(0), 1, 0]);
        assert.deepEqual([(await child.snapshot()).restarts, await vm.ask('openFiles', {})], [10, files]);
      });

      test('a line that the kernel uses is refused, and had when the kernel has let go', async () => {
        // Line 3 is the machine's power button.
        await vm.shell('insmod /modules/gpio_keys.ko');
        const child = await gpio(3);
        assert.equal(child.started.state, 'waiting');
        const user = way === 'sysfs' ? 'the kernel or another program' : "'GPIO Key Poweroff'";
        assert.equal(child.started.lastError, `PIN3 (${CHIP} line 3): ${user} uses the line`);
        await vm.shell('rmmod gpio_keys');
        await child.untilState('running');
        await child.edges(1, 0);
        assert.deepEqual(child.told(), [0, 1, 0]);
      });

      test('a chip that goes away fails its inputs and outputs with a reason, and serves them when it is back', async (t) => {
        const input = await running(0);
        const output = await running(4, { direction: 'out' });
        const files = await vm.ask('openFiles', {});
        const begun = performance.now();
        await unplugged(async () => {
          for (const child of [input, output]) {
            const gone = new RegExp(
              `^PIN${child.line} .*: (ENODEV|there is no /dev/gpiochip|no GPIO chip is labelled '${CHIP}'; this machine has none)`,
            );
            const { lastError } = await child.untilState('waiting');
            assert.match(lastError ?? '', gone);
            if (child === input)
              t.diagnostic(`noticed after ${Math.round(performance.now() - begun)} ms: ${lastError}`);
            // Tried again, in vain, and said so.
            await child.untilState('waiting', ({ lastError: error }) =>
              /(this machine has none|no \/dev\/gpiochip\*)$/.test(error ?? ''),
            );
            assert.equal((await child.command('read')).status, 503);
          }
        });
        for (const child of [input, output]) await child.untilState('running');
        const told = input.told().length;
        await input.edges(1, 0);
        assert.deepEqual(input.told().slice(told), [1, 0]);
        assert.deepEqual(await output.command('set', 1), { status: 200, payload: { value: 1 } });
        await output.command('set', 0);
        assert.equal(await vm.ask('openFiles', {}), files);
      });
    });
  }

  describe('what only the character device can', () => {
    before(() => (way = 'character'));

    test('edges during a busy event loop are all told, in order and with their times', async () => {
      const child = await running(0);
      await vm.whileBusy(() => spaced(0, 1, 0, 1, 0, 1, 0));
      await child.untilTold(7);
      assert.deepEqual(child.told(), [0, 1, 0, 1, 0, 1, 0]);
      const times = child.readings().map(({ eventTime }) => eventTime);
      const gaps = times.slice(2).map((time, i) => time - times[i + 1]!);
      assert.ok(
        gaps.every((gap) => gap >= SPACE_MS / 2),
        `apart from each other as the edges were, not as they were read: ${gaps.join(', ')} ms`,
      );
    });

    test('more edges than the kernel keeps: what is lost is counted, exactly', async (t) => {
      // It keeps 1,024 for the product; here it is asked to keep the least that it will.
      way = 'character16';
      const child = await running(0);
      way = 'character';
      const before = await interrupts();
      await vm.whileBusy(() => spaced(0, ...Array.from({ length: 61 }, (_, i) => (i % 2 === 0 ? 1 : 0))));
      await child.untilTold(17);
      await settled(child, 1);
      const [edges, told] = [(await interrupts()) - before, child.told().length - 1];
      t.diagnostic(`61 edges, ${edges} seen by the kernel, ${told} told, ${child.lost()} told to be lost`);
      assert.deepEqual([told, child.lost()], [16, edges - 16]);
      honest(child.told());
    });

    test('a count is of all edges that the kernel saw, also while the event loop was busy', async (t) => {
      const child = await running(0, { edge: 'rising', countEveryMs: 1_000 });
      const before = await interrupts();
      await vm.whileBusy(() => spaced(0, ...Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 1 : 0))));
      await child.untilTold(2);
      const edges = (await interrupts()) - before;
      const [last] = child.counts().slice(-1);
      t.diagnostic(`10 pulses, ${edges} seen by the kernel: ${JSON.stringify(child.counts())}`);
      assert.deepEqual([last!.total, last!.exact], [edges, true]);
      // What was counted since the last count is told at a stop.
      const told = child.counts().length;
      await spaced(0, 1, 0, 1, 0);
      await child.stop();
      assert.ok(child.counts().length > told, 'the last count comes with the stop');
      assert.equal(child.counts().at(-1)!.total, edges + 2);
    });

    test("how long a level lasted is told by the kernel's stamps", async () => {
      const child = await running(0, { duration: true });
      await vm.whileBusy(async () => {
        const before = await interrupts();
        await vm.pins.drive(0, 1);
        // The kernel's stamp is from when it serves the interrupt.
        await until('the kernel to see the edge', async () => (await interrupts()) > before);
        await pass(300);
        await vm.pins.drive(0, 0);
        await pass(50);
      });
      await child.untilTold(3);
      const held = child.readings().map(({ body }) => (JSON.parse(body) as { heldMs: number | null }).heldMs);
      assert.deepEqual(held.slice(0, 2), [null, null]);
      assert.ok(held[2]! >= 295 && held[2]! < 2_000, `${held[2]} ms`);
    });
  });

  describe('what sysfs cannot', () => {
    before(() => (way = 'sysfs'));
    test('the kernel does not count its lines from 0, and a line is found by label and offset all the same', async (t) => {
      const base = Number(await vm.shell(`cat /sys/class/gpio/gpiochip*/base`));
      t.diagnostic(`${vm.hello}; ${await vm.shell('uname -r')}; chip '${CHIP}' has base ${base}`);
      assert.equal(await vm.shell('cat /sys/class/gpio/gpiochip*/label'), CHIP);
      assert.ok(base > 0);
      await running(5);
      assert.deepEqual(await exported(), [`gpio${base + 5}`]);
    });

    test('edges during a busy event loop become one reading; one that ends where it began is marked', async () => {
      const child = await running(0);
      await vm.whileBusy(() => vm.pins.drive(0, 1, 0, 1));
      await child.untilTold(2);
      await vm.whileBusy(() => vm.pins.drive(0, 0, 1, 0, 1));
      await child.untilTold(3);
      assert.deepEqual(child.told(), [0, 1, [1, 'coalesced']]);
    });

    test('most edges are told when they are 10 ms apart, and a loss that shows in the levels is marked', async (t) => {
      const child = await running(0);
      const count = 100;
      let told = 0;
      for (let i = 0; i < count; i++) {
        await vm.pins.drive(0, i % 2 === 0 ? 1 : 0);
        await pass(10);
      }
      await settled(child, 0);
      told = child.readings().length - 1;
      t.diagnostic(`${told} of ${count} edges`);
      honest(child.told());
      // A neighbour on this machine may hold the guest up for longer than that now and then.
      assert.ok(told >= count / 2, `${told} of ${count}`);
    });

    test('a bias is refused', async () => {
      const child = await gpio(0, { bias: 'pull-up' });
      assert.match(child.started.lastError ?? '', /bias pull-up needs the character device: sysfs cannot set it$/);
    });
  });

  describe('a line by whichever way works', () => {
    before(() => (way = 'either'));

    test('the character device is preferred', async () => {
      const child = await running(0);
      assert.deepEqual(await exported(), []);
      await child.edges(1, 0);
    });
    test('a line that was left exported, as an output, by a process that died is taken over', async () => {
      const number = Number(await vm.shell('cat /sys/class/gpio/gpiochip*/base')) + 2;
      await vm.shell(
        `cd /sys/class/gpio; echo ${number} > export; cd gpio${number}; echo low > direction; echo 1 > active_low`,
      );
      const child = await running(2);
      await child.edges(1, 0);
      assert.deepEqual(child.told(), [0, 1, 0]);
    });

    // The last: the guest's program cannot become root again.
    test('a user without privileges is told what is missing, and has a line when udev has handed it over', async () => {
      await vm.ask('become', { uid: GATEWAY, gid: GATEWAY });
      const child = await gpio(0);
      assert.equal(
        child.started.lastError?.replace(/gpiochip\d/, 'gpiochipN'),
        `PIN0 (${CHIP} line 0): by sysfs: no permission for /sys/class/gpio: the gateway's user must be in the group gpio; ` +
          "by the character device: no permission for /dev/gpiochipN: the gateway's user must be in the group gpio",
      );
      // What the udev rule of a Raspberry Pi does, the second half of it late.
      await vm.shell(`cd /sys/class/gpio; chgrp ${GATEWAY} export unexport; chmod 0770 export unexport`);
      await untilExported();
      await child.stop();
      assert.deepEqual(await exported(), [], 'a stop during the wait gives the line back');
      const restarted = child.restart();
      const [line] = await untilExported();
      await pass(300);
      assert.equal((await child.snapshot()).state, 'starting', 'it waits, and does not block the event loop');
      await vm.shell(`cd /sys/class/gpio/${line}/; chgrp ${GATEWAY} *; chmod g+rw value direction edge active_low`);
      await child.untilState('running');
      await restarted;
      await child.edges(1, 0);
      assert.deepEqual(child.told(), [0, 1, 0]);
      await child.stop();
      // And what a udev rule for the character device does.
      await vm.shell(`chgrp ${GATEWAY} /dev/gpiochip*; chmod 0660 /dev/gpiochip*`);
      await child.restart();
      assert.deepEqual(await exported(), [], 'by the character device, now that it is allowed');
      await child.edges(1, 0);
      assert.deepEqual(child.told(), [0, 1, 0, 0, 1, 0]);
    });
  });
});

/** Puts voltages at a line that are far enough from each other for the machine to see each, and much closer than a debounce. */
async function bounce(line: number, ...voltages: (0 | 1)[]): Promise<void> {
  for (const voltage of voltages) {
    await vm.pins.drive(line, voltage);
    await pass(15);
  }
}

/** The voltages that were seen at an output, in order. */
function wire(line: number): number[] {
  return vm.pins.puts.filter((put) => put.line === line).map(({ voltage }) => voltage);
}

/** Resolves when the child has told this level, and tells no more. */
async function settled(child: GuestChild, level: 0 | 1): Promise<void> {
  const last = (): unknown => [child.told().at(-1)].flat()[0];
  await vm.bell.until(
    () => `level ${level} as the last of ${JSON.stringify(child.told())}`,
    () => last() === level,
  );
  for (let told = -1; told !== child.told().length; await pass(300)) told = child.told().length;
  assert.equal(last(), level);
}

/** Levels take turns, unless a reading says that edges were lost before it. */
function honest(told: readonly unknown[]): void {
  let before: unknown;
  for (const each of told) {
    if (!Array.isArray(each)) assert.notEqual(each, before, `an unmarked loss in ${JSON.stringify(told)}`);
    [before] = [each].flat();
  }
}

/** Puts voltages at a line, far enough from each other for the kernel to see each. */
async function spaced(line: number, ...voltages: (0 | 1)[]): Promise<void> {
  for (const voltage of voltages) {
    await vm.pins.drive(line, voltage);
    await pass(SPACE_MS);
  }
}

/** How often the lines that are ours have interrupted the machine's only processor. */
async function interrupts(): Promise<number> {
  const lines = (await vm.shell('cat /proc/interrupts')).split('\n').filter((line) => line.endsWith('holdfast'));
  return lines.reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[1]), 0);
}

/** Does `act` while the guest's thread that waits for edges is frozen, as if it got no processor in time. */
async function whileNobodyWaitsForEdges(act: () => Promise<void>): Promise<void> {
  const freezer = '/tmp/freezer';
  await vm.shell(`mkdir -p ${freezer}; mount -t cgroup -o freezer none ${freezer}; mkdir -p ${freezer}/edges`);
  // V8 has a thread that waits in the same call; the guest's program does without it for a moment.
  const threads = `grep -l do_epoll_wait /proc/1/task/*/wchan | sed 's,/wchan,,; s,.*/,,' | grep -vx 1`;
  await vm.shell(
    `for id in $(${threads}); do echo $id > ${freezer}/edges/tasks; done; cat ${freezer}/edges/tasks | grep .`,
  );
  const enter = (state: string): Promise<string> =>
    vm.shell(`cd ${freezer}/edges; echo ${state} > freezer.state; until grep -q ${state} freezer.state; do :; done`);
  await enter('FROZEN');
  try {
    await act();
  } finally {
    await enter('THAWED');
  }
}

/** Does `act` while the kernel's driver does not serve the chip. */
async function unplugged(act: () => Promise<void>): Promise<void> {
  const driver = '/sys/bus/amba/drivers/pl061_gpio';
  await vm.shell(`echo ${CHIP} > ${driver}/unbind`);
  try {
    await act();
  } finally {
    await vm.shell(`echo ${CHIP} > ${driver}/bind`);
  }
}
