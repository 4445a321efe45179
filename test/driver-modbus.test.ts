import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { CommandResult } from '../src/commands/commands.ts';
import { loadConfig } from '../src/config/load.ts';
import { driverOf } from '../src/drivers/child-driver.ts';
import { ModbusDriver, type ModbusDecoderOptions, type ModbusOptions } from '../src/drivers/modbus/driver.ts';
import type { Register } from '../src/drivers/modbus/register.ts';
import { SerialDriver } from '../src/drivers/serial.ts';
import { SerialPorts } from '../src/drivers/serial-ports.ts';
import { DriverSupervisor } from '../src/drivers/supervisor.ts';
import { NO_SOCAT, Recorder, SerialCable, systemClock } from './driver-rig.ts';
import { ModbusSlave, NO_SLAVES } from './parts/modbus-slave.ts';
import { scratch } from './parts/scratch.ts';

const MISSING = NO_SOCAT || NO_SLAVES;
const skip = MISSING && `SKIP: ${MISSING}`;

const PLAIN = { wordOrder: 'big', byteOrder: 'big', scale: 1, offset: 0, writable: false } as const;

function register(name: string, type: Register['type'], address: number, more: Partial<Register> = {}): Register {
  const bits = type === 'coil' || type === 'discrete';
  return { ...PLAIN, name, type, address, format: bits ? 'bool' : 'uint16', ...more };
}

function optionsOf(
  port: string,
  unit: number,
  registers: Register[],
  more: Partial<ModbusDecoderOptions>,
): ModbusOptions {
  // Longer than the machine may stand still: where an answer shall not come in time, the test says how long it is waited for.
  const patience = { timeoutMs: 10_000, retries: 0 };
  const decoder = {
    kind: 'modbus',
    unit,
    everyMs: 50,
    gapMax: 8,
    writeMultiple: false,
    registers,
    ...patience,
  } as const;
  return { port, baudRate: 115_200, dataBits: 8, parity: 'none', stopBits: 1, decoder: { ...decoder, ...more } };
}

