import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Monitor } from './qemu-monitor.ts';
import { until } from './until.ts';

/** Debian puts mkfs and losetup where an ordinary user's PATH does not reach. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
const MIB = 2 ** 20;
/** Room that the images and the log of all writes may take in memory; with less of it they lie on the disk. */
const MEMORY_BYTES_MIN = 1024 * MIB;
/** Sparse; what a test writes is a small part of it. */
const LOG_BYTES = 4096 * MIB;
export const SECTOR = 512;

export interface BlockStackOptions {
  readonly bytes: number;
  /** Keep every write, in order, in {@link BlockStack.log}. */
  readonly recordWrites?: boolean;
  /** For mke2fs, besides what every stack has. */
  readonly mkfs?: readonly string[];
}

/** What is to fail. `sectors` of 512 bytes: only requests that touch one of them; all when left out. */
export interface Fault {
  readonly on: 'read' | 'write';
  readonly sectors?: readonly number[];
}

/**
 * Why no block stack can be made here; false when it can. For a test's `skip`.
 *
 * It needs root (mount, losetup), a kernel with loop devices and FUSE, and qemu-storage-daemon.
 */
export function noBlockStack(): string | false {
  if (process.getuid?.() !== 0) return 'needs root, to mount a filesystem of its own';
  for (const device of ['/dev/loop-control', '/dev/fuse']) if (!existsSync(device)) return `needs ${device}`;
  for (const program of ['qemu-storage-daemon', 'mkfs.ext4', 'losetup']) {
    if (!PATH.split(':').some((place) => existsSync(join(place, program)))) return `needs ${program}`;
  }
  // Loop devices and mounts can still be forbidden, as in most containers.
  try {
    const dir = mkdtempSync(join(tmpdir(), 'holdfast-mount-'));
    try {
      const image = join(dir, 'image');
      run('truncate', '-s', '1M', image);
      run('mkfs.ext4', '-q', '-F', image);
      run('mount', '-o', 'loop', image, dir);
      run('umount', dir);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  } catch (error) {
    return `cannot mount a loop device: ${(error as Error).message}`;
  }
  return false;
}

/**
 * A disk that can be slow, fail, and remember: ext4 on a loop device on a FUSE export of qemu-storage-daemon, where every
 * request passes a throttle and, when asked for, an error injector and a log of writes. What a test does with `dir` is
 * what a gateway does with a card. {@link end} takes all of it away, whatever is still open in it.
 */
export class BlockStack {
  /** Where the filesystem is mounted. */
  readonly dir: string;
  /** The loop device. */
  readonly device: string;
  /** The disk's contents, as they were when the stack was made: a filesystem with nothing on it. */
  readonly blank: string;
  /** The log of writes (Linux's dm-log-writes format, version 1). */
  readonly log: string;
  readonly #place: string;
  readonly #daemon: ChildProcess;
  readonly #monitor: Monitor;
  readonly #under: string;
  #faults = 0;
  #ended = false;

  private constructor(place: string, device: string, daemon: ChildProcess, monitor: Monitor, under: string) {
    this.#place = place;
    this.dir = join(place, 'mounted');
    this.device = device;
    this.blank = join(place, 'blank');
    this.log = join(place, 'log');
    this.#daemon = daemon;
    this.#monitor = monitor;
    this.#under = under;
    stacks.add(this);
  }

  /** Makes one and mounts it. */
  static async start({ bytes, recordWrites = false, mkfs = [] }: BlockStackOptions): Promise<BlockStack> {
    const place = spacious();
    const [disk, blank, log, socket, exported] = ['disk', 'blank', 'log', 'monitor', 'export'].map((name) =>
      join(place, name),
    ) as [string, string, string, string, string];
    run('truncate', '-s', String(bytes), disk);
    // Blocks as on a card, where mke2fs takes small ones for a small disk. All of it is made now: what the kernel would do
    // later, in the background, would be in the way of a test.
    const whole = ['-b', '4096', '-E', 'lazy_itable_init=0,lazy_journal_init=0', '-J', 'size=4', '-m', '0'];
    run('mkfs.ext4', '-q', '-F', ...whole, ...mkfs, disk);
    run('cp', '--sparse=always', disk, blank);
    run('truncate', '-s', String(LOG_BYTES), log);
    closeSync(openSync(exported, 'w'));
    mkdirSync(join(place, 'mounted'));
    const under = recordWrites ? 'recorder' : 'disk';
    const recorder =
      'driver=blklogwrites,node-name=recorder,file=disk,log=log,log-sector-size=512,log-super-update-interval=1';
    const pairs = [
      ['--chardev', `socket,id=monitor,path=${socket},server=on,wait=off`],
      ['--monitor', 'chardev=monitor'],
      ['--object', 'throttle-group,id=speed'],
      ['--blockdev', `driver=file,node-name=disk,filename=${disk}`],
      ...(recordWrites
        ? [
            ['--blockdev', `driver=file,node-name=log,filename=${log}`],
            ['--blockdev', recorder],
          ]
        : []),
      ['--blockdev', `driver=throttle,node-name=top,throttle-group=speed,file=${under}`],
      ['--export', `type=fuse,id=export,node-name=top,mountpoint=${exported},writable=on`],
    ];
    const daemon = spawn('qemu-storage-daemon', pairs.flat(), { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    daemon.stderr.on('data', (text: Buffer) => (said += text.toString()));
    daemon.stderr.on('error', () => undefined);
    try {
      await until(
        () => `the export of qemu-storage-daemon; it said: ${said}`,
        () => {
          if (daemon.exitCode !== null) throw new Error(`qemu-storage-daemon ended: ${said}`);
          return existsSync(socket) && statSync(exported).size > 0;
        },
      );
      const monitor = await Monitor.connect(socket);
      const device = run('losetup', '-f', '--show', exported);
      const stack = new BlockStack(place, device, daemon, monitor, under);
      // Without reading ahead: a request for a sound block must not fail for its neighbours.
      const { dev } = statSync(exported);
      writeFileSync(`/sys/class/bdi/${dev >> 8}:${dev & 0xff}/read_ahead_kb`, '0');
      run('blockdev', '--setra', '0', device);
      stack.mount();
      return stack;
    } catch (error) {
      daemon.kill('SIGKILL');
      run('umount', '-l', '-q', exported, { may: 'fail' });
      rmSync(place, { recursive: true, force: true });
      throw error;
    }
  }

  /** A card that does so many requests a second; null: as fast as it goes. */
  async speed(requestsPerSecond: number | null): Promise<void> {
    const limits = { 'iops-total': requestsPerSecond ?? 0 };
    await this.#monitor.ask('qom-set', { path: '/objects/speed', property: 'limits', value: limits });
  }

  /** From now on such requests end with EIO. Takes the place of faults before. */
  async fail(...faults: readonly Fault[]): Promise<void> {
    const node = `fault-${++this.#faults}`;
    const rules = faults.flatMap(({ on, sectors = [-1] }) =>
      sectors.map((sector) => ({
        event: 'none',
        iotype: on,
        errno: 5,
        once: false,
        ...(sector < 0 ? {} : { sector }),
      })),
    );
    await this.#monitor.ask('blockdev-add', {
      driver: 'blkdebug',
      'node-name': node,
      image: this.#under,
      'inject-error': rules,
    });
    await this.#reopen(node);
  }

  /** Nothing fails any more. */
  heal(): Promise<void> {
    return this.#reopen(this.#under);
  }

  mount(...options: readonly string[]): void {
    run('mount', ...options, this.device, this.dir);
  }

  /** Takes the filesystem away under whoever uses it: they keep what they have open. */
  unmount(): void {
    run('umount', '-l', this.dir);
  }

  /** Where a file of this filesystem lies on the disk, sectors: the first of each of its blocks. */
  sectorsOf(file: string): number[] {
    // "ext: logical: physical: length: ...", in blocks.
    const text = run('filefrag', '-e', `-b${SECTOR}`, file);
    const sectors: number[] = [];
    for (const [, , from, to] of text.matchAll(/^ *\d+: +(\d+)\.\. *\d+: +(\d+)\.\. *(\d+):/gm)) {
      for (let sector = Number(from); sector <= Number(to); sector += 8) sectors.push(sector);
    }
    return sectors;
  }

  /** Takes all of it away. May be called twice. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#takeDown();
    this.#monitor.end();
    if (this.#daemon.exitCode === null && this.#daemon.signalCode === null) {
      const ended = new Promise((resolve) => this.#daemon.once('close', resolve));
      this.#daemon.kill('SIGTERM');
      await ended;
    }
    this.#sweep();
  }

  /** The same at once, for the end of the process. */
  endNow(): void {
    if (this.#ended) return;
    this.#takeDown();
    this.#daemon.kill('SIGKILL');
    this.#sweep();
  }

  #takeDown(): void {
    this.#ended = true;
    stacks.delete(this);
    run('umount', '-l', '-q', this.dir, { may: 'fail' });
    run('losetup', '-d', this.device, { may: 'fail' });
  }

  #sweep(): void {
    run('umount', '-l', '-q', join(this.#place, 'export'), { may: 'fail' });
    rmSync(this.#place, { recursive: true, force: true });
  }

  /** The injector that is not used any more stays where it is: it costs nothing, and the daemon ends soon. */
  async #reopen(file: string): Promise<void> {
    const top = { driver: 'throttle', 'node-name': 'top', 'throttle-group': 'speed', file };
    await this.#monitor.ask('blockdev-reopen', { options: [top] });
  }
}

const stacks = new Set<BlockStack>();
onEnd(() => {
  for (const stack of stacks) stack.endNow();
});

/** Calls `last` when this process ends, also by a signal: what it leaves mounted, nobody else takes away. */
export function onEnd(last: () => void): void {
  process.once('exit', last);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    if (process.listenerCount(signal) === 0) process.once(signal, () => process.exit(1));
  }
}

/** An empty folder in memory where there is room, so that flushes cost what the test says and not what this disk does. */
export function spacious(): string {
  const memory = '/dev/shm';
  const roomy = existsSync(memory) && statfsSync(memory).bavail * statfsSync(memory).bsize > MEMORY_BYTES_MIN;
  return mkdtempSync(join(roomy ? memory : tmpdir(), 'holdfast-disk-'));
}

/** What the kernel keeps of files in memory goes; what is read next comes from the disk. */
export function dropCaches(): void {
  execFileSync('sh', ['-c', 'sync; echo 3 > /proc/sys/vm/drop_caches']);
}

/** Runs a program of the system; its output, trimmed. Throws with what it said on stderr. */
export function run(program: string, ...rest: readonly (string | { readonly may: 'fail' })[]): string {
  const args = rest.filter((word) => typeof word === 'string');
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: 'pipe', env: { ...process.env, PATH } }).trim();
  } catch (error) {
    if (args.length < rest.length) return '';
    const { stderr } = error as { stderr?: string };
    throw new Error(`${program} ${args.join(' ')}: ${(stderr ?? String(error)).trim()}`, { cause: error });
  }
}
