import type { Spool } from './spool.ts';

/** What became of the file, bytes. */
export interface Compacted {
  readonly before: number;
  readonly after: number;
}

/** Makes a spool's file as small as what is in it. Rejects as {@link Spool.compact} does; the file is then as it was. */
export async function compacted(spool: Spool, copied: (bytes: number) => void): Promise<Compacted> {
  const before = spool.environment.fileBytes();
  await spool.compact(copied);
  return { before, after: spool.environment.fileBytes() };
}