describe('a Modbus child and a slave on libmodbus', { skip }, () => {
  const cable = new SerialCable();
  let slave: ModbusSlave;
  let heard: Recorder;
  let stop: () => Promise<void>;

  async function started(registers: Register[], more: Partial<ModbusDecoderOptions> = {}): Promise<ModbusDriver> {
    const options = optionsOf(cable.port, 17, registers, more);
    const driver = new ModbusDriver(options, heard.context(systemClock), new SerialPorts(systemClock));
    await driver.start();
    stop = () => driver.stop();
    return driver;
  }

  before(async () => {
    await cable.plugIn();
    slave = await ModbusSlave.libmodbus(cable.device);
  });
  beforeEach(() => {
    heard = new Recorder();
    slave.requests.length = 0;
  });
  afterEach(() => stop());
  after(async () => {
    await slave.stop();
    await cable.discard();
  });

  test('all four tables, every format and order become one reading, in one request a table', async () => {
    const float = { format: 'float32' } as const;
    await started([
      register('coil', 'coil', 3),
      register('far', 'coil', 10),
      register('on', 'discrete', 2),
      register('off', 'discrete', 3),
      register('holding', 'holding', 7),
      register('abcd', 'input', 20, float),
      register('dcba', 'input', 22, { ...float, wordOrder: 'little', byteOrder: 'little' }),
      register('badc', 'input', 24, { ...float, byteOrder: 'little' }),
      register('cdab', 'input', 26, { ...float, wordOrder: 'little' }),
      register('long', 'input', 30, { format: 'int32' }),
      register('huge', 'input', 32, { format: 'int64' }),
      register('cold', 'input', 40, { format: 'int16', scale: 0.1, unit: '°C' }),
      register('alarm', 'input', 41, { format: 'bool', bit: 15 }),
      register('calm', 'input', 41, { format: 'bool', bit: 1 }),
      register('text', 'input', 42, { format: 'string', length: 3 }),
    ]);
    await heard.until(() => heard.readings.length > 0, 'a reading');
    assert.deepEqual(heard.bodies()[0], {
      coil: true,
      far: false,
      on: true,
      off: false,
      holding: 7,
      abcd: 21.3,
      dcba: 21.3,
      badc: 21.3,
      cdab: 21.3,
      long: -100_000,
      huge: '-9007199254740993',
      cold: -21.5,
      alarm: true,
      calm: false,
      text: 'Hi!',
    });
    assert.deepEqual(heard.readings[0]!.properties, { units: '{"cold":"°C"}' });
    assert.equal(heard.readings[0]!.contentType, 'application/json');
    assert.deepEqual(slave.requests.slice(0, 4), ['1 3 8', '2 2 2', '3 7 1', '4 20 25']);
  });

  test('a child as gateway.yaml describes it is read and written', async () => {
    const folder = scratch();
    const text = `
gateway: { id: line-4 }
children:
  - id: meter
    serial:
      port: ${cable.port}
      baudRate: 115200
      decoder: { modbus: { unit: 17, every: 50ms, registers: [{ name: a, address: 4, writable: true }, { name: b, address: 41, type: input, bit: 15 }] } }
`;
    writeFileSync(join(folder, 'gateway.yaml'), text);
    const { config, profile } = loadConfig(join(folder, 'gateway.yaml'));
    const around = { dataDir: folder, ratedTerabytesWritten: null, lastReadings: () => ({}) };
    const { kind, create } = driverOf(config.children[0]!, profile, new SerialPorts(systemClock), around);
    assert.equal(kind, 'serial');
    const driver = create(heard.context(systemClock));
    stop = () => driver.stop();
    await driver.start();
    await heard.until(() => heard.readings.length > 1, 'two polls');
    assert.deepEqual(heard.bodies()[0], { a: 4, b: true });
    assert.equal((await driver.command!('write', { name: 'a', value: 4 })).status, 200);
  });

  test('writes go out as functions 5, 6, 15 and 16, and are read back', async () => {
    const writable = { writable: true } as const;
    const registers = [
      register('valve', 'coil', 50, writable),
      register('pump', 'coil', 51, writable),
      register('target', 'holding', 60, { ...writable, format: 'int16', scale: 0.1 }),
      register('power', 'holding', 61, { ...writable, format: 'float32' }),
      register('fixed', 'holding', 63),
    ];
    const driver = await started(registers, { everyMs: 60_000 });
    await heard.until(() => heard.readings.length > 0, 'the first poll');
    slave.requests.length = 0;
    const write = async (payload: unknown): Promise<CommandResult> => driver.command('write', payload);
    assert.deepEqual(await write({ name: 'valve', value: true }), { status: 200, payload: { written: ['valve'] } });
    assert.equal((await write({ name: 'target', value: -21.5 })).status, 200);
    assert.deepEqual(await write({ register: 61, value: 1.5, readBack: true }), {
      status: 200,
      payload: { written: ['power'], values: { power: 1.5 } },
    });
    const several = [
      { name: 'valve', value: false },
      { name: 'pump', value: 1 },
      { name: 'target', value: 3 },
    ];
    assert.deepEqual(await write({ values: several, readBack: true }), {
      status: 200,
      payload: { written: ['valve', 'pump', 'target'], values: { valve: false, pump: true, target: 3 } },
    });
    assert.deepEqual(slave.requests, [
      '5 50 65280',
      '6 60 65321',
      '16 61 2',
      '3 61 2',
      '15 50 2',
      '6 60 30',
      '1 50 2',
      '3 60 1',
    ]);
    assert.deepEqual(await driver.command('read', null), {
      status: 200,
      payload: { valve: false, pump: true, target: 3, power: 1.5, fixed: 63 },
    });
    for (const [payload, complaint] of [
      [{ name: 'fixed', value: 1 }, /no writable register "fixed"; writable: valve, pump, target, power/],
      [{ name: 'target', value: 4000 }, /4000 does not fit into target \(int16\)/],
      [{ name: 'target', value: 'hot' }, /target takes a number/],
      [{ name: 'valve', value: 2 }, /valve takes true or false/],
      [{ name: 'valve' }, /write needs/],
      [[], /write needs/],
    ] as const) {
      const { status, payload: answer } = await write(payload);
      assert.equal(status, 400, JSON.stringify(payload));
      assert.match((answer as { error: string }).error, complaint);
    }
    assert.equal((await driver.command('reboot', null)).status, 404);
  });

  test('a device without functions 5 and 6 is written with 15 and 16', async () => {
    const registers = [
      register('valve', 'coil', 50, { writable: true }),
      register('target', 'holding', 60, { writable: true }),
    ];
    const driver = await started(registers, { everyMs: 60_000, writeMultiple: true });
    await heard.until(() => heard.readings.length > 0, 'the first poll');
    slave.requests.length = 0;
    assert.equal(
      (
        await driver.command(
          'write',
          registers.map(({ name }) => ({ name, value: 1 })),
        )
      ).status,
      200,
    );
    assert.deepEqual(slave.requests, ['15 50 1', '16 60 1']);
  });

  test('a group that the device refuses is said once and counted at each poll, and the others go on', async () => {
    const driver = await started([register('good', 'holding', 1), register('bad', 'holding', 100, { writable: true })]);
    await heard.until(() => heard.readings.length > 3, 'readings');
    assert.deepEqual(heard.bodies()[0], { good: 1 });
    const said = heard.log.filter(({ level }) => level >= 40);
    assert.deepEqual(
      said.map(({ msg }) => msg),
      ['holding 100: exception 2, illegal data address'],
    );
    assert.ok(heard.malformed.length >= 3, `${heard.malformed.length} counted`);
    assert.deepEqual(await driver.command('read', null), {
      status: 502,
      payload: { error: 'holding 100: exception 2, illegal data address', exception: 2, values: { good: 1 } },
    });
    assert.deepEqual(await driver.command('write', { name: 'bad', value: 1 }), {
      status: 502,
      payload: { error: 'exception 2, illegal data address', exception: 2 },
    });
  });

  test('a register that the device lacks takes none of its neighbours along', async () => {
    // It has 0 to 99.
    await started([97, 98, 99, 100].map((address) => register(`r${address}`, 'holding', address)));
    await heard.until(() => heard.readings.length > 1, 'readings');
    assert.deepEqual(heard.bodies()[1], { r97: 97, r98: 98, r99: 99 });
    assert.deepEqual(
      heard.log.filter(({ level }) => level >= 40).map(({ msg }) => msg),
      ['holding 100: exception 2, illegal data address'],
    );
  });

  test('a device that stops answering is said once, late answers are taken for nothing else, and it is read again', async () => {
    const registers = [register('one', 'holding', 1), register('forty', 'holding', 40)];
    const driver = await started(registers, { gapMax: 0, timeoutMs: 400 });
    await heard.until(() => heard.readings.length > 0, 'a reading');
    slave.pause();
    await heard.until(() => heard.malformed.length >= 4, 'failed polls');
    assert.equal((await driver.command('read', null)).status, 504);
    assert.deepEqual(
      heard.log.filter(({ level }) => level >= 40).map(({ msg }) => msg),
      ['holding 1: unit 17 does not answer', 'holding 40: unit 17 does not answer'],
    );
    const before = heard.readings.length;
    slave.goOn();
    await heard.until(() => heard.readings.length > before + 3, 'readings again');
    for (const body of heard.bodies() as { one?: number; forty?: number }[]) {
      assert.deepEqual(body, { ...body, ...('one' in body && { one: 1 }), ...('forty' in body && { forty: 40 }) });
    }
    assert.ok(
      heard.log.some(({ msg }) => /^holding 1: read again, after \d+ failures$/.test(msg)),
      'said again',
    );
  });

  test('a port has one owner, and whoever is refused it is told who has it', async () => {
    const ports = new SerialPorts(systemClock);
    const modbus = optionsOf(cable.port, 17, [register('a', 'holding', 5)], {});
    const context = { ...heard.context(systemClock), child: 'meter' };
    const driver = new ModbusDriver(modbus, context, ports);
    stop = () => driver.stop();
    await driver.start();
    const line = { ...modbus, decoder: { kind: 'json', lineBytesMax: 100, delimiter: '\n' } } as const;
    const other = { ...heard.context(systemClock), child: 'scale' };
    await assert.rejects(new SerialDriver(line, other, ports).start(), /is in use by the child meter$/);
    const slower = new ModbusDriver({ ...modbus, baudRate: 9600 }, other, ports);
    await assert.rejects(slower.start(), /in use by the child meter, with other settings of the line$/);
    await assert.rejects(
      new SerialDriver(line, other).start(),
      new RegExp(`is in use by \\S+ \\(process ${process.pid}\\)$`),
    );
  });

  test('a line on which nobody answers is given up, to be opened again', async () => {
    const { decoder, ...line } = optionsOf(cable.port, 9, [register('a', 'holding', 5)], { timeoutMs: 100 });
    const options = { ...line, decoder, reopenAfterMs: 300 };
    const driver = new ModbusDriver(options, heard.context(systemClock), new SerialPorts(systemClock));
    stop = () => driver.stop();
    await driver.start();
    await heard.until(() => heard.failures.length > 0, 'the failure');
    assert.match(String(heard.failures[0]), /nobody at the line answers for 0.3 s: the port is opened again/);
  });
});

