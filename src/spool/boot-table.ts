import type { Clock } from '../clock/clock.ts';
import { NO_BOOT, type AcceptedAt } from '../message/message.ts';
import type { Boot } from './books.ts';

/** Boots that are remembered; of messages of earlier ones that never knew the time only the latest time is known. */
const BOOTS_MAX = 64;
/** How often it is noted how far this boot has come, ms. */
const NOTE_EVERY_MS = 60_000;

/** When a message was accepted, as well as it is known: ms since 1970, and what that is worth. */
export interface TimeOf {
  readonly at: number;
  readonly clock: 'synced' | 'restored' | 'unknown';
  /** With `unknown`, where they are known: it was not before, and not after. */
  readonly tMin?: number;
  readonly tMax?: number;
}

/** When a message was accepted, as well as these boots know it: {@link BootTable} says why. */
export function timeIn(boots: readonly Boot[], accepted: AcceptedAt): TimeOf {
  const { wall, clock } = accepted;
  // Of what another gateway took on, none of these boots can say more: it may have been long after all of them began.
  if (clock !== 'unknown' || accepted.boot === NO_BOOT) return { at: wall, clock };
  const place = boots.findIndex((boot) => boot.number === accepted.boot);
  const boot = boots[place];
  const offset = boot?.offset ?? null;
  if (offset !== null) return { at: accepted.monotonic + offset, clock: 'restored' };
  const tMax = latest(boots.slice(place + 1), Math.max(0, (boot?.ranTo ?? 0) - accepted.monotonic));
  let tMin = boot?.from === undefined ? -Infinity : boot.from + accepted.monotonic;
  if (tMin > tMax) tMin = -Infinity;
  return {
    at: Math.min(Math.max(wall, tMin), tMax),
    clock,
    ...(tMin === -Infinity ? {} : { tMin }),
    ...(tMax === Infinity ? {} : { tMax }),
  };
}

/** {@link timeIn} these boots. */
export function timesIn(boots: readonly Boot[]): (accepted: AcceptedAt) => TimeOf {
  return (accepted) => timeIn(boots, accepted);
}

/** The latest that something can have been that was `beforeEnd` ms before its boot ended, by the boots that followed. */
function latest(following: readonly Boot[], beforeEnd: number): number {
  let after = beforeEnd;
  for (const { offset, ranTo } of following) {
    if (offset !== null) return offset - after;
    after += ranTo ?? 0;
  }
  return Infinity;
}

/**
 * Corrects the stamps of messages that were taken on before the time was known. A board without a real-time clock boots in
 * the past; once the kernel is synchronised, the difference between wall and monotonic time dates everything of that boot.
 *
 * A boot that ended before it knew the time lies between two others, and that bounds it. In what follows a boot's 0 is where
 * its monotonic clock begins, and `ranTo` how far that was seen to run.
 *
 * - **Not before.** Boot k began after boot k-1 ended, which was not before the last time that boot knew, nor before its own
 *   lower bound and `ranTo`; and it ran a program that had been built by then. So `from` bounds its 0, and a message at
 *   monotonic m came at `from + m` at the earliest. It is worked out when the boot begins and kept: the program that reads
 *   the message later may have been built after it.
 * - **Not after.** Let j be the next boot that learned the time: its `offset` is the wall time of its 0. Before that, every
 *   boot between k and j ran at least its `ranTo`, and after the message boot k itself ran on to its own. So the message
 *   came at `offset(j) - sum of ranTo(between) - (ranTo(k) - m)` at the latest.
 *
 * The monotonic clock stands still while a machine is suspended. Time that it does not see only widens what really passed:
 * both bounds stay true. A correction within one boot would be wrong by a suspension between message and synchronisation.
 *
 * Where both bounds contradict each other, a clock lied while it was called synchronised. The later word counts, the upper
 * bound, and the lower is left out.
 */
export class BootTable {
  readonly #boots: Boot[];
  readonly #clock: Clock;
  readonly #this: Boot;
  #changed = true;

  /**
   * Works on the table that the caller keeps, and adds this boot to it. `passed`: a wall time that is certainly over, such as
   * the last that was known or when this program was built; null: none.
   */
  constructor(boots: Boot[], clock: Clock, passed: number | null) {
    this.#boots = boots;
    this.#clock = clock;
    this.#this = this.#find(clock.bootId);
    const from = passed === null ? -Infinity : passed - clock.monotonic();
    if (from > (this.#this.from ?? -Infinity)) this.#this.from = from;
  }

  /** This boot's number, for the stamps of its messages. */
  get number(): number {
    return this.#this.number;
  }

  /** Notes the time if it is known by now, and how far this boot has come. True: the table has changed since it said so last. */
  learn(): boolean {
    this.#note();
    const changed = this.#changed;
    this.#changed = false;
    return changed;
  }

  /** When a message was accepted, as well as it is known by now. */
  timeOf(accepted: AcceptedAt): TimeOf {
    if (accepted.clock === 'unknown') this.#note();
    return timeIn(this.#boots, accepted);
  }

  #note(): void {
    const boot = this.#this;
    const monotonic = this.#clock.monotonic();
    const known = this.#clock.known();
    const learned = known && boot.offset === null;
    if (!learned && monotonic < (boot.ranTo ?? -Infinity) + NOTE_EVERY_MS) return;
    if (learned) boot.offset = this.#clock.wall() - monotonic;
    if (known) boot.lastWall = this.#clock.wall();
    boot.ranTo = monotonic;
    this.#changed = true;
  }

  #find(id: string): Boot {
    const known = this.#boots.find((boot) => boot.id === id);
    if (known !== undefined) return known;
    const last = this.#boots.at(-1);
    const boot: Boot = { number: (last?.number ?? 0) + 1, id, offset: null };
    const from = endOf(last);
    if (from !== -Infinity) boot.from = from;
    this.#boots.push(boot);
    if (this.#boots.length > BOOTS_MAX) this.#boots.shift();
    return boot;
  }
}

/** A boot did not end before this wall time. */
function endOf(boot: Boot | undefined): number {
  if (boot === undefined) return -Infinity;
  const ranTo = boot.ranTo ?? 0;
  const began = boot.offset ?? boot.from ?? -Infinity;
  return Math.max(began + ranTo, boot.lastWall ?? -Infinity);
}
