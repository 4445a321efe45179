import { readFileSync } from 'node:fs';
import { deviceNumber } from './medium.ts';

/** Bytes in a sector of the counters, whatever the device's own are (Documentation/block/stat.rst of the kernel). */
const SECTOR_BYTES = 512;
/** Where sectors written stand in `stat`. */
const SECTORS_WRITTEN = 6;

/**
 * Bytes that the block device (or partition) under a folder has been given since it was plugged in or the board booted, by
 * whoever wrote. Null where there is none to ask: on tmpfs, overlays, network and copy-on-write filesystems that hide it.
 */
export function bytesWrittenBelow(folder: string): number | null {
  try {
    const fields = readFileSync(`/sys/dev/block/${deviceNumber(folder)}/stat`, 'latin1')
      .trim()
      .split(/\s+/);
    const sectors = Number(fields[SECTORS_WRITTEN]);
    return Number.isFinite(sectors) ? sectors * SECTOR_BYTES : null;
  } catch {
    return null;
  }
}
