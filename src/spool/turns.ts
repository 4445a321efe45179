import type { Stored } from '../message/message.ts';
import type { Lane, ReadingParts } from './lane.ts';

/** Of so many messages one goes to a lower lane that has some, however much the higher ones hold. */
const LOWER_LANE_SHARE = 16;

/** Which lane's turn it is: the highest goes first, the lower ones take turns in a share of their own. */
export class Turns {
  readonly #lanes: readonly Lane[];
  readonly #reading: (lane: Lane) => ReadingParts;
  #sinceLower = 0;
  #lastLower = 0;

  constructor(lanes: readonly Lane[], reading: (lane: Lane) => ReadingParts) {
    this.#lanes = lanes;
    this.#reading = reading;
  }

  /** The next message to send; null when there is none. */
  next(): Stored | null {
    const first = this.#lanes.find((lane) => lane.readable);
    if (first === undefined) return null;
    if (++this.#sinceLower >= LOWER_LANE_SHARE) {
      this.#sinceLower = 0;
      const lower = this.#nextLower(first.number);
      const stored = lower?.next(this.#reading(lower)) ?? null;
      if (stored !== null) return stored;
    }
    return first.next(this.#reading(first)) ?? (first.readable ? null : this.next());
  }

  /** The lanes below `number` that have something take turns. */
  #nextLower(number: number): Lane | undefined {
    const lower = this.#lanes.filter((lane) => lane.number > number && lane.readable);
    const lane = lower.find((each) => each.number > this.#lastLower) ?? lower[0];
    if (lane !== undefined) this.#lastLower = lane.number;
    return lane;
  }
}
