import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Bytes in a sector, whatever the device's own are (Documentation/block/stat.rst of the kernel). */
const SECTOR_BYTES = 512;
const IMAGE_BYTES = 2 * 2 ** 30;

/** What reached the device since it was made. */
export interface Written {
  readonly bytes: number;
  readonly flushes: number;
}

/** What has reached the device below `folder`, journal included, after everything that was written there has. */
export function writtenBelow(folder: string): Written {
  execFileSync('sync', ['-f', folder]);
  // makedev(3): major and minor number of a device.
  const device = BigInt(statSync(folder).dev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  const fields = readFileSync(`/sys/dev/block/${major}:${minor}/stat`, 'latin1').trim().split(/\s+/).map(Number);
  return { bytes: fields[6]! * SECTOR_BYTES, flushes: fields[15] ?? Number.NaN };
}

/** Whose device it is, in words for a page. */
export function deviceText(disk: Disk): string {
  return disk.own
    ? 'an ext4 of their own on a loop device'
    : 'the device below the temporary folder, with whatever else writes there (only root can make one for the purpose)';
}

/** A filesystem whose device counts what reaches it. */
export class Disk {
  /** Where to put files. */
  readonly folder: string;
  /** Whether nothing but this benchmark writes there. */
  readonly own: boolean;
  readonly #place: string;

  private constructor(place: string, folder: string, own: boolean) {
    this.#place = place;
    this.folder = folder;
    this.own = own;
    process.once('exit', this.#leave);
  }

  /** An ext4 of our own in a file, on a loop device, which only root may have; else a folder on whatever is there. */
  static make(bytes = IMAGE_BYTES): Disk {
    const place = mkdtempSync(join(tmpdir(), 'holdfast-bench-disk-'));
    const folder = join(place, 'mount');
    mkdirSync(folder);
    const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'pipe' });
    try {
      const image = join(place, 'image');
      run('fallocate', '-l', String(bytes), image);
      // Otherwise the kernel writes the tables in the background, and we would count that.
      run('/sbin/mke2fs', '-q', '-t', 'ext4', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image);
      run('mount', '-o', 'loop', image, folder);
      return new Disk(place, folder, true);
    } catch {
      return new Disk(place, folder, false);
    }
  }

  written(): Written {
    return writtenBelow(this.folder);
  }

  remove(): void {
    process.off('exit', this.#leave);
    this.#leave();
  }

  #leave = (): void => {
    // Lazily: when we are interrupted, others may still have files there.
    if (this.own) execFileSync('umount', ['-l', this.folder]);
    rmSync(this.#place, { recursive: true });
  };
}
