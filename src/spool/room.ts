import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import { StoreError, storeError } from '../store/store-error.ts';
import type { Amendments } from './amendments.ts';
import type { Evictor } from './evictor.ts';
import type { Sealed } from './lane.ts';
import { LateEnvironment, type Medium } from './late-environment.ts';
import { pagesOf } from './pages.ts';
import type { Quota } from './quota.ts';
import type { WearMeter } from './wear.ts';

/** Pages that a commit may add besides its blocks: tree pages and the books. */
const COMMIT_OVERHEAD_PAGES = 8;
/** Once it is full, it is so until this part of what may be stored is free: what is let go at once must not count as room. */
const FULL_UNTIL_SHARE = 1 / 16;
/** After the disk refused to let the file grow, it is not asked again for so long, ms. */
const GROWTH_REFUSED_MS = 10_000;
/** What is filled in one step while nothing else is to be done, bytes: as much as takes about {@link STEP_MS}. */
const STEP_BYTES_MIN = 128 * 1024;
const STEP_BYTES_MAX = 4 * 2 ** 20;
const STEP_MS = 100;
/** Of the time, filling takes one part in so many. */
const STEP_REST = 4;
/** A copy of the file is larger than what is live by this much. */
const COPY_SHARE = 1.05;
/** A copy as small as this always has room. */
const SMALL_COPY_BYTES = 2 ** 20;
/** How often it is looked for room while there is none, ms. */
const LOOK_EVERY_MS = 1000;
/** The file grows so often before one commit at the most: more comes while it grows. */
const GROWTHS_MAX = 4;
/** Progress is told at each of so many parts of the whole. */
const PROGRESS_PARTS = 4;

export interface RoomParts {
  readonly environment: Medium;
  readonly amendments: Amendments;
  readonly evictor: Evictor;
  readonly quota: Quota;
  readonly wear: WearMeter;
  readonly clock: Clock;
  readonly log: Logger;
  /** What is worth less than what waits in a lane goes first. */
  readonly onFull: () => void;
  /** Deletes the spool that was set aside before this one; false when there is none. */
  readonly dropQuarantine: () => boolean;
  /** Does something with the file while no commit is under way. */
  readonly exclusively: (act: () => Promise<void>) => Promise<void>;
}

/** How far the file has been filled towards the quota. */
export interface Filling {
  readonly bytes: number;
  readonly targetBytes: number;
  /** Others have filled the disk, down to `keepFree`: the file cannot grow. */
  readonly held: boolean;
}

/**
 * Room in the file: it grows ahead of need as far as it may, and where it may not, the evictor makes room in what there is.
 * Once a gateway runs, the file is filled up to the quota bit by bit: on a full disk that is what it can go on in.
 */
export class Room {
  readonly #parts: RoomParts;
  #full = false;
  #wanting = false;
  #stuck = false;
  #lookedAt = -Infinity;
  #growthRefusedAt = -Infinity;
  #held = false;
  #fillTimer: Timer | null = null;
  #filling: Promise<void> = Promise.resolve();
  #stopped = false;
  #stepBytes = STEP_BYTES_MIN;
  /** The last part that was told, and of which quota. */
  #told = { part: 0, quotaBytes: 0 };

  constructor(parts: RoomParts) {
    this.#parts = parts;
  }

  get quotaBytes(): number {
    return this.#parts.quota.bytes;
  }

  /** There is no room for more without something being let go, nor has there been since. */
  get full(): boolean {
    return this.#full;
  }

