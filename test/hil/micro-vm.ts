import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { Bell, until, WAIT_MS_MAX } from '../parts/until.ts';
import type { Request, Requests, Told } from './guest.ts';
import { Pins } from './pins.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** Where scripts/test-hil puts the machine's parts. */
const PARTS = join(ROOT, '.scratch/hil');
/** Longest from start to the guest's first word, ms; on an idle machine it takes 4,000. */
const BOOT_MS_MAX = 90_000;
const PL061 = 'child<pl061>';

/** Why no machine can be started here, or false. */
export const NO_MICRO_VM: string | false = (() => {
  const ready = join(PARTS, 'ready');
  const todo = 'run: npm run test:hil';
  if (!existsSync(ready)) return `the virtual machine's parts are not prepared; ${todo}`;
  // As `recipe` in scripts/test-hil says.
  const recipe = createHash('sha256');
  for (const file of ['scripts/test-hil', 'node_modules/epoll/package.json', 'node_modules/koffi/package.json'])
    recipe.update(readFileSync(join(ROOT, file)));
  recipe.update(`${process.version}\n`);
  return readFileSync(ready, 'utf8').startsWith(recipe.digest('hex'))
    ? false
    : `the virtual machine's parts are out of date; ${todo}`;
})();

/** Told by a driver in the guest. */
export type GuestReading = Extract<Told, { child: string }>;

/**
 * A machine with an arm64 processor, Debian's kernel and one GPIO chip of 8 lines (a PL061), emulated by QEMU; test/hil/guest.ts
 * runs in it, bundled from the sources as they are now.
 */
export class MicroVm {
  readonly #qemu: ChildProcess;
  readonly #dir: string;
  readonly #agent: Socket;
  readonly #hold: Socket;
  readonly pins: Pins;
  readonly readings: GuestReading[] = [];
  readonly bell = new Bell();
  #hello: string | undefined;
  #ended = false;
  #asked = 0;
  readonly #waiting = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void }>();

  private constructor(qemu: ChildProcess, dir: string, agent: Socket, hold: Socket, pins: Pins) {
    this.#qemu = qemu;
    this.#dir = dir;
    this.#agent = agent;
    this.#hold = hold;
    this.pins = pins;
    for (const socket of [agent, hold]) socket.on('error', () => {});
    createInterface({ input: agent }).on('line', (line) => this.#heard(JSON.parse(line) as Told));
    qemu.once('exit', () => {
      this.#ended = true;
      for (const { reject } of this.#waiting.values()) reject(new Error(`the machine ended:\n${this.console()}`));
      this.#waiting.clear();
      this.bell.ring();
    });
  }

  /** Resolves when the guest's program is ready to be asked. */
  static async boot(): Promise<MicroVm> {
    const dir = mkdtempSync(join(tmpdir(), 'holdfast-vm-'));
    const path = (name: string): string => join(dir, name);
    await packInitrd(dir, path('initrd'));
    const socket = (name: string): string => `path=${path(name)},server=on,wait=off`;
    const args = [
      ['-M', 'virt', '-cpu', 'cortex-a53', '-accel', 'tcg,thread=multi', '-m', '512'],
      ['-nodefaults', '-display', 'none', '-no-reboot', '-serial', `file:${path('console')}`],
      ['-kernel', join(PARTS, 'vmlinuz'), '-initrd', path('initrd'), '-append', 'console=ttyAMA0 quiet panic=-1'],
      ['-device', 'virtio-serial-device'],
      ['-chardev', `socket,id=agent,${socket('agent')}`, '-device', 'virtserialport,nr=1,chardev=agent'],
      ['-chardev', `socket,id=hold,${socket('hold')}`, '-device', 'virtserialport,nr=2,chardev=hold'],
      ['-qmp', `unix:${path('qmp')},server=on,wait=off`],
      ['-qtest', `unix:${path('qtest')},server=on,wait=off`, '-qtest-log', '/dev/null'],
    ].flat();
    // The machine never outlives the test, however that ends.
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
      const [agent, hold, qmp, qtest] = await Promise.all(['agent', 'hold', 'qmp', 'qtest'].map(reach));
      const pins = await Pins.connect(qtest!, await pathOfChip(qmp!));
      const vm = new MicroVm(qemu, dir, agent!, hold!, pins);
      await vm.bell.until(
        () => `the guest's first word ${complaint}; its console:\n${vm.console()}`,
        () => vm.#live() && vm.#hello,
        BOOT_MS_MAX,
      );
      return vm;
    } catch (error) {
      qemu.kill('SIGKILL');
      rmSync(dir, { recursive: true });
      throw error;
    }
  }

  /** What it runs: `Node v20.20.2 for arm64`. */
  get hello(): string {
    return this.#hello!;
  }

  ask<K extends keyof Requests>(ask: K, given: Requests[K]['given']): Promise<Requests[K]['answer']> {
    const request: Request = { id: ++this.#asked, ask, given };
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      const late = setTimeout(
        () =>
          reject(new Error(`the guest does not answer ${JSON.stringify(request)}; its console:\n${this.console()}`)),
        WAIT_MS_MAX,
      );
      late.unref();
    });
    this.#agent.write(`${JSON.stringify(request)}\n`);
    return answer as Promise<Requests[K]['answer']>;
  }

