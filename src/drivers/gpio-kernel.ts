import { closeSync, openSync, readdirSync, readSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { getSystemErrorMap } from 'node:util';

/** fcntl(2): `F_SETFL`, and the `O_NONBLOCK` of every processor but alpha, mips, parisc and sparc. */
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
/** Not in errno(3), but some chips' drivers answer it. */
const ENOTSUPP = { number: 524, words: ['ENOTSUPP', 'not supported by the chip'] } as const;

/** The calls that the character device needs; a test has its own. */
export interface GpioKernel {
  /** Paths of the chips, such as `/dev/gpiochip0`. */
  chips(): string[];
  /** Name of a chip's device, such as `fe200000.gpio`; null where the kernel does not say. */
  device(path: string): string | null;
  open(path: string): number;
  close(fd: number): void;
  /** What the kernel answers stands in `bytes`. Throws an error with its `code`. */
  ioctl(fd: number, request: number, bytes: Buffer): void;
  /** How many bytes there were; 0 for none at the moment. */
  read(fd: number, bytes: Buffer): number;
  /** From now on `read` does not wait; `ready` is called when there is something to read, or the chip is gone. */
  watch(fd: number, ready: (gone: boolean) => void): { end(): void };
}

interface Libc {
  ioctl(fd: number, request: number, bytes: Buffer): number;
  fcntl(fd: number, command: number, argument: number): number;
  errno(): number;
}

let loaded: GpioKernel | undefined;

/** Linux, through the C library. Throws where that cannot be called: koffi or epoll has no binary for this processor. */
export function linuxGpio(): GpioKernel {
  return (loaded ??= makeLinuxGpio());
}

function makeLinuxGpio(): GpioKernel {
  // Required here and not above: native add-ons that a gateway without GPIO children does not pay for.
  const require = createRequire(import.meta.url);
  const { Epoll } = require('epoll') as typeof import('epoll');
  const libc = loadLibc(require);
  const failed = (call: string): Error => {
    const errno = libc.errno();
    const known = errno === ENOTSUPP.number ? ENOTSUPP.words : getSystemErrorMap().get(-errno);
    const [code, message] = known ?? [`error ${errno}`, 'unknown'];
    return Object.assign(new Error(`${code}: ${message}, ${call}`), { code });
  };
  return {
    chips: () =>
      readdirSync('/dev', { withFileTypes: true })
        // A link is a second name: Raspberry Pi OS makes gpiochip4 one for the Pi 5's gpiochip0.
        .filter((entry) => /^gpiochip\d+$/.test(entry.name) && !entry.isSymbolicLink())
        .map(({ name }) => join('/dev', name)),
    device: (path) => {
      try {
        return basename(dirname(realpathSync(`/sys/bus/gpio/devices/${basename(path)}`)));
      } catch {
        return null;
      }
    },
    open: (path) => openSync(path, 'r+'),
    close: closeSync,
    ioctl: (fd, request, bytes) => {
      if (libc.ioctl(fd, request, bytes) < 0) throw failed('ioctl');
    },
    read: (fd, bytes) => {
      try {
        return readSync(fd, bytes);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
        throw error;
      }
    },
    watch: (fd, ready) => {
      // Word of an edge can be under way when the descriptor is closed and its number taken by another: who then reads
      // in vain must not wait for an edge.
      if (libc.fcntl(fd, F_SETFL, O_NONBLOCK) < 0) throw failed('fcntl');
      const { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLPRI } = Epoll;
      const epoll = new Epoll((error, _, events) => ready(error !== null || (events & (EPOLLERR | EPOLLHUP)) !== 0));
      epoll.add(fd, EPOLLIN | EPOLLPRI);
      return { end: () => epoll.remove(fd).close() };
    },
  };
}

function loadLibc(require: NodeJS.Require): Libc {
  const koffi = require('koffi') as typeof import('koffi');
  const libc = koffi.load(null);
  return {
    // Both take what they take in registers on Linux, as if they had no variable arguments.
    ioctl: libc.func('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *bytes)') as Libc['ioctl'],
    fcntl: libc.func('int fcntl(int fd, int command, int argument)') as Libc['fcntl'],
    errno: () => koffi.errno(),
  };
}
