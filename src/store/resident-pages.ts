import { readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';

/** Of <sys/mman.h>, the same on all that Linux runs on that we do. */
const MADV_DONTNEED = 4;

type Madvise = (address: bigint, bytes: bigint, advice: number) => number;
let madvise: Madvise | null | undefined;

/**
 * The pages of a mapped file that are in this process's memory. Whatever page is looked at comes into it, with neighbours that the
 * kernel had at hand, and stays until all of the file counts as ours.
 */
export class ResidentPages {
  readonly #file: string;
  #place: { readonly address: bigint; readonly bytes: bigint } | null | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /**
   * Lets go of them: they are the kernel's to keep or drop, and come again when they are looked at. The map itself stays where it is
   * (to make it anew fails on a filesystem that has fallen over, and LMDB then reads where nothing is). Does nothing where it cannot.
   */
  letGo(): void {
    if (this.#place === undefined) this.#place = placeOf(this.#file);
    if (madvise === undefined) madvise = loaded();
    if (this.#place !== null) madvise?.(this.#place.address, this.#place.bytes, MADV_DONTNEED);
  }
}

/** Where it is mapped (proc(5), /proc/PID/maps); null: it is not, or that is not told. */
function placeOf(file: string) {
  try {
    const name = Buffer.from(realpathSync(file)).toString('latin1');
    const maps = readFileSync('/proc/self/maps', 'latin1').split('\n');
    const line = maps.find((each) => each.endsWith(` ${name}`));
    const [from, to] = line?.split(' ')[0]?.split('-') ?? [];
    if (from === undefined || to === undefined) return null;
    const address = BigInt(`0x${from}`);
    return { address, bytes: BigInt(`0x${to}`) - address };
  } catch {
    return null;
  }
}

function loaded(): Madvise | null {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    return koffi.load(null).func('int madvise(uintptr_t address, size_t bytes, int advice)') as Madvise;
  } catch {
    // Another C library: then they stay.
    return null;
  }
}
