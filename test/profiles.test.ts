import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { diskBelow, mediumOf } from '../src/board/medium.ts';
import { recognise, thisMachine, type Machine } from '../src/board/recognition.ts';
import { loadConfig } from '../src/config/load.ts';
import { gpioLine, listProfiles, readProfile, serialDevice, storageOf } from '../src/config/profile.ts';
import type { Profile } from '../src/config/profile-schema.ts';
import { scratch } from './parts/scratch.ts';

const SHIPPED = join(import.meta.dirname, '../device-profiles');
const profiles = listProfiles([SHIPPED]).map(({ file }) => readProfile(file));

interface Tree {
  readonly file: string;
  readonly model: string;
  readonly chips: Readonly<Record<string, { readonly compatible: string; readonly lines: readonly string[] }>>;
  readonly leds: readonly string[];
  readonly watchdog: readonly string[];
}
const { trees } = JSON.parse(readFileSync('test/fixtures/device-trees.json', 'utf8')) as { trees: readonly Tree[] };

/** The labels that the kernel's drivers give to their chips (drivers/pinctrl/bcm/pinctrl-bcm2835.c, drivers/pinctrl/pinctrl-rp1.c). */
const LABELS: Readonly<Record<string, string>> = {
  'brcm,bcm2835-gpio': 'pinctrl-bcm2835',
  'brcm,bcm2711-gpio': 'pinctrl-bcm2711',
  'raspberrypi,rp1-gpio': 'pinctrl-rp1',
};
/** What the drivers of the watchdogs say that they can, seconds (bcm2835_wdt.c, omap_wdt.h). */
const WATCHDOG_SECS: Readonly<Record<string, number>> = { 'brcm,bcm2835-pm-wdt': 15, 'ti,omap3-wdt': 86_400 };

const profileOf = (model: string): Profile | undefined =>
  recognise({ model, dmi: null, processor: 'arm64' }, profiles)?.profile;
const named = (name: string): Profile => {
  const found = profiles.find((profile) => profile.name === name);
  assert.ok(found, name);
  return found;
};

describe("profiles, against the device trees of Debian's kernels", () => {
  for (const { file, model, chips, leds, watchdog } of trees) {
    test(`${file}: lines, LEDs and watchdog are where the tree has them`, () => {
      const profile = profileOf(model);
      assert.ok(profile, `${model} is recognised`);
      const lines = Object.entries(profile.gpio.lines);
      const chipOf = (name: string) =>
        Object.entries(chips).find(([device, { compatible }]) => name === device || name === LABELS[compatible])?.[1];
      for (const [name, { chip, offset }] of lines) {
        const there = chipOf(chip)?.lines[offset];
        assert.ok(there !== undefined, `${name}: ${chip} has line ${offset}`);
        // The tree calls lines by what they do first (`SDA1`, `P8_31 [lcd d14]`); where it has the header's name it is ours.
        const [, header] = /^(GPIO\d+|P[89]_\d+)[AB]?\b/.exec(there) ?? [];
        if (header !== undefined) assert.equal(header, name, `${chip} line ${offset}`);
      }
      // And what the tree has of the header, the profile has. Some pins are wired to two lines: the first counts.
      const names = Object.values(chips).flatMap((chip) => chip.lines);
      for (const name of names.map((line) => /^(GPIO\d+|P[89]_\d+)\b/.exec(line)?.[1]).filter((x) => x !== undefined))
        assert.ok(gpioLine(profile, name), `${name} is missing`);
      // Debian's tree of a Raspberry Pi 5 has none; those of its maker do.
      if (leds.length > 0) {
        const activity = [profile.leds['activity'] ?? []].flat();
        assert.ok(
          activity.some((led) => leds.includes(led)),
          `an activity LED of ${leds.join(', ')}`,
        );
      }
      const secs = watchdog.map((compatible) => WATCHDOG_SECS[compatible]).find((each) => each !== undefined);
      assert.equal(profile.watchdog?.maxSecs, secs);
    });
  }

  test('each Raspberry Pi has the 28 lines of its header, on the chip that has edges', () => {
    const pis = profiles.filter(({ recognise: models }) => models.some((model) => model.startsWith('Raspberry')));
    assert.equal(pis.length, 5);
    for (const profile of pis) {
      const chips = new Set(Object.values(profile.gpio.lines).map(({ chip }) => chip));
      assert.equal(chips.size, 1);
      const header = Object.fromEntries(
        Array.from({ length: 28 }, (_, n) => [`GPIO${n}`, { chip: [...chips][0], offset: n }]),
      );
      assert.deepEqual(profile.gpio.lines, header, profile.name);
    }
  });
});

