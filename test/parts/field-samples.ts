import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** What is left after a full collection: of JavaScript's objects, and of what they hold outside V8's heap. */
export interface Live {
  readonly heapBytes: number;
  /** Of these, bytecode and machine code, with what V8 notes beside it. */
  readonly codeBytes: number;
  readonly externalBytes: number;
}

/** What a gateway's process takes up at one moment. */
export interface Sample {
  /** Hours since the day began. */
  readonly hour: number;
  /** Which of the gateway's processes: 1 is the first. */
  readonly life: number;
  /** Everybody is there and nothing is being done to the gateway. */
  readonly calm: boolean;
  readonly rssBytes: number;
  /** Null where that was not asked. */
  readonly live: Live | null;
  /** Open file descriptors, without the one by which they are asked for. */
  readonly files: number;
  /** The same by what they lead to. */
  readonly kinds: Readonly<Record<string, number>>;
  readonly threads: number;
  /** The spool's file on disk, and everything under `dataDir`. */
  readonly spoolBytes: number;
  readonly dataBytes: number;
  /** Processor time of this process so far, s. */
  readonly cpuSecs: number;
  /** What the gateway has logged since the day began. */
  readonly logBytes: number;
  readonly pending: number;
}

const TICKS_PER_SEC = 100;
const BLOCK_BYTES = 512;

/** Open file descriptors of a process by what they lead to. */
export function openFiles(pid: number): Record<string, number> {
  const kinds: Record<string, number> = {};
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${fd}`;
    let target: string;
    try {
      target = readlinkSync(path);
    } catch {
      // Closed meanwhile.
      continue;
    }
    const kind = /^(socket|pipe|anon_inode:\[?\w+)/.exec(target)?.[1] ?? target.replace(/^.*\//, '');
    kinds[kind] = (kinds[kind] ?? 0) + 1;
  }
  return kinds;
}

/** Bytes on disk of a file, or of everything in a folder; 0 for what is gone. */
export function bytesOnDisk(path: string): number {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return 0;
  const own = found.blocks * BLOCK_BYTES;
  if (!found.isDirectory()) return own;
  return readdirSync(path).reduce((sum, name) => sum + bytesOnDisk(join(path, name)), own);
}

/** What `/proc` knows of a process. */
export function processFigures(pid: number) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const figure = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)![1]);
  // The name in parentheses may hold anything; user and system time are the 12th and 13th behind it (proc(5)).
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const kinds = openFiles(pid);
  return {
    rssBytes: figure('VmRSS') * 1024,
    threads: figure('Threads'),
    files: Object.values(kinds).reduce((sum, count) => sum + count, 0),
    kinds,
    cpuSecs: (Number(stat[11]) + Number(stat[12])) / TICKS_PER_SEC,
  };
}

/** The straight line through the points that lies nearest (least squares). */
export interface Trend {
  /** What it climbs in one of `x`, and the standard error of that. */
  readonly slope: number;
  readonly error: number;
  readonly mean: number;
}

export function trend(points: readonly (readonly [x: number, y: number])[]): Trend {
  const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const middle = meanOf(points.map(([x]) => x));
  const mean = meanOf(points.map(([, y]) => y));
  const spread = points.reduce((sum, [x]) => sum + (x - middle) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - middle) * (y - mean), 0) / spread;
  const rest = points.reduce((sum, [x, y]) => sum + (y - mean - slope * (x - middle)) ** 2, 0);
  return { slope, error: Math.sqrt(rest / (points.length - 2) / spread), mean };
}
