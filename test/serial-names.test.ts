import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { rs485Struct, TIOCSRS485 } from '../src/drivers/rs485.ts';
import { SerialDriver, type SerialOptions } from '../src/drivers/serial.ts';
import { SerialPorts } from '../src/drivers/serial-ports.ts';
import { DriverSupervisor } from '../src/drivers/supervisor.ts';
import { presentPorts, usbPortPath } from '../src/drivers/usb-port.ts';
import { NO_SOCAT, Recorder, SerialCable, systemClock } from './driver-rig.ts';
import { scratch } from './parts/scratch.ts';

const FTDI = { vendor: '0403', product: '6001' };

/** Files as the kernel shows them: there is no USB here. */
class Machine {
  readonly folder = scratch();
  readonly places = { sys: join(this.folder, 'class'), dev: join(this.folder, 'dev') };

  constructor() {
    for (const name of Object.values(this.places)) mkdirSync(name);
    // A console without a device, and a place for a UART where there is none.
    mkdirSync(join(this.places.sys, 'tty0'));
    this.#tty('ttyS0', mkdirs(this.folder, 'devices/platform'), 'serial8250', { type: '0' });
  }

  /** The device in a USB socket appears as `tty`. */
  plugIn(tty: string, socket: string, files: Record<string, string>, number = '00'): void {
    const device = mkdirs(this.folder, `devices/usb1/${socket}`);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(device, name), `${text}\n`);
    const port = mkdirs(device, `${socket}:1.${Number(number)}/${tty}`);
    writeFileSync(join(port, '../bInterfaceNumber'), `${number}\n`);
    this.#tty(tty, port, 'ftdi_sio');
  }

  pullOut(tty: string): void {
    rmSync(join(this.places.sys, tty), { recursive: true });
    rmSync(join(this.places.dev, tty), { force: true });
  }

  #tty(tty: string, device: string, driver: string, files: Record<string, string> = {}): void {
    const folder = mkdirs(this.places.sys, tty);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    symlinkSync(device, join(folder, 'device'));
    rmSync(join(device, 'driver'), { force: true });
    symlinkSync(mkdirs(this.folder, `drivers/${driver}`), join(device, 'driver'));
  }
}

function mkdirs(folder: string, below: string): string {
  const path = join(folder, below);
  mkdirSync(path, { recursive: true });
  return path;
}

function adapter(serial: string): Record<string, string> {
  return { idVendor: FTDI.vendor, idProduct: FTDI.product, serial, manufacturer: 'FTDI', product: 'FT232R USB UART' };
}

describe('ports by the USB device that they belong to', () => {
  test('are found wherever it is plugged in, and what is there is said where it is not', async () => {
    const machine = new Machine();
    const path = async (wanted: object): Promise<string> => usbPortPath({ ...FTDI, ...wanted }, machine.places);
    await assert.rejects(path({}), /^Error: USB serial port 0403:6001 is not plugged in; no other is$/);
    machine.plugIn('ttyUSB3', '1-1.2', adapter('A1'));
    assert.equal(await path({}), join(machine.places.dev, 'ttyUSB3'));
    assert.deepEqual(await presentPorts(machine.places), [
      {
        path: join(machine.places.dev, 'ttyUSB3'),
        driver: 'ftdi_sio',
        usb: { ...FTDI, serial: 'A1', interface: 0 },
        description: 'FTDI FT232R USB UART',
      },
    ]);
    machine.plugIn('ttyUSB10', '1-1.3', adapter('B2'));
    await assert.rejects(path({}), /is ambiguous: \S+ttyUSB3 \(0403:6001 serial A1 interface 0\), .*say serial or/);
    assert.equal(await path({ serial: 'B2' }), join(machine.places.dev, 'ttyUSB10'));
    machine.plugIn('ttyUSB11', '1-1.3', adapter('B2'), '01');
    assert.equal(await path({ serial: 'B2', interface: 1 }), join(machine.places.dev, 'ttyUSB11'));
    await assert.rejects(path({ product: '6010' }), /0403:6010 is not plugged in; there is 0403:6001 serial A1 interf/);
  });
});

