import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { Monitor } from '../parts/qemu-monitor.ts';
import { Bell, until } from '../parts/until.ts';
import { GuestShell } from './guest-shell.ts';
import { Pins } from './pins.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** Where scripts/test-hil puts the machine's parts. */
const PARTS = join(ROOT, '.scratch/hil');
/** Longest from start to the guest's shell, ms; on an idle machine it takes 3,000. */
const BOOT_MS_MAX = 90_000;
/** What the .deb is made of, as scripts/test-hil says it. */
const PACKED = ['src', 'systemd', 'device-profiles', 'scripts/build-deb', 'package-lock.json'];
const PL061 = 'child<pl061>';
/** The label of the machine's only GPIO chip: the device tree's name for it. */
export const CHIP = '9030000.pl061';

/** Why no machine can be started here, or false. */
export const NO_MACHINE: string | false = (() => {
  const text = (name: string): string | null =>
    existsSync(join(PARTS, name)) ? readFileSync(join(PARTS, name), 'utf8').trim() : null;
  const todo = 'run: npm run test:hil';
  const ready = text('ready');
  if (ready === null) return text('skipped') ?? `the virtual machine's parts are not prepared; ${todo}`;
  const [recipe = '', sources = ''] = ready.split('\n');
  return recipe.startsWith(hash(['scripts/test-hil'])) && sources.startsWith(hash(PACKED.flatMap(filesOf)))
    ? false
    : `the virtual machine's parts are older than what they are made of; ${todo}`;
})();

function filesOf(path: string): string[] {
  if (!statSync(join(ROOT, path)).isDirectory()) return [path];
  const entries = readdirSync(join(ROOT, path), { recursive: true, withFileTypes: true });
  return entries.filter((each) => each.isFile()).map((each) => relative(ROOT, join(each.parentPath, each.name)));
}

function hash(files: readonly string[]): string {
  const sum = createHash('sha256');
  for (const file of files.toSorted()) sum.update(readFileSync(join(ROOT, file)));
  return sum.digest('hex');
}

export interface MachineOptions {
  /** What its root file system has besides the prepared: a path from / and the text. `app/start` is a shell script, the program. */
  readonly files: Readonly<Record<string, string>>;
  /** Names of virtio ports, in the guest /dev/NAME. */
  readonly ports?: readonly string[];
  /** More of QEMU's arguments, from the paths of sockets by their names. */
  readonly devices?: (socket: (name: string) => string) => readonly string[][];
}

/** An arm64 machine with Debian's kernel, the unpacked .deb in /usr and one GPIO chip of 8 lines (a PL061), emulated by QEMU. */
export class Machine {
  readonly #qemu: ChildProcess;
  readonly #dir: string;
  readonly #monitor: Monitor;
  readonly #shell: GuestShell;
  readonly pins: Pins;
  #complaint = '';
  readonly #end = new Bell();

