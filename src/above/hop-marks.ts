import type { Logger } from 'pino';
import type { Place } from '../dialects/child-dialect.ts';
import type { Companion, CompanionRecord, KeptRecord } from '../spool/companion.ts';

/** The kind of its records: the rules have 1 and 2. */
const KIND = 16;
const FORMAT = 1;
/** Epochs of one lane that are remembered: what a gateway sends again may begin in an older one than it ended in. */
const EPOCHS_MAX = 4;
/**
 * So far back a gateway may send again at the most: the largest window there is and a thousand unmarked ones (upstream/drain.ts),
 * thrice. What is older is not a repeat: the gateway has lost its data directory, and counts from 1 again.
 */
const REPEATS_MAX = 32_768;
/** Characters of a ULID that say when it was made. */
const TIME_LENGTH = 10;
/** Bytes of a record, about: there is a commit anyway. */
const RECORD_BYTES = 256;

/** How far a gateway has come in one lane, in one epoch. */
interface Mark {
  readonly epoch: number;
  readonly seq: number;
  /** The id of the message with that number. */
  readonly id: string;
  /** The latest time in an id so far. */
  readonly time: string;
}

interface Lower {
  /** The number of its record. */
  readonly number: number;
  readonly lanes: Map<number, readonly Mark[]>;
}

/**
 * What has been taken from gateways below us, by the numbers that they gave it: so that what is sent again is known. The marks go to
 * the medium in the transaction that has the messages. When in doubt a message is new: it may come twice, and is not lost.
 */
export class HopMarks implements Companion {
  readonly #log: Logger;
  readonly #lowers = new Map<string, Lower>();
  readonly #changed = new Set<string>();
  readonly #gone: number[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Takes up what lay on the medium. Once, and before all else. */
  start(records: readonly KeptRecord[]): void {
    for (const { kind, number, value } of records) {
      if (kind !== KIND) continue;
      try {
        const [gateway, lanes] = decoded(value);
        this.#lowers.set(gateway, { number, lanes });
      } catch (error) {
        this.#log.error({ err: error, record: number }, 'what was taken from a gateway below is not known any more');
        this.#gone.push(number);
      }
    }
  }

  /** Whether this message was taken before. */
  knows(gateway: string, { epoch, lane, seq }: Place, id: string): boolean {
    const mark = this.#lowers
      .get(gateway)
      ?.lanes.get(lane)
      ?.find((each) => each.epoch === epoch);
    if (mark === undefined || seq > mark.seq) return false;
    if (seq === mark.seq) return id === mark.id;
    return mark.seq - seq <= REPEATS_MAX && id.slice(0, TIME_LENGTH) <= mark.time;
  }

  /** It is taken now. Gives back how to undo that, at once or never. */
  take(gateway: string, { epoch, lane, seq }: Place, id: string): () => void {
    const lower = this.#lowers.get(gateway) ?? { number: this.#free(), lanes: new Map<number, readonly Mark[]>() };
    this.#lowers.set(gateway, lower);
    const before = lower.lanes.get(lane) ?? [];
    const known = before.find((each) => each.epoch === epoch);
    const time = id.slice(0, TIME_LENGTH);
    const later = known !== undefined && seq > known.seq && known.time > time ? known.time : time;
    const others = before.filter((each) => each !== known);
    lower.lanes.set(lane, [{ epoch, seq, id, time: later }, ...others].slice(0, EPOCHS_MAX));
    this.#changed.add(gateway);
    return () => lower.lanes.set(lane, before);
  }

  /** It is not below us any more. */
  forget(gateway: string): void {
    const lower = this.#lowers.get(gateway);
    if (lower === undefined) return;
    this.#lowers.delete(gateway);
    this.#changed.delete(gateway);
    this.#gone.push(lower.number);
  }

  get bytes(): number {
    return (this.#changed.size + this.#gone.length) * RECORD_BYTES;
  }

  cut(): readonly CompanionRecord[] {
    const records: CompanionRecord[] = this.#gone.splice(0).map((number) => ({ kind: KIND, number, value: null }));
    for (const gateway of this.#changed) {
      const { number, lanes } = this.#lowers.get(gateway)!;
      records.push({ kind: KIND, number, value: encoded(gateway, lanes) });
    }
    this.#changed.clear();
    return records;
  }

  /** The lowest number that no record has, or had a moment ago. */
  #free(): number {
    const taken = new Set([...this.#gone, ...[...this.#lowers.values()].map(({ number }) => number)]);
    let number = 0;
    while (taken.has(number)) number++;
    return number;
  }
}

function encoded(gateway: string, lanes: Lower['lanes']): Buffer {
  return Buffer.from(JSON.stringify({ format: FORMAT, gateway, lanes: Object.fromEntries(lanes) }), 'utf8');
}

function decoded(record: Buffer): [gateway: string, lanes: Lower['lanes']] {
  const { format, gateway, lanes } = JSON.parse(record.toString('utf8')) as {
    format: number;
    gateway: string;
    lanes: Record<string, Mark[]>;
  };
  if (format !== FORMAT) throw new Error(`the record is of format ${format}, which is not known here`);
  return [gateway, new Map(Object.entries(lanes).map(([lane, marks]) => [Number(lane), marks]))];
}