describe('a port that comes back', { skip: NO_SOCAT && `SKIP: ${NO_SOCAT}` }, () => {
  let cable: SerialCable;
  let heard: Recorder;
  let stop: () => Promise<void>;

  beforeEach(() => {
    cable = new SerialCable();
    heard = new Recorder();
    stop = async () => {};
  });
  afterEach(async () => {
    await stop();
    await cable.discard();
  });

  const line = { baudRate: 115_200, dataBits: 8, parity: 'none', stopBits: 1 } as const;
  const decoder = { kind: 'json', lineBytesMax: 100, delimiter: '\n' } as const;

  test('as another tty, in another socket, is found by its USB device', async () => {
    const machine = new Machine();
    const ports = new SerialPorts(systemClock, machine.places);
    const options: SerialOptions = { ...line, decoder, port: { usb: FTDI } };
    const supervisor = new DriverSupervisor({
      child: 'meter',
      kind: 'serial',
      create: (context) => new SerialDriver(options, context, ports),
      clock: systemClock,
      log: heard.logger,
      onReading: (_child, reading) => void heard.readings.push(reading),
      backoff: { minMs: 20, maxMs: 50 },
    });
    stop = () => supervisor.stop();
    await supervisor.start();
    assert.match(supervisor.snapshot().lastError ?? '', /USB serial port 0403:6001 is not plugged in/);
    for (const [round, tty] of ['ttyUSB0', 'ttyUSB1'].entries()) {
      await cable.plugIn();
      machine.plugIn(tty, `1-${round + 1}`, adapter('A1'));
      symlinkSync(cable.port, join(machine.places.dev, tty));
      await heard.until(() => supervisor.snapshot().state === 'running', 'the port');
      await cable.say(`{"n":${round}}\n`);
      await heard.until(() => heard.readings.length === round + 1, 'a reading');
      machine.pullOut(tty);
      await cable.unplug();
      await heard.until(() => supervisor.snapshot().state === 'waiting', 'the failure');
    }
    assert.deepEqual(heard.bodies(), [{ n: 0 }, { n: 1 }]);
  });

  test('a port that cannot switch the RS-485 direction says so, and is free again', async () => {
    await cable.plugIn();
    const ports = new SerialPorts(systemClock);
    const rs485 = { rtsOnSend: 'high', delayBeforeMs: 0, delayAfterMs: 1 } as const;
    const driver = new SerialDriver({ ...line, decoder, port: cable.port, rs485 }, heard.context(systemClock), ports);
    await assert.rejects(driver.start(), /^Error: serial port \S+ offers no switching of the RS-485 direction; remove/);
    const without = new SerialDriver({ ...line, decoder, port: cable.port }, heard.context(systemClock), ports);
    await without.start();
    stop = () => without.stop();
  });
});

test("the kernel's header lays RS-485 settings out as we do", () => {
  const program = join(scratch(), 'rs485');
  const source = `
    #include <linux/serial.h>
    #include <stdio.h>
    #include <sys/ioctl.h>
    int main(void) {
      struct serial_rs485 s = {.flags = SER_RS485_ENABLED | SER_RS485_RTS_ON_SEND,
                               .delay_rts_before_send = 2, .delay_rts_after_send = 3};
      for (unsigned i = 0; i < sizeof s; i++) printf("%02x", ((unsigned char *)&s)[i]);
      printf(" %x", TIOCSRS485);
    }`;
  execFileSync('gcc', ['-x', 'c', '-', '-o', program], { input: source });
  const ours = rs485Struct({ rtsOnSend: 'high', delayBeforeMs: 2, delayAfterMs: 3 });
  assert.equal(execFileSync(program, { encoding: 'utf8' }), `${ours.toString('hex')} ${TIOCSRS485.toString(16)}`);
});
