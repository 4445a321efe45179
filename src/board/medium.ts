import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** The kernel's folder of block devices by their numbers. */
const BLOCK_DEVICES = '/sys/dev/block';

/** A disk: `mmcblk0`, `sda`, `nvme0n1`; and its folder under /sys. */
export interface Disk {
  readonly name: string;
  readonly folder: string;
}

/** `major:minor` of the block device under a folder, or under the nearest one above it that is there (makedev(3)). */
export function deviceNumber(folder: string): string {
  let there = folder;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  const device = BigInt(statSync(there).dev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

/** The disk under a folder. Null where there is none to see: tmpfs, overlays, network and copy-on-write filesystems. */
export function diskBelow(folder: string, root: string = BLOCK_DEVICES, number?: string): Disk | null {
  try {
    const device = realpathSync(join(root, number ?? deviceNumber(folder)));
    // A partition's folder stands in its disk's.
    const disk = existsSync(join(device, 'partition')) ? dirname(device) : device;
    return { name: basename(disk), folder: disk };
  } catch {
    return null;
  }
}

/** What a folder lies on: a card, an eMMC, or a disk without moving parts; null for anything else, or what cannot be seen. */
export function mediumOf(folder: string, root?: string, number?: string): 'sd' | 'emmc' | 'ssd' | null {
  const disk = diskBelow(folder, root, number);
  if (disk === null) return null;
  // Documentation/ABI of the kernel's mmc core: `SD`, `MMC`, `SDIO`, `SDcombo`.
  if (disk.name.startsWith('mmcblk')) return textOf(join(disk.folder, 'device/type')) === 'MMC' ? 'emmc' : 'sd';
  if (!/^(sd|nvme|vd)/.test(disk.name)) return null;
  return textOf(join(disk.folder, 'queue/rotational')) === '0' ? 'ssd' : null;
}

function textOf(file: string): string | null {
  try {
    return readFileSync(file, 'latin1').trim();
  } catch {
    return null;
  }
}
