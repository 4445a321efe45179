import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import { diskSpace, usedPercent } from '../src/board/disk-space.ts';
import { PATTERNS, StatusLed } from '../src/board/leds.ts';
import { lifeOf, mediumAge, perDay } from '../src/board/medium-wear.ts';
import { readPower } from '../src/board/power.ts';
import { cpuThermalZone } from '../src/board/thermal.ts';
import { loadConfig } from '../src/config/load.ts';
import { WiredChildren } from '../src/drivers/wired-children.ts';
import { BoardHealth, patternOf, type Own, type Vitals } from '../src/health/board-health.ts';
import type { Reading } from '../src/message/message.ts';
import { Recorder } from './driver-rig.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

/** A folder with these files, as the kernel would show them. */
function kernel(files: Readonly<Record<string, string>>): string {
  const root = scratch();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  }
  return root;
}

describe('what the board says', () => {
  test('the temperature is that of the zone that is named for the processor', async () => {
    const zone = (n: number, type: string, temp: string) => ({
      [`sys/class/thermal/thermal_zone${n}/type`]: type,
      [`sys/class/thermal/thermal_zone${n}/temp`]: temp,
    });
    assert.equal(
      await cpuThermalZone(kernel({ ...zone(0, 'acpitz', '20000'), ...zone(1, 'cpu-thermal', '48312') })),
      48.312,
    );
    assert.equal(await cpuThermalZone(kernel(zone(0, 'x86_pkg_temp', '61000'))), 61);
    assert.equal(await cpuThermalZone(kernel(zone(0, 'acpitz', '20000'))), null);
    assert.equal(await cpuThermalZone(scratch()), null);
  });

  test('the supply and the throttling are told, and unknown is not fine', async () => {
    const firmware = 'sys/devices/platform/soc/soc:firmware/get_throttled';
    const power = async (files: Readonly<Record<string, string>>) => Object.values(await readPower(kernel(files)));
    assert.deepEqual(await power({}), [null, null, null, null]);
    assert.deepEqual(await power({ [firmware]: '0' }), [false, false, false, false]);
    assert.deepEqual(await power({ [firmware]: '50005' }), [true, true, true, true]);
    assert.deepEqual(await power({ [firmware]: '0x50000' }), [false, false, true, true]);
    // Slowed down by heat alone (bit 3).
    assert.deepEqual(await power({ [firmware]: '8' }), [false, true, false, false]);
    const hwmon = { 'sys/class/hwmon/hwmon0/name': 'cpu_thermal', 'sys/class/hwmon/hwmon1/name': 'rpi_volt' };
    assert.deepEqual(await power({ ...hwmon, 'sys/class/hwmon/hwmon1/in0_lcrit_alarm': '1' }), [
      true,
      null,
      null,
      null,
    ]);
    assert.deepEqual(await power({ ...hwmon, 'sys/class/hwmon/hwmon1/in0_lcrit_alarm': '0', [firmware]: '50005' }), [
      false,
      true,
      true,
      true,
    ]);
    assert.deepEqual(await power({ ...hwmon, [firmware]: 'nonsense' }), [null, null, null, null]);
  });

  test('an eMMC tells its life, and ext4 what was ever written to it', () => {
    const age = (files: Readonly<Record<string, string>>) => {
      const root = kernel({ 'devices/mmcblk0/mmcblk0p2/partition': '2', ...files });
      mkdirSync(join(root, 'block'));
      symlinkSync(join(root, 'devices/mmcblk0/mmcblk0p2'), join(root, 'block/179:2'));
      return mediumAge('/', { blockDevices: join(root, 'block'), ext4: join(root, 'ext4'), number: '179:2' });
    };
    const unknown = { lifetimeBytes: null, usedPercent: null, nearEnd: null, filesystemErrors: null };
    assert.deepEqual(age({}), unknown);
    assert.deepEqual(
      age({
        'devices/mmcblk0/device/life_time': '0x02 0x03',
        'devices/mmcblk0/device/pre_eol_info': '0x01',
        'ext4/mmcblk0p2/lifetime_write_kbytes': '2048',
        'ext4/mmcblk0p2/errors_count': '0',
      }),
      { lifetimeBytes: 2 * 1024 ** 2, usedPercent: 30, nearEnd: false, filesystemErrors: 0 },
    );
    const old = { 'devices/mmcblk0/device/life_time': '0x0b 0x01', 'devices/mmcblk0/device/pre_eol_info': '0x03' };
    assert.deepEqual(age(old), { ...unknown, usedPercent: 110, nearEnd: true });
    // Older than eMMC 5.0: not defined.
    assert.deepEqual(age({ 'devices/mmcblk0/device/life_time': '0x00 0x00' }), unknown);
    assert.deepEqual(mediumAge('/', { blockDevices: scratch(), ext4: scratch(), number: '1:1' }), unknown);
  });

  test('how long a medium lasts is what is left of its rating, at the rate of writing', () => {
    assert.equal(perDay(1_000, 86_400), 1_000_000);
    assert.equal(lifeOf(40, 10e12, 30e9).daysLeft, 1_000);
    assert.equal(lifeOf(40, null, 40e9).daysLeft, 1_000);
    assert.equal(lifeOf(40, 41e12, 1).daysLeft, 0);
    assert.deepEqual(
      [lifeOf(null, 1, 1), lifeOf(40, 1, null), lifeOf(40, 1, 0)].map(({ daysLeft }) => daysLeft),
      [null, null, null],
    );
  });
});

