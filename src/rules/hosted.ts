import type { Fields, Value } from '../query/value.ts';
import type { Held, Micros } from './row.ts';

/** What the host needs of a running query. `Output` is what it puts out. */
export interface RunningQuery<Output> {
  feed(input: string, event: FedEvent): readonly Output[];
  /** Time has passed: brings outputs earlier, and changes nothing of what comes out. */
  tick(now: Micros): readonly Output[];
  /** When {@link tick} could give something out. */
  nextTick(): Micros | null;
  /** How far the own time of an event is beyond what is possible at `now`; 0 when none is. */
  ahead(now: Micros): Micros;
  /** The time has become known, and is `now`: what an impossible time had led ahead closes, and begins anew. */
  learn(now: Micros): readonly Output[];
  /** Closes everything that is open. */
  end(): readonly Output[];
  save(): Value;
  load(saved: Value): void;
  readonly held: Held;
  readonly counters: QueryCounters;
}

export interface FedEvent {
  readonly fields: Fields;
  /** On the rules' timeline. */
  readonly arrival: Micros;
  /** False while nobody knew the time. */
  readonly arrivalKnown: boolean;
}

export interface QueryCounters {
  readonly in: number;
  readonly out: number;
  readonly late: number;
  readonly early: number;
  readonly unordered: number;
  readonly dropped: number;
  readonly bounded: number;
}

/** A module as it is configured. */
export interface ModuleSpec<Output> {
  readonly id: string;
  /** Names the query: what another one remembers is of no use to it. */
  readonly hash: string;
  /** The query with nothing in it. */
  readonly make: () => RunningQuery<Output>;
}

/** A module that runs, and what of it is on the medium. */
export class Hosted<Output> {
  readonly id: string;
  readonly hash: string;
  readonly #make: () => RunningQuery<Output>;
  query: RunningQuery<Output>;
  /** It has put something out since its last checkpoint: the two must reach the medium together. */
  emitted = false;
  /** It has been fed since its last checkpoint. */
  fed = false;
  /** Bytes of journal since then. */
  journalBytes = 0;
  /** When that was, monotonic ms. */
  checkpointAt: number;
  /** How long its record was; null before the first. */
  recordBytes: number | null = null;
  /** The number of its record. */
  slot: number | null = null;
  /** Blocks of the journal that it would need after a crash. */
  needs: number[] = [];
  /** What came and could not be read, besides what the query counts. */
  unreadable = 0;
  /** When it last put something out, on the rules' timeline. */
  lastOutput: Micros | null = null;
  /** Why it stopped. */
  fault: string | null = null;

  constructor({ id, hash, make }: ModuleSpec<Output>, now: number) {
    this.id = id;
    this.hash = hash;
    this.#make = make;
    this.query = make();
    this.checkpointAt = now;
  }

  /** It forgets everything. */
  renew(): void {
    this.query = this.#make();
  }

  /** About how long a checkpoint would be, bytes. */
  get likelyBytes(): number {
    return this.recordBytes ?? this.query.held.bytes;
  }
}