  /** Runs a line of shell in the guest, as root; answers its output without the last newline. */
  async shell(line: string): Promise<string> {
    return (await this.ask('shell', { line })).trimEnd();
  }

  /** Does `act` while the guest's event loop stands still. */
  async whileBusy(act: () => Promise<void>): Promise<void> {
    await this.ask('hold', {});
    await act();
    this.#hold.write('.');
  }

  /** The end of what the kernel and the guest's program wrote to the console. */
  console(): string {
    return existsSync(join(this.#dir, 'console')) ? readFileSync(join(this.#dir, 'console'), 'utf8').slice(-4_000) : '';
  }

  async end(): Promise<void> {
    await this.pins.end();
    for (const socket of [this.#agent, this.#hold]) socket.destroy();
    if (this.#qemu.exitCode === null && this.#qemu.signalCode === null) {
      const exit = once(this.#qemu, 'exit');
      this.#qemu.kill('SIGKILL');
      await exit;
    }
    rmSync(this.#dir, { recursive: true });
  }

  #live(): true {
    if (this.#ended) throw new Error(`the machine ended; its console:\n${this.console()}`);
    return true;
  }

  #heard(told: Told): void {
    if ('hello' in told) this.#hello = told.hello;
    else if ('child' in told) this.readings.push(told);
    else {
      const asked = this.#waiting.get(told.id);
      this.#waiting.delete(told.id);
      if ('error' in told) asked?.reject(new Error(told.error));
      else asked?.resolve(told.answer);
    }
    this.bell.ring();
  }
}

/** The prepared root file system, followed by an archive with the guest's program: the kernel unpacks both. */
async function packInitrd(dir: string, initrd: string): Promise<void> {
  await build({
    entryPoints: [join(ROOT, 'test/hil/guest.ts')],
    outfile: join(dir, 'app/guest.cjs'),
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['epoll', 'koffi'],
    supported: { 'dynamic-import': false },
    // As scripts/build.mjs does for the product's bundle.
    banner: { js: 'const holdfastModuleUrl = require("node:url").pathToFileURL(__filename).href;' },
    define: { 'import.meta.url': 'holdfastModuleUrl' },
    sourcemap: 'inline',
    logLevel: 'error',
  });
  const program = execFileSync('cpio', ['--quiet', '-o', '-H', 'newc', '-R', '0:0'], {
    cwd: dir,
    input: 'app/guest.cjs\n',
    maxBuffer: 64 * 1024 * 1024,
  });
  copyFileSync(join(PARTS, 'root.cpio'), initrd);
  appendFileSync(initrd, program);
}

/** Asks QEMU where in its tree of objects the GPIO chip is; the place differs between versions and machines. */
async function pathOfChip(qmp: Socket): Promise<string> {
  const heard: { return?: { name: string; type: string }[] }[] = [];
  const bell = new Bell();
  createInterface({ input: qmp }).on('line', (line) => {
    heard.push(JSON.parse(line) as (typeof heard)[number]);
    bell.ring();
  });
  const parent = '/machine/unattached';
  for (const execute of [{ execute: 'qmp_capabilities' }, { execute: 'qom-list', arguments: { path: parent } }]) {
    qmp.write(`${JSON.stringify(execute)}\n`);
  }
  const objects = await bell.until("the list of QEMU's objects", () =>
    heard.map((each) => each.return).find((found) => Array.isArray(found)),
  );
  qmp.destroy();
  const chip = objects.find(({ type }) => type === PL061);
  if (chip === undefined) throw new Error(`the machine has no ${PL061} in ${parent}`);
  return `${parent}/${chip.name}`;
}

function reached(path: string): Promise<Socket | false> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', () => resolve(false));
  });
}