describe('a LED', () => {
  /** A LED as the kernel shows it, but for the files that the trigger makes. */
  function led(trigger = 'none [heartbeat] timer'): { root: string; read: (file: string) => string } {
    const root = kernel({ 'ACT/trigger': trigger, 'ACT/brightness': '0' });
    return { root, read: (file) => readFileSync(join(root, 'ACT', file), 'latin1').trim() };
  }

  test('blinks in the pattern of how the gateway does, and is given back to what drove it', () => {
    const { root, read } = led();
    const found = StatusLed.find(['led0', 'ACT'], root);
    assert.ok(found, 'the second name is the one that is there');
    for (const [pattern, { on, off }] of Object.entries(PATTERNS)) {
      found.show(pattern as keyof typeof PATTERNS);
      assert.deepEqual([read('trigger'), read('delay_on'), read('delay_off')], ['timer', String(on), String(off)]);
    }
    found.release();
    assert.equal(read('trigger'), 'heartbeat');
    const dark = led('[none] timer');
    const second = StatusLed.find(['ACT'], dark.root);
    second?.show('fault');
    second?.release();
    assert.deepEqual([dark.read('trigger'), dark.read('brightness')], ['none', '0']);
    // Left blinking by a gateway that was killed: it must not go on saying that all is well.
    const left = led('none heartbeat [timer]');
    const third = StatusLed.find(['ACT'], left.root);
    third?.show('online');
    third?.release();
    assert.deepEqual([left.read('trigger'), left.read('brightness')], ['none', '0']);
    assert.equal(StatusLed.find(['PWR'], root), null);
    assert.equal(StatusLed.find([], root), null);
  });

  test('has its trigger chosen once: choosing it again would make its files anew', () => {
    const { root, read } = led();
    const found = StatusLed.find(['ACT'], root)!;
    found.show('online');
    writeFileSync(join(root, 'ACT/trigger'), 'none [timer]\n');
    found.show('fault');
    assert.deepEqual([read('trigger'), read('delay_on')], ['none [timer]', '125']);
    // Somebody has chosen another.
    rmSync(join(root, 'ACT/delay_on'));
    found.show('online');
    assert.deepEqual([read('trigger'), read('delay_on')], ['timer', '100']);
  });

  test('shows a fault before all else, then whether there is a broker', () => {
    const shown = (change: Partial<Own>) => patternOf({ ...OWN, ...change });
    assert.equal(shown({}), 'online');
    assert.equal(shown({ upstream: { state: 'waiting' } }), 'offline');
    assert.equal(shown({ upstream: null }), 'storing');
    assert.equal(shown({ spool: { ...OWN.spool, fault: 'EIO' }, upstream: null }), 'fault');
    assert.equal(shown({ hubFault: 'EADDRINUSE' }), 'fault');
    assert.equal(shown({ safeMode: { why: 'it crashed' } }), 'fault');
  });
});

const OWN: Own = {
  upstream: { state: 'online' },
  spool: { fault: null, wear: { bytesPerDay: 0 } },
  hubFault: null,
  safeMode: null,
  lastReadings: {},
};
const WELL: Vitals = {
  temperatureCelsius: 50,
  power: { underVoltage: false, throttled: false, underVoltageSinceBoot: false, throttledSinceBoot: false },
  memory: { totalBytes: 100, availableBytes: 50 },
  disk: { totalBytes: 100, usedBytes: 45, availableBytes: 50 },
  medium: 'sd',
  age: { lifetimeBytes: 0, usedPercent: null, nearEnd: null, filesystemErrors: 0 },
};

