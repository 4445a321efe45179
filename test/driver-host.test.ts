import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { tmpdir, totalmem } from 'node:os';
import { after, test } from 'node:test';
import { HOST_METRICS } from '../src/config/children.ts';
import { HostDriver } from '../src/drivers/host.ts';
import { type HostMetric, type HostProbe, hostProbes, type Surroundings } from '../src/drivers/host-metrics.ts';
import { Recorder, systemClock } from './driver-rig.ts';
import { ManualClock, settle } from './manual-clock.ts';

// The system clock's timers keep no process alive.
const alive = setInterval(() => {}, 1_000);
after(() => clearInterval(alive));

const ALL: HostMetric[] = [...HOST_METRICS];

/** `b` spoke 5 s ago, `a` has not yet. */
const AROUND: Surroundings = {
  dataDir: tmpdir(),
  ratedTerabytesWritten: 40,
  lastReadings: () => ({ a: null, b: systemClock.monotonic() - 5_000 }),
};

interface Body {
  cpuTemperature: number | null;
  load: { cpu: number | null; loadavg: number[] };
  memory: { totalBytes: number; availableBytes: number; usedBytes: number };
  disk: { mount: string; sizeBytes: number; usedBytes: number; availableBytes: number }[];
  network: { iface: string; rxBytes: number | null; txBytes: number | null; up: boolean | null }[];
  power: Record<string, boolean | null>;
  wear: { ratedTerabytesWritten: number; bytesPerDay: number | null; daysLeft: number | null };
  lastReadings: Record<string, number | null>;
}

test('this very machine is measured', async () => {
  const heard = new Recorder();
  const driver = new HostDriver({ everyMs: 100, metrics: ALL, around: AROUND }, heard.context(systemClock));
  await driver.start();
  await heard.until(() => heard.readings.length >= 3, 'three readings');
  await driver.stop();
  const body = heard.bodies().at(-1) as Body;
  assert.deepEqual(Object.keys(body), ALL);
  const { cpuTemperature, load, memory, disk, network, power, wear, lastReadings } = body;
  assert.ok(cpuTemperature === null || (cpuTemperature > -40 && cpuTemperature < 130));
  assert.ok(load.cpu !== null && load.cpu >= 0 && load.cpu <= 1);
  assert.equal(load.loadavg.length, 3);
  assert.ok(Math.abs(memory.totalBytes - totalmem()) < 1_048_576);
  assert.equal(memory.usedBytes, memory.totalBytes - memory.availableBytes);
  const root = disk.find(({ mount }) => mount === '/');
  assert.ok(root !== undefined && root.sizeBytes > root.usedBytes && root.usedBytes > 0);
  // What `df` says can be counted from it.
  const df = execFileSync('df', ['-P', '/'], { encoding: 'utf8' }).trim().split(/\s+/).at(-2);
  const percent = (root.usedBytes / (root.usedBytes + root.availableBytes)) * 100;
  assert.ok(Math.abs(percent - Number.parseInt(df!, 10)) <= 1, `${percent} %, and df says ${df}`);
  assert.ok(Array.isArray(network) && !network.some(({ iface }) => iface === 'lo'));
  for (const { rxBytes, txBytes, up } of network) {
    assert.ok(Number.isSafeInteger(rxBytes) && Number.isSafeInteger(txBytes) && typeof up === 'boolean');
  }
  assert.deepEqual(Object.keys(power), ['underVoltage', 'throttled', 'underVoltageSinceBoot', 'throttledSinceBoot']);
  assert.equal(wear.ratedTerabytesWritten, 40);
  // What lies under the folder can be seen or not; a rate that is known gives a life.
  assert.equal(wear.daysLeft === null, !wear.bytesPerDay, JSON.stringify(wear));
  assert.deepEqual([lastReadings['a'], Math.abs(lastReadings['b']! - 5) <= 1], [null, true]);
  const [reading] = heard.readings;
  assert.ok(Math.abs((reading?.measuredAt ?? 0) - systemClock.monotonic()) < 60_000);
  assert.deepEqual([reading?.contentType, reading?.contentEncoding], ['application/json', 'utf-8']);
});

/** A driver whose probes are the test's, and a clock that stands still. */
function fake(probes: Partial<Record<HostMetric, HostProbe>>) {
  const clock = new ManualClock();
  const heard = new Recorder();
  const metrics = Object.keys(probes) as HostMetric[];
  const driver = new HostDriver({ everyMs: 60_000, metrics, around: AROUND }, heard.context(clock), {
    ...hostProbes(AROUND, clock),
    ...probes,
  });
  return { clock, heard, driver };
}

test('only the metrics that were chosen are asked for, at start and each interval', async () => {
  let asked = 0;
  const { clock, heard, driver } = fake({ memory: async () => ++asked });
  await driver.start();
  await clock.flow(120_000);
  assert.deepEqual(heard.bodies(), [{ memory: 1 }, { memory: 2 }, { memory: 3 }]);
  assert.deepEqual(
    heard.readings.map(({ measuredAt }) => (measuredAt ?? 0) - 3_600_000),
    [0, 60_000, 120_000],
  );
});

test('a metric that throws is null, does not keep the others, and is logged once', async () => {
  const { clock, heard, driver } = fake({
    cpuTemperature: () => Promise.reject(new Error('no sensor')),
    load: () => {
      throw new Error('at once');
    },
    memory: async () => 7,
    disk: async () => undefined,
  });
  await driver.start();
  await clock.flow(60_000);
  const body = { cpuTemperature: null, load: null, memory: 7, disk: null };
  assert.deepEqual(heard.bodies(), [body, body]);
  assert.deepEqual(
    heard.log.map(({ metric }) => String(metric)).toSorted((a, b) => a.localeCompare(b)),
    ['cpuTemperature', 'load'],
  );
  assert.deepEqual(heard.failures, []);
});

test('a metric that hangs is null after 10 s, and is not asked again while it hangs', async () => {
  let asked = 0;
  let answer = (_value: number): void => {};
  const { clock, heard, driver } = fake({
    disk: () => {
      asked++;
      return new Promise((resolve) => {
        answer = resolve;
      });
    },
    memory: async () => 7,
  });
  await driver.start();
  await clock.flow(9_999);
  assert.equal(heard.readings.length, 0);
  await clock.flow(1);
  assert.deepEqual(heard.bodies(), [{ disk: null, memory: 7 }]);
  await clock.flow(110_000);
  assert.deepEqual([heard.readings.length, asked], [3, 1]);
  answer(1);
  await settle();
  await clock.flow(60_000);
  assert.equal(asked, 2);
  answer(2);
  await settle();
  assert.deepEqual(heard.bodies().at(-1), { disk: 2, memory: 7 });
});

test('a reading that was under way when the driver stopped is not given', async () => {
  const { clock, heard, driver } = fake({ memory: async () => 7 });
  await driver.start();
  await driver.stop();
  await clock.flow(120_000);
  assert.deepEqual([heard.readings.length, clock.timers], [0, 0]);
});
