import type { Fate } from '../commands/feedback.ts';
import type { ToChild } from '../dialects/child-dialect.ts';
import type { HubLimits } from './limits.ts';
import type { Pen } from './pen.ts';

/**
 * What is brought to a client: a command, a message for one of its inputs, or, to a gateway, a command for one of those below it
 * as it came from above. `expires`: its sender has said how long it is worth something.
 */
export type Errand = 'command' | { readonly input: string } | { readonly topic: string; readonly expires: boolean };

/** A message that waits for its client. */
export interface Letter {
  /** The name of its record. */
  readonly name: string;
  readonly number: number;
  readonly errand: Errand;
  readonly message: ToChild;
  readonly bytes: number;
  /** Age, ms, after which it is of no use. */
  readonly expiresAt: number;
  /** Its packet identifier, from its first sending until it is acknowledged; 0 before. */
  packetId: number;
  /** Sent on the connection that there is now. */
  sent: boolean;
}

/** All letters of all clients together, bytes. */
export interface Weight {
  bytes: number;
  readonly max: number;
  /** Number of the next one: a child that is added again must not take up a record that is still to go. */
  next: number;
}

/** Told of each letter that goes. Its record stays on the medium until what is given back resolves; null: it goes at once. */
export type Settled = (letter: Letter, fate: Fate) => Promise<void> | null;

/** There is no room for another letter. */
export class MailboxFull extends Error {
  readonly reason = 'queue full';
}

const VERSION = 1;
const NUMBER_DIGITS = 12;

/** Messages for one client, in order, kept through restarts until they are acknowledged or expire. */
export class Mailbox {
  /** Expired, or of no form that the client can receive. */
  dropped = 0;
  /** Messages that found no room. */
  overflow = 0;
  readonly #name: string;
  readonly #pen: Pen;
  readonly #weight: Weight;
  readonly #limits: Pick<HubLimits, 'queuedMax' | 'queuedBytesMax'>;
  readonly #settled: Settled;
  #letters: Letter[] = [];
  #bytes = 0;
  /** Bytes of the last one that found no room. */
  #overflowBytes = 0;

  /** `name` begins the names of its records; `limits` are looked at each time. */
  constructor(
    name: string,
    pen: Pen,
    weight: Weight,
    limits: Pick<HubLimits, 'queuedMax' | 'queuedBytesMax'>,
    settled: Settled,
  ) {
    this.#name = name;
    this.#pen = pen;
    this.#weight = weight;
    this.#limits = limits;
    this.#settled = settled;
  }

  get letters(): readonly Letter[] {
    return this.#letters;
  }

  get count(): number {
    return this.#letters.length;
  }

  /** No more messages find room, or none like the last that found none. */
  get full(): boolean {
    // Limits may have been lowered since: one of the largest that may wait at all.
    return this.#obstacle(Math.min(this.#overflowBytes, this.#limits.queuedBytesMax)) !== null;
  }

  /** A record that was found; in order. */
  found(record: Buffer, number: number): void {
    const letter = decode(record, this.#record(number), number);
    this.#weight.next = Math.max(this.#weight.next, number + 1);
    this.#keep(letter);
  }

  /** Resolves when it is durable, or delivered if that is sooner. Throws {@link MailboxFull}. */
  add(errand: Errand, message: ToChild, expiresAt: number): Promise<void> {
    const number = this.#weight.next;
    const record = encode(errand, message, expiresAt);
    const bytes = record.length;
    const obstacle = this.#obstacle(bytes);
    if (obstacle !== null) {
      this.overflow++;
      // One that is too large for an empty mailbox does not make it full.
      if (bytes <= this.#limits.queuedBytesMax) this.#overflowBytes = bytes;
      throw new MailboxFull(obstacle);
    }
    this.#weight.next++;
    const name = this.#record(number);
    // Its body is a piece of what came from a socket or out of the spool: the copy holds nothing else alive.
    this.#keep(decode(record, name, number));
    return this.#pen.set(name, record);
  }

  /** Delivered. */
  remove(letter: Letter): void {
    this.#goes(letter, 'delivered');
  }

  /** Goes without having been delivered. */
  drop(letter: Letter, fate: 'expired' | 'dropped'): void {
    this.dropped++;
    this.#goes(letter, fate);
  }

  /** Why there is no room for so many bytes more; null: there is. */
  #obstacle(bytes: number): string | null {
    const { queuedMax, queuedBytesMax } = this.#limits;
    if (this.#letters.length >= queuedMax) return `${queuedMax} messages wait already`;
    if (bytes > queuedBytesMax) return `it takes ${bytes} bytes, of ${queuedBytesMax} that may wait`;
    if (this.#bytes + bytes > queuedBytesMax) return `${this.#bytes} bytes wait already`;
    const { bytes: all, max } = this.#weight;
    return all + bytes > max ? `${all} bytes wait already for all children together` : null;
  }

  #goes(letter: Letter, fate: Fate): void {
    const at = this.#letters.indexOf(letter);
    if (at < 0) return;
    this.#letters.splice(at, 1);
    this.#bytes -= letter.bytes;
    this.#weight.bytes -= letter.bytes;
    const told = this.#settled(letter, fate);
    if (told === null) this.#pen.withdraw(letter.name);
    // A sender that cannot be told is no reason to keep it.
    else void told.catch(() => undefined).then(() => this.#pen.withdraw(letter.name));
  }

  #keep(letter: Letter): void {
    this.#letters.push(letter);
    this.#bytes += letter.bytes;
    this.#weight.bytes += letter.bytes;
  }

  #record(number: number): string {
    return `${this.#name}${String(number).padStart(NUMBER_DIGITS, '0')}`;
  }
}

/** Format version, length of the head, head (JSON), body. */
function encode(errand: Errand, { body, ...rest }: ToChild, expiresAt: number): Buffer {
  const head = Buffer.from(JSON.stringify({ errand, expiresAt, message: rest }), 'utf8');
  const fixed = Buffer.alloc(5);
  fixed[0] = VERSION;
  fixed.writeUInt32BE(head.length, 1);
  return Buffer.concat([fixed, head, body]);
}

function decode(record: Buffer, name: string, number: number): Letter {
  if (record[0] !== VERSION) throw new Error(`the message ${name} is of format ${record[0]}, which is not known here`);
  const headEnd = 5 + record.readUInt32BE(1);
  const { errand, expiresAt, message } = JSON.parse(record.toString('utf8', 5, headEnd)) as {
    errand: Errand;
    expiresAt: number;
    message: Omit<ToChild, 'body'>;
  };
  return {
    name,
    number,
    errand,
    message: { ...message, body: record.subarray(headEnd) },
    bytes: record.length,
    expiresAt,
    packetId: 0,
    sent: false,
  };
}
