import { closeSync, openSync, readFileSync, readSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from '../parts/block-stack.ts';
import { readWriteLog, survivors } from '../parts/write-log.ts';

const SECTOR = 512;
/** As large as the smallest cards that are sold; the machine `raspi3b` wants a power of two. */
const CARD_BYTES = 4 * 2 ** 30;

/** What a boot loader takes from the boot partition. */
export interface BootFiles {
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
}

/**
 * A card of 4 GiB with the image on it, a file of our own. While a machine runs from it, what it writes is in a log beside it; what
 * of that the card keeps is decided when the machine has ended: {@link keepAll}, {@link cut}.
 */
export class Card {
  readonly file: string;
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
    this.file = join(dir, 'card');
  }

  /** Writes an image (`.zst` or plain) to a new card in `dir`. */
  static from(image: string, dir: string): Card {
    const card = new Card(dir);
    if (image.endsWith('.zst')) run('zstd', '-q', '-d', '-f', '--sparse', image, '-o', card.file);
    else run('cp', '--sparse=always', image, card.file);
    if (statSync(card.file).size > CARD_BYTES) throw new Error(`${image} does not fit a card of 4 GiB`);
    run('truncate', '-s', String(CARD_BYTES), card.file);
    return card;
  }

  /** Puts a file on the boot partition, as somebody with a PC does. */
  putOnBoot(name: string, text: string): void {
    const local = join(this.#dir, name);
    writeFileSync(local, text);
    run('mcopy', '-o', '-i', this.#boot, local, `::${name}`);
    rmSync(local);
  }

  /** Names on the boot partition. */
  bootNames(): string[] {
    return run('mdir', '-b', '-i', this.#boot, '::')
      .split('\n')
      .map((line) => line.replace(/^::\//, ''));
  }

  /** Puts files into the root file system; nothing is mounted. `links`: from a place to what it says. */
  putOnRoot(files: Readonly<Record<string, string>>, links: Readonly<Record<string, string>>): void {
    const script = join(this.#dir, 'debugfs');
    const lines = [
      ...Object.entries(files).map(([place, local]) => `write ${local} ${place}`),
      ...Object.entries(links).map(([place, to]) => `symlink ${place} ${to}`),
    ];
    writeFileSync(script, `${lines.join('\n')}\n`);
    const said = run('debugfs', '-w', '-f', script, `${this.file}?offset=${this.#partition(2).at}`);
    // debugfs ends with 0 whatever became of its commands.
    const wrong = said.split('\n').filter((line) => !/^(debugfs: |Allocated inode: )/.test(line) && line !== '');
    if (wrong.length > 0) throw new Error(`debugfs: ${wrong.join('; ')}`);
    rmSync(script);
  }

  /** Takes kernel, initrd and command line from the boot partition, into files beside the card. */
  bootFiles(): BootFiles {
    return {
      kernel: this.takeFromBoot(/^vmlinuz/),
      initrd: this.takeFromBoot(/^initrd/),
      commandLine: readFileSync(this.takeFromBoot(/^cmdline\.txt$/), 'utf8').trim(),
    };
  }

  /** Takes one file from the boot partition. */
  takeFromBoot(pattern: RegExp): string {
    const name = this.bootNames().find((each) => pattern.test(each));
    if (name === undefined)
      throw new Error(`the boot partition has no ${pattern}; it has ${this.bootNames().join(', ')}`);
    const local = join(this.#dir, basename(name));
    run('mcopy', '-o', '-i', this.#boot, `::${name}`, local);
    return local;
  }

  /** The machine was shut down properly: everything that it wrote is on the card. */
  keepAll(log: string): void {
    const file = openSync(this.file, 'r+');
    for (const { at, data } of readWriteLog(log)) writeSync(file, data, 0, data.length, at);
    closeSync(file);
  }

  /**
   * The power went: everything up to the last flush is on the card, of what came after it a part that follows from `random`.
   * Answers how many requests came after that flush.
   */
  cut(log: string, random: () => number): number {
    const file = openSync(this.file, 'r+');
    const writes = readWriteLog(log);
    const flushed = writes.findLastIndex(({ flush }) => flush) + 1;
    for (const { at, data } of writes.slice(0, flushed)) writeSync(file, data, 0, data.length, at);
    const rest = writes.slice(flushed);
    for (const { at, data } of survivors(rest, random)) writeSync(file, data, 0, data.length, at);
    closeSync(file);
    return rest.length;
  }

  get #boot(): string {
    return `${this.file}@@${this.#partition(1).at}`;
  }

  /** From the MBR's table: four entries of 16 bytes at 446, with the first sector at 8 and their number at 12. */
  #partition(number: 1 | 2 | 3): { readonly at: number; readonly bytes: number } {
    const table = Buffer.alloc(SECTOR);
    const file = openSync(this.file, 'r');
    readSync(file, table, 0, SECTOR, 0);
    closeSync(file);
    const entry = 446 + (number - 1) * 16;
    return { at: table.readUInt32LE(entry + 8) * SECTOR, bytes: table.readUInt32LE(entry + 12) * SECTOR };
  }
}