describe('limits', () => {
  let clock: ManualClock;
  let heard: Recorder;
  let vitals: Vitals;
  let own: Own;

  beforeEach(() => {
    clock = new ManualClock();
    heard = new Recorder();
    vitals = WELL;
    own = OWN;
  });

  function health(settings = '', leds?: string): BoardHealth {
    const file = join(scratch(), 'gateway.yaml');
    const text = `gateway: { id: g, profile: raspberry-pi-4 }\nstoreAndForward: { ratedTerabytesWritten: 40 }\nhealth: { ${settings} }\n`;
    writeFileSync(file, text);
    const loaded = loadConfig(file, { profileDirs: ['device-profiles'] });
    const look = async () => vitals;
    return new BoardHealth({
      loaded,
      clock,
      log: heard.logger,
      own: () => own,
      look,
      ...(leds !== undefined && { leds }),
    });
  }

  const warned = () => heard.log.filter(({ level }) => level === 40).map((line) => line['limit']);

  test('that are kept are not spoken of', async () => {
    const board = health();
    await board.look();
    assert.deepEqual([board.status(own).over, warned()], [[], []]);
    // What nobody knows is beyond no limit.
    const nobody = { underVoltage: null, throttled: null, underVoltageSinceBoot: null, throttledSinceBoot: null };
    vitals = { ...WELL, temperatureCelsius: null, power: nobody, memory: null, disk: null };
    await board.look();
    assert.deepEqual(board.status(own).over, []);
  });

  test('each that is not kept is named, with what it is about', async () => {
    const cases: [string, Partial<Vitals>, RegExp][] = [
      ['temperature', { temperatureCelsius: 80.1 }, /the processor has 80\.1 C, over 80 C/],
      ['power', { power: { ...WELL.power, underVoltage: true, throttled: true } }, /too little voltage/],
      ['power', { power: { ...WELL.power, throttled: true } }, /slowed down/],
      ['memory', { memory: { totalBytes: 100, availableBytes: 9 } }, /91 % of the memory is in use, over 90 %/],
      [
        'disk',
        { disk: { totalBytes: 100, usedBytes: 96, availableBytes: 4 } },
        /96 % of the disk is in use, over 95 %/,
      ],
      // As df counts: what is kept back for root is neither used nor available; and a part of a percent is one more.
      [
        'disk',
        { disk: { totalBytes: 1000, usedBytes: 860, availableBytes: 45 } },
        /96 % of the disk is in use, over 95 %/,
      ],
      ['wear', { age: { ...WELL.age, usedPercent: 100 } }, /100 % of its life/],
      ['filesystem', { age: { ...WELL.age, filesystemErrors: 3 } }, /has met 3 errors/],
    ];
    for (const [what, change, message] of cases) {
      const board = health();
      vitals = { ...WELL, ...change };
      await board.look();
      const { over } = board.status(own);
      assert.deepEqual(
        over.map((each) => each.what),
        [what],
      );
      assert.match(over[0]!.message, message);
    }
  });

  test('a disk is as full as df says', async () => {
    const df = () =>
      Number.parseInt(execFileSync('df', ['-P', '/'], { encoding: 'utf8' }).trim().split(/\s+/).at(-2)!, 10);
    // Others write to it: it counts where that has changed nothing.
    const [said, ours] = await until('df to say the same before and after', async () => {
      const before = df();
      const percent = usedPercent((await diskSpace('/'))!);
      return before === df() && ([before, percent] as const);
    });
    assert.equal(ours, said);
    assert.equal(usedPercent({ totalBytes: 0, usedBytes: 0, availableBytes: 0 }), null);
  });

  test("a medium's life is judged after an hour, when the rate means something", async () => {
    const board = health();
    own = { ...OWN, spool: { fault: null, wear: { bytesPerDay: 1e12 } } };
    await board.look();
    assert.deepEqual([board.status(own).life.daysLeft, board.status(own).over], [null, []]);
    clock.advance(3_600_000);
    await board.look();
    assert.equal(board.status(own).life.daysLeft, 40);
    assert.match(board.status(own).over[0]!.message, /lasts for 40 days more/);
  });

  test('a child that has gone silent is named, one that never spoke counts from the start', async () => {
    const board = health('limits: { silentAfter: 10m }');
    const now = clock.monotonic();
    own = { ...OWN, lastReadings: { talks: now, stopped: now - 601_000, never: null } };
    await board.look();
    assert.deepEqual(
      board.status(own).over.map(({ what }) => what),
      ['silent:stopped'],
    );
    assert.deepEqual(board.status(own).silentSecs, { talks: 0, stopped: 601, never: 0 });
    clock.advance(601_000);
    await board.look();
    assert.equal(board.status(own).over.length, 3);
  });

  test('how long a child has been silent is no matter of the wall clock, which may jump either way', async () => {
    const file = join(scratch(), 'gateway.yaml');
    writeFileSync(
      file,
      `gateway: { id: g }
children:
  - { id: slow, simulated: { sendIntervalMs: 1h, messageCount: -1 } }
  - { id: board, host: { every: 1m, metrics: [lastReadings] } }
`,
    );
    const bodies: unknown[] = [];
    const onReading = (child: string, { body }: Reading): void => {
      if (child === 'board') bodies.push(JSON.parse(body.toString()));
    };
    const children = new WiredChildren({ loaded: loadConfig(file), clock, log: heard.logger, onReading });
    await children.start();
    const board = health('limits: { silentAfter: 10m }');
    const silent = async () => {
      own = { ...OWN, lastReadings: children.lastReadings() };
      await board.look();
      return board.status(own).over.map(({ what }) => what);
    };
    // A board without a clock of its own learns the time.
    clock.setWall(clock.wall() + 400 * 86_400_000);
    await clock.flow(60_000);
    assert.deepEqual(await silent(), []);
    assert.deepEqual(bodies.at(-1), { lastReadings: { slow: 60, board: 60 } });
    clock.setWall(clock.wall() - 800 * 86_400_000);
    await clock.flow(600_000);
    assert.deepEqual(await silent(), ['silent:slow']);
    assert.deepEqual(bodies.at(-1), { lastReadings: { slow: 660, board: 60 } });
    await children.stop();
  });

  test('what swings about a limit is said once, and that it is over when it has been for a while', async () => {
    const board = health('limits: { temperatureCelsius: 60 }');
    for (const temperatureCelsius of [61, 59, 62, 59, 58, 61]) {
      vitals = { ...WELL, temperatureCelsius };
      await board.look();
      assert.equal(board.status(own).over.length, 1);
    }
    assert.deepEqual(warned(), ['temperature']);
    const [{ since } = { since: NaN }] = board.status(own).over;
    assert.equal(since, clock.wall());
    vitals = WELL;
    for (let looks = 0; looks < 3; looks++) await board.look();
    assert.deepEqual(board.status(own).over, []);
    assert.match(heard.log.at(-1)!.msg, /temperature is within its limit again/);
  });

  test('it looks at intervals, follows with the LED, and gives both up at a stop', async () => {
    const leds = kernel({ 'ACT/trigger': '[mmc0] timer' });
    const read = (file: string) => readFileSync(join(leds, 'ACT', file), 'latin1').trim();
    const board = health('every: 10s', leds);
    board.start();
    assert.equal(read('delay_on'), String(PATTERNS.online.on));
    own = { ...OWN, upstream: { state: 'waiting' } };
    vitals = { ...WELL, temperatureCelsius: 99 };
    await clock.flow(10_000);
    await settle();
    assert.equal(read('delay_on'), String(PATTERNS.offline.on));
    assert.deepEqual(warned(), ['temperature']);
    board.stop();
    assert.deepEqual([read('trigger'), clock.timers], ['mmc0', 0]);
    const alone = health('led: none', leds);
    alone.start();
    assert.equal(read('trigger'), 'mmc0');
    alone.stop();
  });

  test('the files of a trigger are waited for until udev has given them to the gateway', async () => {
    const leds = kernel({ 'ACT/trigger': '[mmc0] timer' });
    const delay = join(leds, 'ACT/delay_on');
    // As little to be written as root's.
    mkdirSync(delay);
    const board = health('', leds);
    board.start();
    await clock.flow(2_000);
    rmdirSync(delay);
    writeFileSync(delay, '500\n');
    await clock.flow(2_000);
    assert.equal(readFileSync(delay, 'latin1'), String(PATTERNS.online.on));
    await clock.flow(20_000);
    assert.deepEqual(heard.log, []);
    board.stop();
  });

  test('a LED whose trigger never becomes ours is given back', async () => {
    const leds = kernel({ 'ACT/trigger': '[mmc0] timer' });
    mkdirSync(join(leds, 'ACT/delay_on'));
    const board = health('', leds);
    board.start();
    await clock.flow(10_000);
    assert.equal(readFileSync(join(leds, 'ACT/trigger'), 'latin1'), 'mmc0');
    assert.equal(heard.log.filter(({ msg }) => msg.startsWith('the LED may not be written')).length, 1);
    board.stop();
  });

  test('a LED that may not be written is said once, and left alone', async () => {
    const leds = scratch();
    mkdirSync(join(leds, 'ACT/trigger'), { recursive: true });
    const board = health('', leds);
    board.start();
    await clock.flow(10_000);
    assert.equal(heard.log.filter(({ msg }) => msg.startsWith('the LED may not be written')).length, 1);
    board.stop();
  });
});