  private constructor(qemu: ChildProcess, dir: string, monitor: Monitor, shell: GuestShell, pins: Pins) {
    this.#qemu = qemu;
    this.#dir = dir;
    this.#monitor = monitor;
    this.#shell = shell;
    this.pins = pins;
    qemu.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#complaint += text));
    qemu.once('exit', () => this.#end.ring());
  }

  /** Resolves when the guest's shell answers; `app/start` has begun then. */
  static async boot({ files, ports = [], devices }: MachineOptions): Promise<Machine> {
    const dir = mkdtempSync(join(tmpdir(), 'holdfast-vm-'));
    packInitrd(dir, files);
    const path = (name: string): string => join(dir, name);
    const socket = (name: string): string => `path=${path(name)},server=on,wait=off`;
    const port = (name: string): string[][] => [
      ['-chardev', `socket,id=${name},${socket(name)}`],
      ['-device', `virtserialport,chardev=${name},name=${name}`],
    ];
    const args = [
      ['-M', 'virt', '-cpu', 'cortex-a53', '-accel', 'tcg,thread=multi', '-m', '512'],
      ['-nodefaults', '-display', 'none', '-no-reboot', '-serial', `file:${path('console')}`],
      ['-kernel', join(PARTS, 'vmlinuz'), '-initrd', path('initrd'), '-append', 'console=ttyAMA0 quiet panic=-1'],
      ['-drive', `file=${join(PARTS, 'usr.ext4')},format=raw,if=none,id=usr,read-only=on`],
      ['-device', 'virtio-blk-device,drive=usr', '-device', 'virtio-serial-device'],
      ...['shell', ...ports].flatMap(port),
      ['-qmp', `unix:${path('qmp')},server=on,wait=off`],
      ['-qtest', `unix:${path('qtest')},server=on,wait=off`, '-qtest-log', '/dev/null'],
      ...(devices?.(socket) ?? []),
    ].flat();
    // The machine never outlives the test, however that ends.
    const qemu = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-aarch64', ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let machine: Machine | undefined;
    try {
      await until('QEMU to open its sockets', () => {
        if (qemu.exitCode !== null) throw new Error(`QEMU ended: ${String(qemu.stderr.read())}`);
        return existsSync(path('qtest'));
      });
      const monitor = await Monitor.connect(path('qmp'));
      const pins = await Pins.connect(await reach(path('qtest')), await pathOfChip(monitor));
      machine = new Machine(qemu, dir, monitor, new GuestShell(await reach(path('shell'))), pins);
      await machine.shell('true', BOOT_MS_MAX);
      return machine;
    } catch (error) {
      const said = machine?.console() ?? '';
      qemu.kill('SIGKILL');
      rmSync(dir, { recursive: true });
      throw new Error(`the machine does not start: ${(error as Error).message}; its console:\n${said}`, {
        cause: error,
      });
    }
  }

  /** Runs a line of shell in the guest, as root; answers its output without the last newline. */
  async shell(line: string, msMax?: number): Promise<string> {
    return (await this.#shell.run(line, msMax)).trimEnd();
  }

  /** The other end of a virtio port, or of a socket that `devices` has named. */
  port(name: string): Promise<Socket> {
    return reach(join(this.#dir, name));
  }

  /** Pulls the cable of the network card with this id, or puts it back. */
  async link(id: string, up: boolean): Promise<void> {
    await this.#monitor.ask('set_link', { name: id, up });
  }

  get running(): boolean {
    return this.#qemu.exitCode === null && this.#qemu.signalCode === null;
  }

  /** What the kernel and the guest's programs wrote to the console, and then what QEMU complains about. */
  console(): string {
    const file = join(this.#dir, 'console');
    return (existsSync(file) ? readFileSync(file, 'utf8') : '') + this.#complaint;
  }

  /** Cuts the power: nothing in the guest gets to do anything. */
  async end(): Promise<void> {
    await this.pins.end();
    this.#monitor.end();
    if (this.running) {
      const exit = once(this.#qemu, 'exit');
      this.#qemu.kill('SIGKILL');
      await exit;
    }
    rmSync(this.#dir, { recursive: true });
  }
}

/** The prepared root file system, followed by an archive with these files: the kernel unpacks both. */
function packInitrd(dir: string, files: Readonly<Record<string, string>>): void {
  const folders = new Set<string>();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(dir, 'files', dirname(path)), { recursive: true });
    writeFileSync(join(dir, 'files', path), text);
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) folders.add(folder);
  }
  const archive = execFileSync('cpio', ['--quiet', '-o', '-H', 'newc', '-R', '0:0'], {
    cwd: join(dir, 'files'),
    // A folder before what is in it.
    input: `${[...folders, ...Object.keys(files)].sort().join('\n')}\n`,
    maxBuffer: 64 * 1024 * 1024,
  });
  copyFileSync(join(PARTS, 'root.cpio'), join(dir, 'initrd'));
  appendFileSync(join(dir, 'initrd'), archive);
}

/** Asks QEMU where in its tree of objects the GPIO chip is; the place differs between versions and machines. */
async function pathOfChip(monitor: Monitor): Promise<string> {
  const parent = '/machine/unattached';
  const objects = (await monitor.ask('qom-list', { path: parent })) as { name: string; type: string }[];
  const chip = objects.find(({ type }) => type === PL061);
  if (chip === undefined) throw new Error(`the machine has no ${PL061} in ${parent}`);
  return `${parent}/${chip.name}`;
}

async function reach(path: string): Promise<Socket> {
  const socket = connect(path);
  await once(socket, 'connect');
  // It ends with the machine.
  socket.on('error', () => {});
  return socket;
}
