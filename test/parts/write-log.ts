import { closeSync, openSync, readSync } from 'node:fs';
import { SECTOR } from './block-stack.ts';

/** Linux's Documentation/admin-guide/device-mapper/log-writes.rst, as qemu's blklogwrites writes it; all words LE. */
const MAGIC = 0x6a736677736872n;
const VERSION = 1n;
const FLUSH = 1n;
const FUA = 2n;
const DISCARD = 4n;

/** One request as the disk got it. A flush may come with a write. */
export interface LoggedWrite {
  /** Byte on the disk. */
  readonly at: number;
  readonly data: Buffer;
  /** Everything before it, and itself, is where a power cut does not reach it. */
  readonly flush: boolean;
  /** It is itself, whatever becomes of those before it. */
  readonly durable: boolean;
}

/** Reads a whole log of writes into memory. */
export function readWriteLog(path: string): LoggedWrite[] {
  const fd = openSync(path, 'r');
  try {
    const read = (bytes: number, at: number) => {
      const buffer = Buffer.alloc(bytes);
      if (readSync(fd, buffer, 0, bytes, at) !== bytes) throw new Error(`${path} ends at ${at}`);
      return buffer;
    };
    // Super block: magic u64, version u64, entries u64, sector size u32.
    const head = read(28, 0);
    if (head.readBigUInt64LE(0) !== MAGIC || head.readBigUInt64LE(8) !== VERSION || head.readUInt32LE(24) !== SECTOR)
      throw new Error(`${path} is not a log of writes`);
    const writes: LoggedWrite[] = [];
    let at = SECTOR;
    for (let count = Number(head.readBigUInt64LE(16)); count > 0; count--) {
      // Entry: sector u64, sectors u64, flags u64, data length u64; in a sector of its own, its data behind it.
      const entry = read(24, at);
      at += SECTOR;
      const flags = entry.readBigUInt64LE(16);
      const bytes = (flags & DISCARD) !== 0n ? 0 : Number(entry.readBigUInt64LE(8)) * SECTOR;
      if (flags === 0n && bytes === 0)
        throw new Error(`${path} has a hole at ${at - SECTOR}: a request was not written down`);
      writes.push({
        at: Number(entry.readBigUInt64LE(0)) * SECTOR,
        data: read(bytes, at),
        flush: (flags & FLUSH) !== 0n,
        durable: (flags & FUA) !== 0n,
      });
      at += bytes;
    }
    return writes;
  } finally {
    closeSync(fd);
  }
}

/**
 * The disk as power cuts leave it: everything up to the last flush before the cut, of the rest a part that follows from
 * `random`: half of the writes, of those some torn between sectors. Cuts are asked for in rising order.
 */
export class CutDisk {
  readonly #writes: readonly LoggedWrite[];
  /** Everything that is flushed, as far as {@link cut} has come. */
  readonly #flushed: Buffer;
  #next = 0;

  constructor(blank: Buffer, writes: readonly LoggedWrite[]) {
    this.#writes = writes;
    this.#flushed = Buffer.from(blank);
  }

  /** The disk after a cut that follows the first `count` requests. */
  cut(count: number, random: () => number): Buffer {
    let flush = count - 1;
    while (flush >= this.#next && !this.#writes[flush]!.flush) flush--;
    for (; this.#next <= flush; this.#next++)
      this.#writes[this.#next]!.data.copy(this.#flushed, this.#writes[this.#next]!.at);
    const disk = Buffer.from(this.#flushed);
    for (const { at, data } of survivors(this.#writes.slice(this.#next, count), random)) data.copy(disk, at);
    return disk;
  }
}

/**
 * What a disk has kept of writes that no flush came after: those that are durable by themselves, and of the others half, of
 * which some torn.
 */
export function* survivors(
  writes: readonly LoggedWrite[],
  random: () => number,
): Generator<Pick<LoggedWrite, 'at' | 'data'>> {
  for (const write of writes) {
    if (write.durable) yield write;
    else if (random() < 0.5) yield* kept(write, random);
  }
}

/** Whole, or torn: its first sectors only, or any of them. */
function* kept({ at, data }: LoggedWrite, random: () => number): Generator<Pick<LoggedWrite, 'at' | 'data'>> {
  const kind = random();
  const sectors = data.length / SECTOR;
  const first = kind < 0.15 ? Math.floor(random() * (sectors + 1)) : sectors;
  for (let sector = 0; sector < first; sector++) {
    if (kind > 0.85 && random() < 0.5) continue;
    yield { at: at + sector * SECTOR, data: data.subarray(sector * SECTOR, (sector + 1) * SECTOR) };
  }
}
