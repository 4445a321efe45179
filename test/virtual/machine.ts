import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { run } from '../parts/block-stack.ts';
import { Monitor } from '../parts/qemu-monitor.ts';
import { until } from '../parts/until.ts';
import { Pins } from '../hil/pins.ts';
import { Agent } from './agent.ts';
import type { Card } from './card.ts';

/** Longest from power on to the agent's first word, ms; on an idle machine it takes some 15,000. */
const BOOT_MS_MAX = 600_000;
/** Longest that a shutdown may take, ms. */
const SHUTDOWN_MS_MAX = 120_000;
/** Sparse; what a machine writes in its life is a small part of it. */
const LOG_BYTES = 8 * 2 ** 30;
const PL061 = 'child<pl061>';

export type Kind = 'virt' | 'raspi3b';

export interface MachineOptions {
  readonly kind: Kind;
  /** A port of this machine behind which the guest's hub is. */
  readonly hubPort: number;
  /** Where the folder with its sockets, its console and what it writes is made. */
  readonly dir: string;
}

/** A machine that runs from a card: QEMU, emulating every instruction (no KVM), with the far ends of its wires. */
export class Machine {
  readonly agent: Agent;
  readonly monitor: Monitor;
  /** What came out of the UART and the USB adapter goes nowhere: sensors talk. */
  readonly uart: Socket;
  readonly usb: Socket;
  readonly #qemu: ChildProcess;
  readonly #dir: string;
  readonly #card: Card;
  #pins: Pins | null = null;

  private constructor(qemu: ChildProcess, dir: string, card: Card, monitor: Monitor, wires: readonly Socket[]) {
    this.#qemu = qemu;
    this.#dir = dir;
    this.#card = card;
    this.monitor = monitor;
    const [agent, uart, usb] = wires as [Socket, Socket, Socket];
    this.agent = new Agent(agent);
    for (const wire of [uart, usb]) wire.on('error', () => undefined).resume();
    this.uart = uart;
    this.usb = usb;
  }

  /** Switches it on; it has not booted when this resolves. */
  static async start(card: Card, options: MachineOptions): Promise<Machine> {
    const dir = mkdtempSync(join(options.dir, 'machine-'));
    const path = (name: string): string => join(dir, name);
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', card.file, '-F', 'raw', path('overlay'));
    run('truncate', '-s', String(LOG_BYTES), path('log'));
    const socket = (name: string): string => `socket,id=${name},path=${path(name)},server=on,wait=off`;
    const { kernel, initrd, commandLine } = card.bootFiles();
    const network = `user,id=net,hostfwd=tcp:127.0.0.1:${options.hubPort}-:1883`;
    const bare = commandLine.replaceAll(/\bconsole=\S+ ?/g, '');
    const args = [
      ['-nodefaults', '-display', 'none', '-no-reboot', '-action', 'watchdog=reset'],
      ['-accel', 'tcg,thread=multi', '-kernel', kernel, '-initrd', initrd],
      ['-chardev', `file,id=console,path=${path('console')}`],
      ...['agent', 'uart', 'usb'].map((name) => ['-chardev', socket(name)]),
      ['-qmp', `unix:${path('qmp')},server=on,wait=off`],
      ...(options.kind === 'virt'
        ? [
            ['-M', 'virt', '-cpu', 'cortex-a53', '-smp', '2', '-m', '1024'],
            ['-append', `${bare} console=ttyAMA0`, '-serial', 'chardev:console'],
            // Every request that passes here is written down, and nothing else is kept: see Card.cut.
            ['-blockdev', `driver=qcow2,node-name=overlay,file.driver=file,file.filename=${path('overlay')}`],
            ['-blockdev', `driver=file,node-name=log,filename=${path('log')}`],
            [
              '-blockdev',
              'driver=blklogwrites,node-name=card,file=overlay,log=log,log-sector-size=512,log-super-update-interval=1',
            ],
            // Requests that QEMU merges can have more pieces than the log's file takes at once (IOV_MAX): they fail, and leave a hole.
            ['-device', 'virtio-blk-pci,drive=card,discard=off,write-zeroes=off,request-merging=off'],
            ['-netdev', network, '-device', 'virtio-net-pci,id=nic,netdev=net,romfile='],
            ['-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=agent,name=bench'],
            ['-device', 'qemu-xhci,id=sockets'],
            ...[1, 2, 3].map((slot) => ['-device', `pcie-root-port,id=slot${slot},chassis=${slot}`]),
            ['-qtest', `unix:${path('qtest')},server=on,wait=off`, '-qtest-log', '/dev/null'],
          ]
        : [
            ['-M', 'raspi3b', '-dtb', card.takeFromBoot(/^bcm2837-rpi-3-b\.dtb$/)],
            // The kernel's console is the mini UART, as on the board; the other UART leads to the Bluetooth chip.
            // Its watchdog resets QEMU's machine in the moment in which it is started, whatever time it is given.
            [
              '-append',
              `${bare} console=ttyS1,115200 module_blacklist=bcm2835_wdt`,
              '-serial',
              'null',
              '-serial',
              'chardev:console',
            ],
            ['-drive', `if=sd,format=qcow2,file=${path('overlay')}`],
            // It has no other port than those of the board: the agent comes by network.
            [
              '-netdev',
              `${network},guestfwd=tcp:10.0.2.100:4000-chardev:agent`,
              '-device',
              'usb-net,id=nic,netdev=net',
            ],
          ]),
    ].flat();
    // The machine never outlives the bench, however that ends.
    const qemu = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-aarch64', ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let complaint = '';
    qemu.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    try {
      const reach = (name: string): Promise<Socket> =>
        until(`QEMU's socket ${name}`, () => {
          if (qemu.exitCode !== null) throw new Error(`QEMU ended: ${complaint}`);
          return reached(path(name));
        });
      const wires = await Promise.all(['agent', 'uart', 'usb'].map(reach));
      return new Machine(qemu, dir, card, await Monitor.connect(path('qmp')), wires);
    } catch (error) {
      qemu.kill('SIGKILL');
      rmSync(dir, { recursive: true });
      throw error;
    }
  }

