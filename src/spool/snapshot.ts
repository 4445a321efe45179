import { StoreError } from '../store/store-error.ts';
import type { Medium } from './late-environment.ts';
import type { LastLoss, Losses } from './losses.ts';
import type { SpoolParts } from './parts.ts';
import type { Quota } from './quota.ts';
import type { Filling } from './room.ts';
import type { WearFigures } from './wear.ts';

/** How a spool is doing now. */
export interface SpoolSnapshot {
  readonly pending: number;
  readonly age: number;
  readonly livePages: number;
  readonly freePages: number;
  readonly pageBytes: number;
  readonly fileBytes: number;
  readonly quotaBytes: number;
  /** The file is larger than a lowered quota, until it is empty. */
  readonly shrinkPending: boolean;
  /** How far the file has been filled towards the quota. */
  readonly filling: Filling;
  readonly full: boolean;
  /** A message of any lane would be taken on now. */
  readonly hasRoom: boolean;
  /** Why the medium takes no writes; null when it does. */
  readonly fault: string | null;
  /** For how long it has not. */
  readonly faultSecs: number | null;
  /** What waits for the medium in memory. */
  readonly waitingBytes: number;
  /** How long the commit under way has been; 0 when there is none. */
  readonly commitUnderWayMs: number;
  readonly commitUnderWay: boolean;
  readonly commits: number;
  readonly wear: WearFigures;
  /** What comes in and wants a place on the medium, since the start; null in its first minute. */
  readonly intakeBytesPerDay: number | null;
  readonly lossRows: number;
  readonly lastLoss: LastLoss | null;
  /** The index of the blocks is complete: thinning and expiry know them all. */
  readonly indexed: boolean;
}

export interface SnapshotOf extends Pick<SpoolParts, 'committer' | 'door' | 'room' | 'wear' | 'indexing'> {
  readonly environment: Medium;
  readonly quota: Quota;
  readonly pending: number;
  readonly age: number;
  readonly commitEveryMs: number;
  readonly losses: Losses;
}

export function snapshotOf(of: SnapshotOf): SpoolSnapshot {
  const { environment, quota, committer, room, wear, indexing } = of;
  const { live, pageBytes, used } = pagesIn(environment);
  const fileBytes = environment.fileBytes();
  return {
    pending: of.pending,
    age: of.age,
    livePages: live,
    freePages: Math.max(0, used - live),
    pageBytes,
    fileBytes,
    quotaBytes: quota.bytes,
    shrinkPending: fileBytes > quota.bytes,
    filling: room.filling(),
    full: room.full,
    hasRoom: of.door.hasRoom,
    fault: committer.fault.now?.message ?? null,
    faultSecs: committer.fault.now === null ? null : Math.round(committer.fault.ms / 1000),
    waitingBytes: committer.waitingBytes,
    commitUnderWayMs: Math.round(committer.underWayMs),
    commitUnderWay: committer.underWay,
    commits: wear.commits,
    wear: wear.figures(of.commitEveryMs),
    intakeBytesPerDay: wear.intakeBytesPerDay,
    lossRows: of.losses.size,
    lastLoss: of.losses.last,
    indexed: indexing.complete,
  };
}

interface Pages {
  readonly live: number;
  readonly pageBytes: number;
  readonly used: number;
}

/** What was seen last: a medium may refuse to be looked at for a moment, and how the spool is doing is asked just then. */
const seenLast = new WeakMap<Medium, Pages>();

function pagesIn(environment: Medium): Pages {
  try {
    const pages = { ...environment.read((reader) => reader.livePages()), used: environment.usedPages() };
    seenLast.set(environment, pages);
    return pages;
  } catch (error) {
    const before = seenLast.get(environment);
    if (!(error instanceof StoreError) || before === undefined) throw error;
    return before;
  }
}
