import assert from 'node:assert/strict';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import type { Clock } from '../src/clock/clock.ts';
import type { StreamDecoderOptions } from '../src/drivers/decoders/stream.ts';
import type { SerialOptions } from '../src/drivers/serial.ts';
import { SerialDriver } from '../src/drivers/serial.ts';
import { DriverSupervisor } from '../src/drivers/supervisor.ts';
import { NO_SOCAT, Recorder, SerialCable, systemClock } from './driver-rig.ts';
import { ManualClock } from './manual-clock.ts';

const JSON_LINES: StreamDecoderOptions = { kind: 'json', lineBytesMax: 4_096, delimiter: '\n' };

function options(port: string, decoder: StreamDecoderOptions = JSON_LINES): SerialOptions {
  return { port, baudRate: 115_200, dataBits: 8, parity: 'none', stopBits: 1, decoder };
}

describe('a serial child on a pseudo terminal', { skip: NO_SOCAT && `SKIP: ${NO_SOCAT}` }, () => {
  let cable: SerialCable;
  let heard: Recorder;
  let stop: () => Promise<void>;

  /** Plugs in, and starts a driver at the other end. */
  async function started(decoder?: StreamDecoderOptions, clock: Clock = systemClock): Promise<SerialDriver> {
    await cable.plugIn();
    const driver = new SerialDriver(options(cable.port, decoder), heard.context(clock));
    await driver.start();
    stop = () => driver.stop();
    return driver;
  }

  beforeEach(() => {
    cable = new SerialCable();
    heard = new Recorder();
    stop = async () => {};
  });

  afterEach(async () => {
    await stop();
    await cable.discard();
  });

  test('lines become readings, with the bytes as they came', async () => {
    await started();
    await cable.say('{"t": 21.50}\r\n\n[1,');
    await cable.say('2]\n');
    await heard.until(() => heard.readings.length === 2, 'two readings');
    assert.deepEqual(
      heard.readings.map(({ body }) => body.toString()),
      ['{"t": 21.50}', '[1,2]'],
    );
    assert.deepEqual(
      heard.readings.map(({ contentType, contentEncoding, eventTime }) => ({
        contentType,
        contentEncoding,
        eventTime,
      }))[0],
      { contentType: 'application/json', contentEncoding: 'utf-8', eventTime: undefined },
    );
    assert.deepEqual(heard.malformed, []);
  });

  test('10,000 lines at full speed arrive, none lost, in order', async () => {
    await started();
    const lines = Array.from({ length: 10_000 }, (_, n) => `{"n":${n},"pad":"${'x'.repeat(n % 50)}"}\n`);
    await cable.say(lines.join(''));
    await heard.until(() => heard.readings.length >= 10_000, '10,000 readings');
    assert.deepEqual(
      heard.readings.map(({ body }) => `${body.toString()}\n`),
      lines,
    );
    assert.deepEqual(heard.malformed, []);
  });

  test('garbage and over-long lines are counted, and the next good line is read', async () => {
    await started({ ...JSON_LINES, lineBytesMax: 100 });
    await cable.say(Buffer.from([0xff, 0xfe, 0x00, 0x1b, 0x5b, 0x0a]));
    await cable.say('{"n":1}\n');
    await cable.say(`${'y'.repeat(5_000)}\n`);
    await cable.say('{"n":2}\nnot json\n{"n":3}\n');
    await heard.until(() => heard.readings.length === 3, 'three readings');
    assert.deepEqual(heard.bodies(), [{ n: 1 }, { n: 2 }, { n: 3 }]);
    assert.deepEqual(
      heard.malformed.map(({ why }) => why),
      ['not UTF-8', 'line longer than 100 bytes', 'not JSON'],
    );
  });

  test('CSV and pattern lines become JSON objects', async () => {
    const driver = await started({
      kind: 'csv',
      columns: ['t', 'name'],
      separator: ';',
      lineBytesMax: 100,
      delimiter: '\r\n',
    });
    await cable.say('21.5;"a;b"\r\n');
    await heard.until(() => heard.readings.length === 1, 'a CSV reading');
    await driver.stop();
    const second = new SerialDriver(
      options(cable.port, { kind: 'regex', pattern: 'T=(?<t>[\\d.]+)', lineBytesMax: 100, delimiter: '\n' }),
      heard.context(systemClock),
    );
    await second.start();
    stop = () => second.stop();
    await cable.say('xx T=3.25 yy\n');
    await heard.until(() => heard.readings.length === 2, 'a pattern reading');
    assert.deepEqual(heard.bodies(), [{ t: 21.5, name: 'a;b' }, { t: 3.25 }]);
  });

  test('a receiver that is played back gives positions with the time that it says', async () => {
    const driver = await started({ kind: 'nmea', sentences: ['RMC'], minIntervalMs: 0, checksumRequired: true });
    const rmc = '$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n';
    await cable.say(`${rmc.slice(20)}$GPHDT,274.07,T*03\r\n${rmc}${rmc.replace('W*6A', 'W*6B')}`);
    await heard.until(() => heard.malformed.length === 2, 'the broken sentences');
    assert.equal(heard.readings.length, 1);
    assert.equal(heard.readings[0]!.eventTime, Date.UTC(1994, 2, 23, 12, 35, 19));
    assert.equal((heard.bodies()[0] as { lat: number }).lat, 48.1173);
    assert.equal((await driver.command('write', '$PUBX,40,GLL,0,0,0,0*5C')).status, 200);
    assert.equal((await cable.hear()).toString(), '$PUBX,40,GLL,0,0,0,0*5C\r\n');
  });

  test('binary frames come as bytes, and bytes are written as they are', async () => {
    const start = Buffer.from([0xaa]);
    const sum = { kind: 'sum8', from: 1, byteOrder: 'big' } as const;
    const driver = await started({ kind: 'frame', start, size: 4, frameBytesMax: 64, checksum: sum });
    await cable.say(Buffer.from([0x01, 0xaa, 0x10, 0x20, 0x30, 0xaa, 0xaa, 0x00, 0xaa]));
    await heard.until(() => heard.readings.length === 2, 'two frames');
    assert.deepEqual(
      heard.readings.map(({ body, contentType }) => `${body.toString('hex')} ${contentType}`),
      ['aa102030 application/octet-stream', 'aaaa00aa application/octet-stream'],
    );
    assert.equal((await driver.command('write', { base64: 'qhA=' })).status, 200);
    assert.deepEqual(await cable.hear(), Buffer.from([0xaa, 0x10]));
  });

  test('a port that falls silent is given up, to be opened again', async () => {
    await cable.plugIn();
    // Silence by this clock is none of the machine's, which may stand still before the line is heard.
    const clock = new ManualClock();
    const driver = new SerialDriver({ ...options(cable.port), reopenAfterMs: 400 }, heard.context(clock));
    await driver.start();
    stop = () => driver.stop();
    await clock.flow(300);
    await cable.say('{"n":1}\n');
    await heard.until(() => heard.readings.length === 1, 'the reading');
    await clock.flow(399);
    assert.deepEqual(heard.failures, []);
    await clock.flow(1);
    assert.equal(heard.failures.length, 1);
    assert.match(String(heard.failures[0]), /nothing came for 0.4 s: the port is opened again/);
  });

  test('write puts a line on the wire before it answers', async () => {
    const driver = await started();
    assert.deepEqual(await driver.command('write', 'SET 21'), { status: 200, payload: { bytes: 7 } });
    assert.equal((await cable.hear()).toString(), 'SET 21\n');
    assert.equal((await driver.command('write', { line: 'b\u00e9' })).status, 200);
    assert.equal((await cable.hear()).toString(), 'b\u00e9\n');
    assert.equal((await driver.command('write', { base64: 'AAH/' })).status, 200);
    assert.deepEqual(await cable.hear(), Buffer.from([0, 1, 255, 10]));
  });

  test('writes that overlap keep their order and stay whole', async () => {
    const driver = await started();
    const lines = Array.from({ length: 10 }, (_, n) => `line ${n} ${'z'.repeat(n * 20)}`);
    const answers = Promise.all(lines.map((line) => driver.command('write', line)));
    let text = '';
    while (text.split('\n').length <= lines.length) text += (await cable.hear()).toString();
    assert.deepEqual(text.split('\n').slice(0, -1), lines);
    assert.ok((await answers).every(({ status }) => status === 200));
  });

  test('a wrong command or payload is refused', async () => {
    const driver = await started();
    assert.equal((await driver.command('reboot', null)).status, 404);
    for (const bad of [
      null,
      7,
      {},
      { line: 7 },
      { base64: 'not base64' },
      { line: 'a', base64: 'AAAA' },
      'x'.repeat(9_000),
    ]) {
      assert.equal((await driver.command('write', bad)).status, 400, JSON.stringify(bad));
    }
    await driver.stop();
    assert.equal((await driver.command('write', 'x')).status, 503);
  });

  test('a device that takes nothing does not hold a write, or the threads that the spool needs, for ever', async () => {
    const driver = await started();
    // Nobody reads at the device's end: the terminal's buffers fill up, and the line stands still.
    const answers = await Promise.all(Array.from({ length: 16 }, () => driver.command('write', 'w'.repeat(8_000))));
    const late = answers.filter(({ status }) => status !== 200);
    assert.ok(late.length > 0 && late.every(({ status }) => status === 503 || status === 504), JSON.stringify(late));
    assert.ok(late.some(({ status }) => status === 504));
    assert.equal(heard.failures.length, 1);
  });

  test('a machine that stands still while a write is under way does not cost the port', async () => {
    // As when it goes on: a timer is long due, and what the line did meanwhile was not heard of yet.
    let stoodStill = false;
    const clock: Clock = {
      bootId: systemClock.bootId,
      wall: () => systemClock.wall(),
      monotonic: () => systemClock.monotonic(),
      known: () => true,
      soon: (fn) => systemClock.soon(fn),
      after: (ms, fn) => {
        if (stoodStill) return systemClock.after(ms, fn);
        stoodStill = true;
        systemClock.soon(fn);
        return { cancel: () => undefined };
      },
      every: (ms, fn) => systemClock.every(ms, fn),
    };
    const driver = await started(undefined, clock);
    assert.equal((await driver.command('write', 'x')).status, 200);
    assert.ok(stoodStill);
    assert.deepEqual(heard.failures, []);
  });

  test('more writes than may wait are refused', async () => {
    const driver = await started();
    const answers = Promise.all(Array.from({ length: 20 }, (_, n) => driver.command('write', `${n}`)));
    let text = '';
    while (text.split('\n').length <= 16) text += (await cable.hear()).toString();
    assert.deepEqual(
      (await answers).map(({ status }) => status),
      [...Array<number>(16).fill(200), ...Array<number>(4).fill(503)],
    );
  });

  test('unplugging is told once, and what was held of a line is malformed', async () => {
    const driver = await started();
    await cable.say('{"n":1}\n{"n":');
    await heard.until(() => heard.readings.length === 1, 'a reading');
    await cable.unplug();
    await heard.until(() => heard.failures.length > 0, 'the failure');
    assert.deepEqual(heard.malformed, [{ why: 'cut off by unplugging', sample: '{"n":' }]);
    assert.equal(heard.failures.length, 1);
    assert.match(String(heard.failures[0]), new RegExp(`serial port ${cable.port} went away: unplugged`));
    assert.equal((await driver.command('write', 'x')).status, 503);
    await assert.rejects(driver.start(), new RegExp(`serial port ${cable.port} does not exist: unplugged`));
  });

  test('a write that waits when the port is unplugged is answered', async () => {
    const driver = await started();
    const answers = Promise.all(Array.from({ length: 3 }, () => driver.command('write', 'w'.repeat(8_000))));
    await cable.unplug();
    assert.ok((await answers).every(({ status }) => status === 200 || status === 503));
  });

  test('stopping in mid-line is silent, and the port can be opened again', async () => {
    const driver = await started();
    await cable.say('{"n":1}\n{"n":');
    await heard.until(() => heard.readings.length === 1, 'a reading');
    await driver.stop();
    await driver.stop();
    await driver.start();
    await cable.say('{"n":2}\n');
    await heard.until(() => heard.readings.length === 2, 'the reading after');
    assert.deepEqual(heard.malformed, []);
    assert.deepEqual(heard.failures, []);
  });

  test('a port that is opened again and again takes no more memory of libuv each time', async () => {
    /** Descriptors that libuv waits for, or would. */
    const polls = () =>
      (process.report.getReport() as unknown as { libuv: { type: string }[] }).libuv.filter(
        ({ type }) => type === 'poll',
      ).length;
    await started();
    const before = polls();
    for (let n = 1; n <= 30; n++) {
      await stop();
      const driver = new SerialDriver(options(cable.port), heard.context(systemClock));
      await driver.start();
      stop = () => driver.stop();
      await cable.say(`{"n":${n}}\n`);
      await heard.until(() => heard.readings.length === n, `reading ${n}`);
    }
    // Descriptors have other numbers from time to time.
    assert.ok(polls() - before < 15, `${before} before, ${polls()} after 30 times`);
  });

  test('a stop that overtakes a start leaves the port free', async () => {
    await cable.plugIn();
    const driver = new SerialDriver(options(cable.port), heard.context(systemClock));
    const starting = driver.start();
    await driver.stop();
    await starting;
    const second = new SerialDriver(options(cable.port), heard.context(systemClock));
    await second.start();
    stop = () => second.stop();
  });

  test('a port that another program holds is refused by name', async () => {
    await started();
    const second = new SerialDriver(options(cable.port), heard.context(systemClock));
    await assert.rejects(second.start(), new RegExp(`serial port ${cable.port} is in use by \\S+ \\(process \\d+\\)`));
  });

  test('under a supervisor, unplug and replug in mid-line lose only the line that was cut', async () => {
    await cable.plugIn();
    const supervisor = new DriverSupervisor({
      child: 'meter',
      kind: 'serial',
      create: (context) => new SerialDriver(options(cable.port), context),
      clock: systemClock,
      log: heard.logger,
      onReading: (_child, reading) => void heard.readings.push(reading),
      backoff: { minMs: 20, maxMs: 50 },
    });
    stop = () => supervisor.stop();
    await supervisor.start();
    assert.equal(supervisor.snapshot().state, 'running');
    for (let round = 0; round < 3; round++) {
      await cable.say(`{"n":${round}}\n{"cut":`);
      await heard.until(() => heard.readings.length === round + 1, `reading ${round}`);
      await cable.unplug();
      await heard.until(() => supervisor.snapshot().state === 'waiting', 'the failure');
      assert.equal((await supervisor.command('write', 'x')).status, 503);
      await cable.plugIn();
      await heard.until(() => supervisor.snapshot().state === 'running', 'the return');
    }
    await cable.say('{"n":3}\n');
    await heard.until(() => heard.readings.length === 4, 'the last reading');
    assert.deepEqual(heard.bodies(), [{ n: 0 }, { n: 1 }, { n: 2 }, { n: 3 }]);
    const { malformed, readings, restarts } = supervisor.snapshot();
    assert.deepEqual({ malformed, readings }, { malformed: 3, readings: 4 });
    assert.ok(restarts >= 3);
  });
});

test('what is not a serial port is refused by name', async () => {
  const refused = (port: string): Promise<void> =>
    new SerialDriver(options(port), new Recorder().context(systemClock)).start();
  await assert.rejects(refused('/dev/no-such-port'), /serial port \/dev\/no-such-port does not exist/);
  await assert.rejects(refused('/etc/hostname'), /serial port \/etc\/hostname is not a device/);
  await assert.rejects(refused('/dev/null'), /serial port \/dev\/null is not a serial port/);
});

// The system clock's timers keep no process alive; without socat nothing else would.
const alive = setInterval(() => {}, 1_000);
after(() => clearInterval(alive));
