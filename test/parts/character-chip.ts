import type { GpioKernel } from '../../src/drivers/gpio-kernel.ts';
import * as uapi from '../../src/drivers/gpio-ioctl.ts';
import type { Level } from '../../src/drivers/gpio-line.ts';

/** A chip behind the kernel's calls, for machines without one. Real ones are for the virtual machine (test/hil). */
export class CharacterChip {
  readonly #label: string;
  /** The level of the only line in use, as the kernel would tell it. */
  level: Level = 0;
  /** What is answered in place of the call with this number. */
  readonly refuses = new Map<number, string>();
  /** Who else uses the line. */
  consumer: string | null = null;
  /** Requests for a line, as they came. */
  readonly asked: Buffer[] = [];
  /** No chip is there any more. */
  gone = false;
  forbidden = false;
  #events: Buffer[] = [];
  #number = 0;
  #ready: ((gone: boolean) => void) | undefined;
  #next = 10;
  readonly open = new Set<number>();

  constructor(label: string) {
    this.#label = label;
  }

  readonly kernel: GpioKernel = {
    chips: () => (this.gone ? [] : ['/dev/gpiochip0']),
    device: () => 'fe200000.gpio',
    open: () => {
      if (this.forbidden) throw failure('EACCES');
      return this.#take();
    },
    close: (fd) => {
      if (!this.open.delete(fd)) throw failure('EBADF');
    },
    ioctl: (_, request, bytes) => this.#ioctl(request, bytes),
    read: (_, bytes) => {
      if (this.gone) throw failure('ENODEV');
      const taken = this.#events.splice(0, bytes.length / uapi.LINE_EVENT_BYTES);
      return Buffer.concat(taken).copy(bytes);
    },
    watch: (_, ready) => {
      this.#ready = ready;
      return { end: () => (this.#ready = undefined) };
    },
  };

  /** An edge to a level, at so many ms since boot; `lost`: edges before it that there was no room for. */
  edge(level: Level, at: number, lost = 0): void {
    this.level = level;
    this.#number = (this.#number + lost + 1) >>> 0;
    const event = Buffer.alloc(uapi.LINE_EVENT_BYTES);
    event.writeBigUInt64LE(BigInt(at) * 1_000_000n, 0);
    event.writeUInt32LE(level === 1 ? 1 : 2, 8);
    event.writeUInt32LE(this.#number, 20);
    this.#events.push(event);
  }

  /** The thread that waits for edges has its turn. */
  wake(): void {
    this.#ready?.(this.gone);
  }

  get isWatched(): boolean {
    return this.#ready !== undefined;
  }

  #take(): number {
    this.open.add(++this.#next);
    return this.#next;
  }

  #ioctl(request: number, bytes: Buffer): void {
    if (this.gone) throw failure('ENODEV');
    const refused = this.refuses.get(request);
    if (request === uapi.GET_CHIP_INFO) {
      bytes.write(this.#label, 32);
      bytes.writeUInt32LE(58, 64);
    } else if (request === uapi.GET_LINE_INFO) {
      if (refused !== undefined) throw failure(refused);
      bytes.write(this.consumer ?? '', 32);
      bytes.writeBigUInt64LE(this.consumer === null ? 0n : 1n, 72);
    } else if (request === uapi.GET_LINE) {
      if (this.consumer !== null) throw failure('EBUSY');
      this.asked.push(Buffer.from(bytes));
      // Only the debounce is refused, where that is what it is about: attribute 3.
      if (refused !== undefined && (refused !== 'ENOTSUPP' || bytes.readUInt32LE(320) === 3)) throw failure(refused);
      bytes.writeInt32LE(this.#take(), 588);
    } else if (request === uapi.GET_VALUES) bytes.writeUInt32LE(this.level, 0);
    else if (request === uapi.SET_VALUES) this.level = uapi.levelOf(bytes);
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: from the chip that is none`), { code });
}
