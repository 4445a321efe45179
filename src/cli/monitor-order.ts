/** Lanes of all gateways and epochs together that are followed; the one that was silent longest is forgotten first. */
const LANES_MAX = 1000;

/** Where a message stands in what its gateway sent. */
export interface Place {
  readonly gateway: string;
  readonly epoch: number;
  readonly lane: number;
  readonly seq: number;
}

/** Notices what is not in order: numbers left out, or coming again, within a gateway's epoch and lane. */
export class MonitorOrder {
  readonly #last = new Map<string, number>();
  readonly #epochs = new Map<string, number>();

  /** What is odd about this message, in words; null when it is the next one, or the first that is seen of its lane. */
  seen({ gateway, epoch, lane, seq }: Place): string | null {
    if (!Number.isSafeInteger(seq)) return null;
    const begun = this.#epoch(gateway, epoch);
    const key = `${gateway}/${epoch}/${lane}`;
    const last = this.#last.get(key);
    // Deleted and set again, so that the first of the map is the one that was silent longest.
    this.#last.delete(key);
    this.#last.set(key, Math.max(seq, last ?? seq));
    if (this.#last.size > LANES_MAX) this.#last.delete(this.#last.keys().next().value!);
    const where = `${gateway}, epoch ${epoch}, lane ${lane}`;
    if (last === undefined) return begun;
    if (seq <= last) return `${where}: seq ${seq} again, or late: ${last} was there before`;
    if (seq > last + 1) return `${where}: gap: ${rangeText(last + 1, seq - 1)} did not come`;
    return null;
  }

  /** After a time of not listening: what was missed then is not the gateway's fault. */
  forget(): void {
    this.#last.clear();
  }

  #epoch(gateway: string, epoch: number): string | null {
    const before = this.#epochs.get(gateway);
    if (before !== undefined && epoch <= before) return null;
    this.#epochs.set(gateway, epoch);
    return before === undefined ? null : `${gateway}: epoch ${epoch} begins, after ${before}`;
  }
}

/** `seq 7`, `seq 7 to 9 (3 messages)`. */
export function rangeText(first: number, last: number): string {
  return first === last ? `seq ${first}` : `seq ${first} to ${last} (${last - first + 1} messages)`;
}
