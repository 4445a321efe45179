import { statfs } from 'node:fs/promises';

/** A filesystem as `df` shows it. What is kept back for root is in the total alone. */
export interface DiskSpace {
  readonly totalBytes: number;
  readonly usedBytes: number;
  /** For everybody. */
  readonly availableBytes: number;
}

/** The filesystem that a folder is on; null where it cannot be asked. */
export async function diskSpace(folder: string): Promise<DiskSpace | null> {
  try {
    const { blocks, bfree, bavail, bsize } = await statfs(folder);
    return { totalBytes: blocks * bsize, usedBytes: (blocks - bfree) * bsize, availableBytes: bavail * bsize };
  } catch {
    return null;
  }
}

/** As `df` has it (POSIX, df: Capacity): of what everybody can have, and a part of a percent counts as one. Null without any room at all. */
export function usedPercent({ usedBytes, availableBytes }: DiskSpace): number | null {
  const all = usedBytes + availableBytes;
  return all === 0 ? null : Math.ceil((usedBytes / all) * 100);
}
