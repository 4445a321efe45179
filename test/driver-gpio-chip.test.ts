import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gpioChips, sysfsNumber } from '../src/drivers/gpio-chip.ts';

const roots: string[] = [];
after(() => {
  for (const root of roots) rmSync(root, { recursive: true });
});

/** A folder like /sys/class/gpio with these chips: [folder, label, base, lines]. */
function sysfs(...chips: [string, string, number, number][]): string {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-gpio-'));
  roots.push(root);
  writeFileSync(join(root, 'export'), '');
  mkdirSync(join(root, 'devices'));
  for (const [name, label, base, lines] of chips) {
    const folder = join(root, 'devices', name);
    mkdirSync(folder);
    writeFileSync(join(folder, 'label'), `${label}\n`);
    writeFileSync(join(folder, 'base'), `${base}\n`);
    writeFileSync(join(folder, 'ngpio'), `${lines}\n`);
    // As in the kernel: the class folder holds links.
    symlinkSync(folder, join(root, name));
  }
  return root;
}

/** A Raspberry Pi 4 under kernel 6.6: the expander comes first, and neither base is 0. */
const PI_4: [string, string, number, number][] = [
  ['gpiochip504', 'raspberrypi-exp-gpio', 504, 8],
  ['gpiochip512', 'pinctrl-bcm2711', 512, 58],
];

test('a line is found by the label of its chip and its place there, whatever the base', async () => {
  assert.equal(await sysfsNumber({ chip: 'pinctrl-bcm2711', offset: 17 }, sysfs(...PI_4)), 529);
  assert.equal(
    await sysfsNumber({ chip: 'pinctrl-bcm2711', offset: 17 }, sysfs(['gpiochip0', 'pinctrl-bcm2711', 0, 58])),
    17,
  );
  assert.equal(await sysfsNumber({ chip: 'pinctrl-bcm2711', offset: 57 }, sysfs(...PI_4)), 569);
});

test('chips are listed with what the kernel says of them', async () => {
  const chips = await gpioChips(sysfs(...PI_4));
  assert.deepEqual(
    chips.toSorted((a, b) => a.base - b.base),
    [
      { label: 'raspberrypi-exp-gpio', device: null, base: 504, lines: 8 },
      { label: 'pinctrl-bcm2711', device: null, base: 512, lines: 58 },
    ],
  );
});

test('a label that no chip has is refused, with those that exist', async () => {
  await assert.rejects(
    sysfsNumber({ chip: 'pinctrl-bcm2835', offset: 17 }, sysfs(...PI_4)),
    /no GPIO chip is labelled 'pinctrl-bcm2835'; this machine has 'raspberrypi-exp-gpio', 'pinctrl-bcm2711'/,
  );
  await assert.rejects(
    sysfsNumber({ chip: 'pinctrl', offset: 17 }, sysfs(...PI_4)),
    /no GPIO chip is labelled 'pinctrl'/,
  );
  await assert.rejects(sysfsNumber({ chip: 'x', offset: 0 }, sysfs()), /this machine has none/);
});

test('a line that the chip does not have is refused', async () => {
  const root = sysfs(...PI_4);
  for (const offset of [58, -1, 1.5, Number.NaN]) {
    await assert.rejects(
      sysfsNumber({ chip: 'pinctrl-bcm2711', offset }, root),
      /'pinctrl-bcm2711' has lines 0 to 57, not/,
    );
  }
});

test('a chip is also found by the name of its device, where labels tell the order of probing', async () => {
  // A BeagleBone Black under kernel 5.10: the bank at 44e07000, GPIO0 of the manual, was found last.
  const root = sysfs(['gpiochip0', 'gpio-0-31', 0, 32], ['gpiochip96', 'gpio-96-127', 96, 32]);
  for (const [chip, device] of [
    ['gpiochip0', '4804c000.gpio'],
    ['gpiochip96', '44e07000.gpio'],
  ] as const) {
    mkdirSync(join(root, device));
    symlinkSync(join(root, device), join(root, 'devices', chip, 'device'));
  }
  assert.equal(await sysfsNumber({ chip: '44e07000.gpio', offset: 30 }, root), 126);
  assert.equal(await sysfsNumber({ chip: '4804c000.gpio', offset: 28 }, root), 28);
  assert.equal(await sysfsNumber({ chip: 'gpio-0-31', offset: 28 }, root), 28);
});

test('two chips with one label are not guessed between', async () => {
  const root = sysfs(['gpiochip0', 'mcp23017', 0, 16], ['gpiochip16', 'mcp23017', 16, 16]);
  await assert.rejects(sysfsNumber({ chip: 'mcp23017', offset: 3 }, root), /2 GPIO chips are labelled 'mcp23017'/);
});

test('a kernel without sysfs GPIO is said to be one', async () => {
  await assert.rejects(
    sysfsNumber({ chip: 'x', offset: 0 }, '/no/such/folder'),
    /offers no GPIO in \/no\/such\/folder/,
  );
});

test('a chip that vanishes while it is read is not there', async () => {
  const root = sysfs(...PI_4);
  symlinkSync('/no/such/chip', join(root, 'gpiochip600'));
  assert.equal((await gpioChips(root)).length, 2);
});