describe('two Modbus children on one port, and slaves on pymodbus', { skip }, () => {
  const cable = new SerialCable();
  const ports = new SerialPorts(systemClock);
  const heard = [new Recorder(), new Recorder()];
  const children: DriverSupervisor[] = [];
  let slave: ModbusSlave;

  after(async () => {
    await Promise.all(children.map((child) => child.stop()));
    await slave.stop();
    await cable.discard();
  });

  test('share the line, beside a unit that nobody has; a gap that a device lacks is left out; unplug and replug', async () => {
    await cable.plugIn();
    slave = await ModbusSlave.pymodbus(cable.device);
    const absent = new Recorder();
    const nobody = new ModbusDriver(
      optionsOf(cable.port, 9, [register('a', 'holding', 5)], { timeoutMs: 100 }),
      absent.context(systemClock),
      ports,
    );
    await nobody.start();
    const registers = [register('a', 'holding', 2), register('b', 'holding', 6, { format: 'uint32' })];
    // Once the cable is in again they ask before the slaves are there to hear it.
    const more = { timeoutMs: 2_000 };
    for (const at of [0, 1]) {
      const recorder = heard[at]!;
      const child = new DriverSupervisor({
        child: `meter-${at + 1}`,
        kind: 'serial',
        create: (context) => new ModbusDriver(optionsOf(cable.port, at + 1, registers, more), context, ports),
        clock: systemClock,
        log: recorder.logger,
        onReading: (_child, reading) => void recorder.readings.push(reading),
        backoff: { minMs: 20, maxMs: 50 },
      });
      children.push(child);
      await child.start();
    }
    const bothRead = async (): Promise<void> => {
      for (const recorder of heard) {
        recorder.readings.length = 0;
        await recorder.until(() => recorder.readings.length >= 2, 'readings');
      }
    };
    await bothRead();
    assert.deepEqual(heard[0]!.bodies()[0], { a: 102, b: 106 * 65_536 + 107 });
    assert.deepEqual(heard[1]!.bodies()[0], { a: 202, b: 206 * 65_536 + 207 });
    assert.deepEqual(
      heard[0]!.log.filter(({ msg }) => msg.includes('parts')).map(({ msg }) => msg),
      ['holding 2 to 7: exception 2, illegal data address; read in 2 parts from now on'],
    );
    assert.deepEqual([heard[0]!.malformed, heard[1]!.malformed, absent.readings], [[], [], []]);
    await slave.stop();
    await cable.unplug();
    await absent.until(() => absent.failures.length === 1, 'the failure of the third');
    await nobody.stop();
    await heard[1]!.until(() => children.every((child) => child.snapshot().state === 'waiting'), 'both to fail');
    await cable.plugIn();
    slave = await ModbusSlave.pymodbus(cable.device);
    await bothRead();
    // One leaves, and the other has the line still.
    await children[0]!.stop();
    const { readings } = heard[1]!;
    readings.length = 0;
    await heard[1]!.until(() => readings.length >= 2, 'readings of the one that stayed');
  });
});
