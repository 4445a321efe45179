import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import { until } from '../parts/until.ts';
import { Machine } from './machine.ts';

/** The port to the sensor: a 16550 on the PCI bus. */
export const UART = '/dev/ttyS0';
/** The port of the board that the kernel's console is on, too: a PL011. */
export const CONSOLE = '/dev/ttyAMA0';
/** Where a board finds the computer that runs the tests. */
export const HOST = '10.0.2.2';
/** The line that stands exported in sysfs before the gateway starts: the character device is refused for it, so sysfs is used. */
export const LINE_BY_SYSFS = 1;
const USER = 990;
const GPIO = 991;
const DIALOUT = 20;

/**
 * What Debian has made of a board when holdfast.service starts: the user and groups of the package, the rights that udev's rules
 * give them, the data partition and the network.
 */
const START = `
mount -t ext4 LABEL=data /var/lib/holdfast
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via ${HOST}
number=$(($(cat /sys/class/gpio/gpiochip*/base) + ${LINE_BY_SYSFS}))
echo $number >/sys/class/gpio/export
chgrp dialout ${UART} ${CONSOLE}
chgrp gpio /dev/gpiochip* /sys/class/gpio/export /sys/class/gpio/unexport
cd /sys/class/gpio/gpio$number/
chgrp gpio direction edge value active_low
chmod g+rw /dev/gpiochip* ${UART} ${CONSOLE} /sys/class/gpio/export /sys/class/gpio/unexport direction edge value active_low
cd /
touch /run/set-up
while sleep 3600; do :; done
`;

/** Longest for a program in the machine to start and do its work, ms. On an idle computer it takes 2,000 to 6,000. */
const PROGRAM_MS_MAX = 240_000;
/**
 * The emulated processor pays many times over for code that has just been made, and V8 makes much: without its compilers
 * programs start in half the time. The long tests leave them on, as on a board.
 */
const NODE_OPTIONS = process.env['HOLDFAST_TEST_LONG'] === '1' ? '' : '--jitless';

export interface Rs485State {
  readonly enabled: boolean;
  readonly rtsOnSend: boolean;
  readonly delayBeforeMs: number;
  readonly delayAfterMs: number;
}

/** A board with the .deb on it and this configuration, a UART, a network card and a disk for the data, which outlives it. */
export class Board {
  readonly machine: Machine;
  /** The other end of the UART. */
  readonly uart: Socket;

  private constructor(machine: Machine, uart: Socket) {
    this.machine = machine;
    this.uart = uart;
  }

  /** Resolves when holdfast.service could be started. */
  static async boot(config: string, disk: string): Promise<Board> {
    const machine = await Machine.boot({
      files: {
        'app/start': START,
        'etc/holdfast/gateway.yaml': config,
        'etc/passwd': `root:x:0:0::/:/bin/sh\nholdfast:x:${USER}:${USER}::/var/lib/holdfast:/bin/false\n`,
        'etc/group': `root:x:0:\ndialout:x:${DIALOUT}:holdfast\nholdfast:x:${USER}:\ngpio:x:${GPIO}:holdfast\n`,
        'var/lib/holdfast/.mount-point': '',
      },
      devices: (socket) => [
        ['-drive', `file=${disk},format=raw,if=none,id=data`, '-device', 'virtio-blk-device,drive=data'],
        ['-netdev', 'user,id=net0', '-device', 'virtio-net-device,netdev=net0,id=nic0'],
        ['-chardev', `socket,id=uart,${socket('uart')}`, '-device', 'pci-serial,chardev=uart'],
      ],
    });
    const board = new Board(machine, await machine.port('uart'));
    await machine.shell('until [ -e /run/set-up ]; do sleep 0.1; done');
    return board;
  }

  /** Runs a command with `--json` as the gateway's user; answers what it says. Rejects when it does not end with `code`. */
  async holdfast<T>(args: string, code = 0): Promise<T> {
    const line = `${asUser(`${args} --json`)} 2>/dev/console; code=$?; [ $code = ${code} ] || { echo "exit code $code"; false; }`;
    return JSON.parse(await this.machine.shell(line, PROGRAM_MS_MAX)) as T;
  }

  /** Starts the gateway as holdfast.service does; its log goes to the console. Resolves when it runs. */
  async startGateway(): Promise<void> {
    const run = asUser('run --config /etc/holdfast/gateway.yaml --log-format json');
    await this.machine.shell(`umask 0077; ${run} >/dev/console 2>&1 &`);
    await this.untilLogged(/"msg":"running"/);
  }

  /** Resolves when a line of the console matches that was written since character `from`. */
  untilLogged(pattern: RegExp, from = 0): Promise<true> {
    return until(
      () => `${pattern} in the log:\n${this.machine.console().slice(-6_000)}`,
      () => pattern.test(this.machine.console().slice(from)),
      PROGRAM_MS_MAX,
    );
  }

  /** What the kernel says of a port's RS-485 (TIOCGRS485 of <linux/serial.h>). */
  async rs485(port: string): Promise<Rs485State> {
    const script =
      `const fd = require('fs').openSync('${port}', 'r+'); const bytes = Buffer.alloc(32); ` +
      `const ioctl = require('koffi').load(null).func('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)'); ` +
      `const code = ioctl(fd, 0x542e, bytes); const word = (at) => bytes.readUInt32LE(at); ` +
      `console.log(JSON.stringify({ enabled: code === 0 && (word(0) & 1) !== 0, rtsOnSend: (word(0) & 2) !== 0, delayBeforeMs: word(4), delayAfterMs: word(8) }))`;
    const node = `cd /usr/lib/holdfast && NODE_OPTIONS=${NODE_OPTIONS} bin/node -e "${script}"`;
    return JSON.parse(await this.machine.shell(node, PROGRAM_MS_MAX)) as Rs485State;
  }

  /** Cuts the power. */
  async end(): Promise<void> {
    this.uart.destroy();
    await this.machine.end();
  }

  /** Pulls the network cable, or puts it back. */
  link(up: boolean): Promise<void> {
    return this.machine.link('nic0', up);
  }

  /** Interrupts that the kernel has served of the lines that the gateway has by the character device. */
  async interrupts(): Promise<number> {
    const lines = (await this.machine.shell('cat /proc/interrupts'))
      .split('\n')
      .filter((line) => line.endsWith('holdfast'));
    return lines.reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[1]), 0);
  }

  /** Puts a voltage at an input that is at the other; resolves when the kernel has seen the edge. */
  async edge(line: number, voltage: 0 | 1): Promise<void> {
    const before = await this.interrupts();
    await this.machine.pins.drive(line, voltage);
    await until('the interrupt', async () => (await this.interrupts()) > before);
  }
}

function asUser(args: string): string {
  return `NODE_OPTIONS=${NODE_OPTIONS} su -s /bin/sh holdfast -c 'exec /usr/bin/holdfast ${args}'`;
}

/** An empty data partition for the gateway's user. */
export function makeDisk(path: string): void {
  const file = openSync(path, 'wx');
  ftruncateSync(file, 64 * 1024 * 1024);
  closeSync(file);
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-L', 'data', '-E', `root_owner=${USER}:${USER}`, path], {
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  });
}