  /**
   * Whether there is room again, looked at once a second at the most: where everything that comes is refused, there may be no
   * commit that would see it.
   */
  look(): void {
    const { environment, amendments, quota, clock } = this.#parts;
    const now = clock.monotonic();
    if (now - this.#lookedAt < LOOK_EVERY_MS) return;
    this.#lookedAt = now;
    const { live, pageBytes } = environment.read((reader) => reader.livePages());
    const used = live + COMMIT_OVERHEAD_PAGES - amendments.pagesFreed;
    if (this.#roomy(quota.pagesAllowed(now, environment.fileBytes(), pageBytes), used))
      this.#full = this.#stuck = false;
  }

  /** Room is wanted, and there is nothing that may be let go. */
  get stuck(): boolean {
    return this.#stuck;
  }

  /** More is to be let go than one commit can. */
  get wanting(): boolean {
    return this.#wanting;
  }

  filling(): Filling {
    const { environment, quota, clock } = this.#parts;
    const targetBytes = quota.targetBytes(clock.monotonic());
    return { bytes: environment.fileBytes(), targetBytes, held: this.#held };
  }

  /**
   * Before a commit of blocks of about so many pages: sees that the file is where it should be, and lengthens it where that
   * is needed. Throws StoreError when there is nowhere to write.
   */
  async prepare(blockPages: () => number): Promise<void> {
    this.#mustBeOpen();
    await this.#restore();
    const { environment, amendments, quota, clock } = this.#parts;
    const { live, pageBytes } = environment.read((reader) => reader.livePages());
    for (let growths = 0; growths < GROWTHS_MAX; growths++) {
      const now = clock.monotonic();
      if (now - this.#growthRefusedAt < GROWTH_REFUSED_MS) return;
      const pages = live + blockPages() + COMMIT_OVERHEAD_PAGES + Math.max(0, -amendments.pagesFreed);
      const growth = quota.growth(now, pages, environment.fileBytes(), pageBytes);
      const most = quota.pagesAllowed(now, quota.targetBytes(now), pageBytes);
      if ((pages > most || (growth === 0 && quota.held)) && this.#dropQuarantine()) continue;
      if (growth === 0) {
        // That nothing is needed now says nothing of whether there would be room.
        if (quota.held) this.#hold(true);
        return;
      }
      await this.#fill(growth);
    }
  }

  /** Lets go what must go so that these blocks fit, and so many pages besides. */
  make(sealed: readonly Sealed[], besides: number): void {
    const { environment, amendments, evictor, quota, clock, log } = this.#parts;
    const { live, pageBytes } = environment.read((reader) => reader.livePages());
    quota.used(clock.monotonic(), environment.usedPages() * pageBytes, environment.fileBytes());
    const allowed = quota.pagesAllowed(clock.monotonic(), environment.fileBytes(), pageBytes);
    let wanted = live + besides + COMMIT_OVERHEAD_PAGES - allowed - amendments.pagesFreed;
    for (const { value } of sealed) wanted += pagesOf(value.length, pageBytes);
    this.#wanting = this.#stuck = false;
    if (wanted > 0) {
      this.#parts.onFull();
      if (!this.#full) log.warn(`the spool is full: ${evictor.means}`);
      const freed = evictor.evict(wanted);
      this.#wanting = freed > 0 && freed < wanted;
      this.#stuck = freed === 0 && amendments.pagesFreed <= 0;
    }
    this.#full = wanted > 0 || (this.#full && !this.#roomy(allowed, allowed + wanted));
  }

  /** What lies in quarantine has been carried over or is counted as lost: it goes before any message does. */
  #dropQuarantine(): boolean {
    if (!this.#parts.dropQuarantine()) return false;
    this.#parts.log.warn('the spool in quarantine was deleted: its room is wanted for messages');
    this.#parts.quota.othersChanged();
    return true;
  }

  /** Whether a good part is free of what may be stored in the file, or once it has grown where it may. */
  #roomy(allowed: number, used: number): boolean {
    const { environment, quota, clock } = this.#parts;
    const now = clock.monotonic();
    const may = this.#held ? allowed : quota.pagesAllowed(now, quota.targetBytes(now), environment.pageBytes);
    return used < may * (1 - FULL_UNTIL_SHARE);
  }

  /** Throws StoreError `full` unless a copy of what is live has room beside the file, within the quota. */
  mustHaveRoomForCopy(): void {
    const { environment, quota, clock } = this.#parts;
    const { live, pageBytes } = environment.read((reader) => reader.livePages());
    const copy = Math.ceil(live * COPY_SHARE) * pageBytes;
    const file = environment.fileBytes();
    if (copy <= SMALL_COPY_BYTES || quota.filling(clock.monotonic(), file, copy, pageBytes) >= copy) return;
    throw new StoreError(
      'full',
      `a copy of what is stored takes ${copy} bytes beside the file's ${file}: more than the quota and keepFree leave`,
    );
  }

  /** Begins to fill the file up to the quota, in steps between commits. */
  fillUp(): void {
    this.#fillTimer ??= this.#stepAfter(STEP_MS);
  }

  /** Ends the filling. Resolves when the step under way has ended: one that waits for its turn must not have it any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#fillTimer?.cancel();
    await this.#filling;
  }

  #stepAfter(ms: number): Timer {
    return this.#parts.clock.after(ms, () => {
      this.#filling = this.#step();
    });
  }

  async #step(): Promise<void> {
    const { environment, quota, clock, exclusively, log } = this.#parts;
    let took = GROWTH_REFUSED_MS;
    try {
      this.#mustBeOpen();
      const { pageBytes } = environment;
      const before = environment.fileBytes();
      const bytes = quota.filling(clock.monotonic(), before, this.#stepBytes, pageBytes);
      if (bytes === 0) this.#hold(quota.held);
      else {
        await exclusively(async () => {
          const begun = clock.monotonic();
          await this.#fill(bytes);
          took = clock.monotonic() - begun;
        });
        if (took < STEP_MS / 2) this.#stepBytes = Math.min(this.#stepBytes * 2, STEP_BYTES_MAX);
        if (took > STEP_MS * 2) this.#stepBytes = Math.max(this.#stepBytes / 2, STEP_BYTES_MIN);
        this.#tell();
      }
    } catch (error) {
      log.debug({ err: error }, 'the file cannot be filled up now');
    }
    if (!this.#stopped) this.#fillTimer = this.#stepAfter(Math.max(took * STEP_REST, 10));
  }

  #tell(): void {
    const { bytes, targetBytes } = this.filling();
    const { quotaBytes } = this;
    const part = Math.floor((bytes / targetBytes) * PROGRESS_PARTS + 0.01);
    if (part <= (this.#told.quotaBytes === quotaBytes ? this.#told.part : 0)) return;
    this.#told = { part, quotaBytes };
    const percent = Math.min(100, Math.round((bytes / targetBytes) * 100));
    this.#parts.log.info({ bytes, targetBytes }, `the spool's file is filled up to ${percent} % of its quota`);
  }

  /** Lengthens the file. A disk without room is no failure: what we hold is what we go on in. */
  async #fill(bytes: number): Promise<void> {
    const { environment, wear, clock } = this.#parts;
    const before = environment.fileBytes();
    try {
      await environment.fill(bytes);
      this.#hold(false);
    } catch (error) {
      if (!(error instanceof StoreError) || error.fault !== 'full') throw error;
      this.#growthRefusedAt = clock.monotonic();
      this.#hold(true);
    } finally {
      wear.filled(environment.fileBytes() - before);
    }
  }

  #hold(held: boolean): void {
    if (held && !this.#held)
      this.#parts.log.warn('others have filled the disk: the spool goes on in the room that it has');
    this.#held = held;
  }

  /** How much room there is on a medium that could not be written so far, nobody knows. Throws StoreError while it cannot be. */
  #mustBeOpen(): void {
    const { environment } = this.#parts;
    if (environment instanceof LateEnvironment) environment.open();
  }

  /** Somebody took the file away: LMDB has it open still, and what it holds is brought back to where it belongs. */
  async #restore(): Promise<void> {
    const { environment, log, quota } = this.#parts;
    const displaced = environment.displaced;
    if (displaced === 'no') return;
    if (displaced === 'other filesystem') {
      throw new StoreError('absent', `${environment.directory} is on another filesystem than it was: is it mounted?`);
    }
    log.error(`${environment.directory} was taken away: it is made anew with all that it held`);
    quota.othersChanged();
    await environment.recreate().catch((error: unknown) => {
      throw storeError(error, environment.directory);
    });
  }
}