describe('recognition', () => {
  test('is by whole words, and the longest name counts', () => {
    const models: [string, string | undefined][] = [
      ['Raspberry Pi Zero 2 W Rev 1.0', 'raspberry-pi-zero-2-w'],
      ['Raspberry Pi 3 Model B Rev 1.2', 'raspberry-pi-3b'],
      ['Raspberry Pi 3 Model B Plus Rev 1.3', 'raspberry-pi-3b'],
      ['Raspberry Pi 3 Model B+', 'raspberry-pi-3b'],
      ['Raspberry Pi 3 Model A Plus Rev 1.0', undefined],
      ['Raspberry Pi 4 Model B Rev 1.4', 'raspberry-pi-4'],
      ['Raspberry Pi 5 Model B Rev 1.0', 'raspberry-pi-5'],
      ['Raspberry Pi 500 Rev 1.0', undefined],
      ['Raspberry Pi Compute Module 4 Rev 1.1', 'compute-module-4'],
      ['Raspberry Pi Compute Module 4S Rev 1.0', undefined],
      ['TI AM335x BeagleBone Black', 'beaglebone-black'],
      ['TI AM335x BeagleBone Black Wireless', 'beaglebone-black'],
      ['TI AM335x BeagleBone', undefined],
      ['', undefined],
    ];
    for (const [model, name] of models) assert.equal(profileOf(model)?.name, name, model);
    const own = { ...named('x86'), name: 'own', recogniseDmi: ['Acme Box 7'], processors: [] };
    const box: Machine = { model: null, dmi: 'Acme Box 7 rev B', processor: 'x64' };
    assert.deepEqual(recognise(box, [...profiles, own])?.profile.name, 'own');
    assert.deepEqual(recognise({ ...box, dmi: 'Acme Box 70' }, [...profiles, own])?.by, 'processor');
  });

  test('reads what the machine says of itself', () => {
    const root = scratch();
    const put = (path: string, text: string): void => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    };
    assert.deepEqual(thisMachine(root, 'arm'), { model: null, dmi: null, processor: 'arm' });
    put('proc/device-tree/model', 'Raspberry Pi 4 Model B Rev 1.4\0');
    put('sys/class/dmi/id/sys_vendor', 'Acme\n');
    put('sys/class/dmi/id/product_name', 'Box 7\n');
    assert.deepEqual(thisMachine(root, 'arm64'), {
      model: 'Raspberry Pi 4 Model B Rev 1.4',
      dmi: 'Acme Box 7',
      processor: 'arm64',
    });
  });
});

describe('serial ports', () => {
  test('of several paths of a port the first that is there counts', () => {
    const dir = scratch();
    const paths = ['a', 'b', 'c'].map((name) => join(dir, name));
    const profile = { ...named('x86'), serial: { header: paths, one: '/dev/ttyX' } };
    assert.equal(serialDevice(profile, 'header'), paths[0]);
    writeFileSync(paths[2]!, '');
    assert.equal(serialDevice(profile, 'header'), paths[2]);
    writeFileSync(paths[1]!, '');
    assert.equal(serialDevice(profile, 'header'), paths[1]);
    assert.equal(serialDevice(profile, 'one'), '/dev/ttyX');
    assert.equal(serialDevice(profile, 'two'), undefined);
  });

  test('the socket of a Compute Module 4 is found behind either of its USB controllers', () => {
    const paths = [named('compute-module-4').serial['usb-1'] ?? []].flat();
    for (const controller of ['fe9c0000.xhci', 'fe980000.usb'])
      for (const port of ['-port0', ''])
        assert.ok(paths.includes(`/dev/serial/by-path/platform-${controller}-usb-0:1:1.0${port}`), controller);
  });
});

describe('the medium', () => {
  /** A folder like /sys/dev/block with one partition, 8:1, of this disk. */
  function block(disk: string, files: Readonly<Record<string, string>>): string {
    const root = scratch();
    const folder = join(root, 'devices', disk);
    mkdirSync(join(folder, 'part'), { recursive: true });
    writeFileSync(join(folder, 'part/partition'), '1\n');
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), `${text}\n`);
    }
    symlinkSync(join(folder, 'part'), join(root, '8:1'));
    return root;
  }
  const of = (disk: string, files: Readonly<Record<string, string>>) => mediumOf('/', block(disk, files), '8:1');

  test('is told by the disk under the folder', () => {
    assert.equal(of('mmcblk0', { 'device/type': 'SD' }), 'sd');
    assert.equal(of('mmcblk1', { 'device/type': 'MMC' }), 'emmc');
    assert.equal(of('nvme0n1', { 'queue/rotational': '0' }), 'ssd');
    assert.equal(of('sda', { 'queue/rotational': '0' }), 'ssd');
    assert.equal(of('sda', { 'queue/rotational': '1' }), null);
    assert.equal(of('loop0', { 'queue/rotational': '0' }), null);
    assert.equal(mediumOf('/', scratch(), '8:1'), null);
    assert.equal(diskBelow('/', block('mmcblk0', {}), '8:1')?.name, 'mmcblk0');
  });

  test('decides what a profile suggests, and the configuration has the last word', () => {
    const pi4 = named('raspberry-pi-4');
    assert.equal(storageOf(pi4, null).commitEveryMs, 1000);
    // Every profile that knows cards has the careful figure for one that says nothing of itself.
    const cards = profiles.map(({ storage }) => storage.media?.sd).filter((sd) => sd !== undefined);
    assert.deepEqual(
      cards.map(({ ratedTerabytesWritten }) => ratedTerabytesWritten),
      cards.map(() => 2),
    );
    assert.equal(cards.length, 7);
    assert.deepEqual([storageOf(pi4, 'ssd').write, storageOf(pi4, 'ssd').ratedTerabytesWritten], ['always', 40]);
    // A medium that it says nothing of.
    assert.equal(storageOf(pi4, 'emmc').commitEveryMs, undefined);
    const file = join(scratch(), 'gateway.yaml');
    writeFileSync(
      file,
      'gateway: { id: g, profile: raspberry-pi-4 }\nstoreAndForward: { commitEveryMs: 50, ratedTerabytesWritten: 384 }\n',
    );
    const load = (medium: 'sd' | 'ssd') =>
      loadConfig(file, { profileDirs: [SHIPPED], mediumBelow: () => medium }).config.storeAndForward;
    const [sd, ssd] = [load('sd'), load('ssd')];
    assert.deepEqual([sd.write, sd.quota, sd.commitEveryMs], ['when-needed', { bytes: 512 * 1024 ** 2 }, 50]);
    assert.deepEqual([ssd.write, ssd.quota, ssd.commitEveryMs], ['always', { bytes: 2 * 1024 ** 3 }, 50]);
    assert.deepEqual([sd.ratedTerabytesWritten, ssd.ratedTerabytesWritten], [384, 384]);
  });
});
