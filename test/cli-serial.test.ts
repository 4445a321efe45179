import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { crc16Modbus } from '../src/drivers/checksum.ts';
import { guessLine } from '../src/drivers/line-guess.ts';
import { NO_SOCAT, SerialCable, systemClock } from './driver-rig.ts';
import { holdfast, RunningCommand } from './parts/command.ts';
import { ModbusSlave, NO_SLAVES } from './parts/modbus-slave.ts';
import { scratch } from './parts/scratch.ts';

const MISSING = NO_SOCAT || NO_SLAVES;
const HDT = '$GPHDT,274.07,T*03\r\n';

describe('holdfast serial probe', { skip: MISSING && `SKIP: ${MISSING}` }, () => {
  let cable: SerialCable;

  beforeEach(async () => {
    cable = new SerialCable();
    await cable.plugIn();
  });
  afterEach(() => cable.discard());

  /** What the command says about a port on which a device says the same again and again. */
  async function probed(words: Buffer | string, ...args: string[]) {
    const command = new RunningCommand(['serial', 'probe', cable.port, '--listen', '1', ...args]);
    const talk = setInterval(() => void cable.say(words), 50);
    try {
      return await command.ended;
    } finally {
      clearInterval(talk);
    }
  }

  test('hears what comes, shows it, and says what to write', async () => {
    const { code, stdout } = await probed(HDT);
    assert.match(stdout, /^9600 baud, 8N1: \d+ sentences of NMEA 0183 with the right checksum\n/);
    assert.match(stdout, /^0000 {2}24 47 50 48 44 54 2c 32 .* {2}\$GPHDT,274\.07,T\*$/m);
    assert.ok(stdout.endsWith(`\nserial: { port: ${cable.port}, baudRate: 9600, decoder: nmea }\n`), stdout);
    assert.equal(code, 0);
  });

  test('noise and silence are said, with 1', async () => {
    const noise = await probed(Buffer.from([0xff, 0x00, 0x80, 0xfe, 0x81]), '--baud', '4800', '--json');
    assert.equal(noise.code, 1);
    const { best, heard } = JSON.parse(noise.stdout) as { best: null; heard: { kind: string; baudRate: number }[] };
    assert.deepEqual([best, heard.length, heard[0]!.kind, heard[0]!.baudRate], [null, 1, 'noise', 4800]);
    const silent = await holdfast(['serial', 'probe', cable.port, '--baud', '9600', '--listen', '1']);
    assert.equal(silent.code, 1);
    assert.match(silent.stderr, /nothing came at any speed: .* --modbus 1-247/);
  });

  test('finds the Modbus devices of a line, by a name of the profile', async () => {
    const slave = await ModbusSlave.libmodbus(cable.device);
    const folder = scratch();
    const profile = `name: bench\ndescription: bench\nserial: { rs485: ${cable.port} }\nstorage: { medium: simulated }\n`;
    writeFileSync(join(folder, 'bench.yaml'), profile);
    writeFileSync(join(folder, 'gateway.yaml'), 'gateway: { id: a, profile: ./bench.yaml, dataDir: data }\n');
    const config = ['--config', join(folder, 'gateway.yaml')];
    try {
      const args = ['serial', 'probe', 'rs485', ...config, '--modbus', '16-18', '--baud', '115200'];
      // libmodbus takes what comes within 500 ms of a request to another unit for that unit's answer; and it hears of that request
      // only when it has its turn.
      const { code, stdout } = await holdfast([...args, '--timeout', '2000']);
      assert.equal(stdout, 'unit 17 at 115200 baud, 8N1: holding 0 is 0\n');
      assert.equal(code, 0);
      const none = await holdfast([
        ...args.slice(0, -4),
        '--modbus',
        '5',
        '--baud',
        '115200',
        '--parity',
        'none',
        '--json',
      ]);
      assert.deepEqual(JSON.parse(none.stdout), { port: cable.port, modbus: null });
      assert.equal(none.code, 1);
    } finally {
      await slave.stop();
    }
    const wrong = await holdfast(['serial', 'probe', 'rs422', ...config]);
    assert.match(wrong.stderr, /the profile has no serial port "rs422"/);
  });

  test('a port that somebody has is left to them, by name; what is no port or no unit is refused', async () => {
    const first = new RunningCommand(['serial', 'probe', cable.port, '--listen', '60']);
    await first.said(/listening/, 'stderr');
    const second = await holdfast(['serial', 'probe', cable.port, '--baud', '9600', '--listen', '1']);
    assert.match(second.stderr, new RegExp(`is in use by \\S+ \\(process ${first.process.pid}\\)`));
    first.process.kill('SIGTERM');
    await first.ended;
    assert.match((await holdfast(['serial', 'probe', '/dev/ttyNONE'])).stderr, /\/dev\/ttyNONE does not exist/);
    assert.equal((await holdfast(['serial', 'probe', cable.port, '--modbus', '0-5'])).code, 2);
  });

  test('without a port lists those of this machine, or says that there are none', async () => {
    const { code, stdout, stderr } = await holdfast(['serial', 'probe', '--json']);
    const ports = JSON.parse(stdout) as { path: string }[];
    assert.equal(code, ports.length === 0 ? 1 : 0, stderr);
    assert.ok(
      ports.every(({ path }) => path.startsWith('/dev/')),
      stdout,
    );
  });
});

test('what comes is told apart by its form and its checksums', () => {
  const kind = (bytes: Buffer | string): string => {
    const { kind: found, parity7 } = guessLine(Buffer.from(bytes as string), systemClock);
    return parity7 === undefined ? found : `${found} ${parity7}`;
  };
  const frame = (hex: string): Buffer => {
    const bytes = Buffer.from(`${hex}0000`, 'hex');
    bytes.writeUInt16LE(crc16Modbus(bytes.subarray(0, -2)), bytes.length - 2);
    return bytes;
  };
  const parity = (text: string, odd: number): Buffer =>
    Buffer.from(
      Buffer.from(text).map((byte) => byte | (((byte.toString(2).replaceAll('0', '').length + odd) % 2) << 7)),
    );
  assert.equal(kind(''), 'silent');
  assert.equal(kind(`74,T*03\r\n${HDT}`), 'nmea');
  assert.equal(kind('1}\n{"t": 2}\n{"t'), 'json');
  assert.equal(kind('T=21.5 H=40\r\nT=21'), 'text');
  assert.equal(kind(Buffer.concat([frame('110300000002'), frame('11030400010002')])), 'modbus');
  assert.equal(kind(parity('T=21.5 H=40\r\n', 0)), 'text even');
  assert.equal(kind(parity('T=21.5 H=40\r\n', 1)), 'text odd');
  assert.equal(kind(Buffer.from([0x00, 0xff, 0x80, 0x13, 0xfe])), 'noise');
});
