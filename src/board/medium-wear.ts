import { readFileSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { deviceNumber, diskBelow, type Disk } from './medium.ts';

const DAY_MS = 86_400_000;
const TERABYTE = 1e12;

/** What the medium under a folder says of its own age; null for what it does not say. */
export interface MediumAge {
  /** Everything written to the filesystem since it was made, bytes (ext4 keeps count). */
  readonly lifetimeBytes: number | null;
  /** How much of its life an eMMC says that it has used, at the most, percent (JESD84-B50, DEVICE_LIFE_TIME_EST): steps of 10. */
  readonly usedPercent: number | null;
  /** An eMMC has used up nearly all of its spare blocks (PRE_EOL_INFO above 1). */
  readonly nearEnd: boolean | null;
  /** Errors that the filesystem has met since it was made (ext4). */
  readonly filesystemErrors: number | null;
}

export interface Life {
  readonly ratedTerabytesWritten: number | null;
  /** Bytes a day, at the rate that was seen. */
  readonly bytesPerDay: number | null;
  /** Until the rated endurance is used up at that rate; null where one of the two is not known. */
  readonly daysLeft: number | null;
}

/** Where things are; a test has other folders. */
export interface WearPlaces {
  readonly blockDevices?: string;
  readonly ext4?: string;
  /** `major:minor` of what lies under the folder. */
  readonly number?: string;
}

/** Asks the kernel about the medium under a folder. */
export function mediumAge(folder: string, places: WearPlaces = {}): MediumAge {
  const { blockDevices = '/sys/dev/block', ext4 = '/sys/fs/ext4' } = places;
  const disk = diskBelow(folder, blockDevices, places.number);
  const filesystem = ((): string | null => {
    try {
      return join(ext4, basename(realpathSync(join(blockDevices, places.number ?? deviceNumber(folder)))));
    } catch {
      return null;
    }
  })();
  const kilobytes = filesystem === null ? null : numberIn(join(filesystem, 'lifetime_write_kbytes'));
  return {
    lifetimeBytes: kilobytes === null ? null : kilobytes * 1024,
    ...emmcAge(disk),
    filesystemErrors: filesystem === null ? null : numberIn(join(filesystem, 'errors_count')),
  };
}

function emmcAge(disk: Disk | null): Pick<MediumAge, 'usedPercent' | 'nearEnd'> {
  const unknown = { usedPercent: null, nearEnd: null };
  if (disk === null) return unknown;
  // "0x01 0x02": for the two kinds of cells that it may have; 0 is "not defined", 11 beyond the end.
  const steps = (textIn(join(disk.folder, 'device/life_time')) ?? '').split(/\s+/).map(Number);
  const step = Math.max(...steps.filter((each) => each >= 1 && each <= 11), 0);
  if (step === 0) return unknown;
  const spare = numberIn(join(disk.folder, 'device/pre_eol_info'));
  return { usedPercent: step * 10, nearEnd: spare === null || spare === 0 ? null : spare > 1 };
}

/** How long a medium lasts: what is left of its rating, at this rate. */
export function lifeOf(rated: number | null, lifetimeBytes: number | null, bytesPerDay: number | null): Life {
  const left = rated === null ? null : Math.max(0, rated * TERABYTE - (lifetimeBytes ?? 0));
  const daysLeft = left === null || bytesPerDay === null || bytesPerDay <= 0 ? null : Math.round(left / bytesPerDay);
  return { ratedTerabytesWritten: rated, bytesPerDay, daysLeft };
}

/** Bytes per day, of bytes in so many ms. */
export function perDay(bytes: number, ms: number): number | null {
  return ms <= 0 ? null : Math.round((bytes / ms) * DAY_MS);
}

function textIn(file: string): string | null {
  try {
    return readFileSync(file, 'latin1').trim();
  } catch {
    return null;
  }
}

function numberIn(file: string): number | null {
  const text = textIn(file);
  if (text === null || text === '') return null;
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}