  /** Resolves when it has come so far that the agent answers. */
  async whenBooted(): Promise<void> {
    await Promise.race([
      this.agent.whenReady(BOOT_MS_MAX).catch((error: Error) => {
        throw new Error(`${error.message}; its console:\n${this.console()}`);
      }),
      once(this.#qemu, 'exit').then(() => {
        throw new Error(`the machine ended; its console:\n${this.console()}`);
      }),
    ]);
  }

  /** The far ends of its GPIO wires. */
  async pins(): Promise<Pins> {
    if (this.#pins === null) {
      const parent = '/machine/unattached';
      const objects = (await this.monitor.ask('qom-list', { path: parent })) as { name: string; type: string }[];
      const chip = objects.find(({ type }) => type === PL061);
      if (chip === undefined) throw new Error(`the machine has no ${PL061} in ${parent}`);
      const socket = await until('the socket for the pins', () => reached(join(this.#dir, 'qtest')));
      this.#pins = await Pins.connect(socket, `${parent}/${chip.name}`);
    }
    return this.#pins;
  }

  shell(line: string): Promise<string> {
    return this.agent.shell(line);
  }

  get running(): boolean {
    return this.#qemu.exitCode === null && this.#qemu.signalCode === null;
  }

  /** The end of what the kernel and systemd wrote to the console. */
  console(): string {
    const file = join(this.#dir, 'console');
    return existsSync(file) ? readFileSync(file, 'utf8').slice(-4_000) : '';
  }

  /** Resolves when its watchdog has reset it: the card is as after a cut. */
  async whenReset(random: () => number, msMax: number): Promise<void> {
    await this.#ended(msMax);
    await this.cut(random);
  }

  /** Shuts it down as its owner would. */
  async shutDown(): Promise<void> {
    // The agent is stopped before it can answer.
    void this.agent.run('systemctl --no-block poweroff').catch(() => undefined);
    await this.#ended(SHUTDOWN_MS_MAX);
    this.#card.keepAll(join(this.#dir, 'log'));
    this.#sweep();
  }

  /** Cuts its power; the card keeps what {@link Card.cut} says. Answers how many requests were not flushed. */
  async cut(random: () => number): Promise<number> {
    await this.#kill();
    const unflushed = this.#card.cut(join(this.#dir, 'log'), random);
    this.#sweep();
    return unflushed;
  }

  /** Ends it at once; the card is as it was before. */
  async discard(): Promise<void> {
    await this.#kill();
    this.#sweep();
  }

  async #ended(msMax: number): Promise<void> {
    await until(
      () => `the machine to end; its console:\n${this.console()}`,
      () => !this.running,
      msMax,
    );
  }

  async #kill(): Promise<void> {
    if (!this.running) return;
    const exit = once(this.#qemu, 'exit');
    this.#qemu.kill('SIGKILL');
    await exit;
  }

  #sweep(): void {
    this.agent.end();
    this.monitor.end();
    void this.#pins?.end();
    this.uart.destroy();
    this.usb.destroy();
    rmSync(this.#dir, { recursive: true });
  }
}

function reached(path: string): Promise<Socket | false> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', () => resolve(false));
  });
}
