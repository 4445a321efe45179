import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { LowerWordSaid } from '../dialects/child-dialect.ts';
import type { BelowHouse } from '../hub/front.ts';
import { decodePublication, encodePublication, type KeptPublication } from './kept-publication.ts';
import type { Line } from './liaison.ts';

/** Loss reports that wait for above, of all gateways below together. */
const LOSSES_MAX = 1024;
/** Retained topics that are kept, and their bytes. What is more goes up once, if there is a connection. */
const TOPICS_MAX = 5000;
const TOPICS_BYTES_MAX = 8 * 2 ** 20;
/** Publications that may be on their way at once. */
const UNDER_WAY_MAX = 16;
/** What the broker refuses is tried again after this, ms, and said as often. */
const AGAIN_MS = 60_000;
const FIRST_FAILURE = 0x80;
const NUMBER_DIGITS = 12;

const REPORTED = 'below/up/';
const LOSS = 'below/loss/';

interface Retained {
  readonly publication: KeptPublication;
  /** Above does not have it yet. */
  due: boolean;
}

/**
 * What gateways below us say of themselves, on its way up: as it stands, and under their own topics. Loss reports wait on the medium until
 * above has acknowledged them; of what is retained the last word is kept, reported properties also over a restart.
 */
export class Upward {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #retained = new Map<string, Retained>();
  readonly #losses = new Map<number, KeptPublication>();
  readonly #underWay = new Set<string>();
  #store: BelowHouse['store'] | null = null;
  #line: Line | null = null;
  #retry: Timer | null = null;
  #next = 1;
  #bytes = 0;
  #saidAt = -Infinity;
  /** Names of what was refused: it waits. */
  readonly #refused = new Set<string>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Loss reports that wait. */
  get waiting(): number {
    return this.#losses.size;
  }

  /** Reads what is kept. */
  open(store: BelowHouse['store']): void {
    this.#store = store;
    this.#read(REPORTED, (publication) => {
      if (!this.#retained.has(publication.topic)) this.#keep(publication);
    });
    this.#read(LOSS, (publication, name) => {
      const number = Number(name);
      this.#losses.set(number, publication);
      this.#next = Math.max(this.#next, number + 1);
    });
    this.#pump();
  }

  connected(line: Line, kept: boolean): void {
    this.#line = line;
    this.#refused.clear();
    if (!kept) for (const each of this.#retained.values()) each.due = true;
    this.#pump();
  }

  lost(): void {
    this.#line = null;
    this.#underWay.clear();
    this.#retry?.cancel();
    this.#retry = null;
  }

  /** Resolves when it need not be said again. Rejects with `{reason: 'rejected'}` while there is no room. */
  async take({ what, publication }: Pick<LowerWordSaid, 'what' | 'publication'>): Promise<void> {
    if (what === 'answer') {
      this.#line?.publish(publication);
      return;
    }
    if (what === 'losses') await this.#loss(publication);
    else {
      const kept = this.#keep(publication);
      if (!kept) this.#line?.publish(publication);
      // The others are said again with each connection.
      else if (what === 'reported') {
        const { topic, body } = publication;
        await this.#store!.put([[REPORTED + topic, body.length === 0 ? null : encodePublication(publication)]]);
      }
    }
    this.#pump();
  }

  /** A gateway is not below us any more; `isIts` tells its topics. What it has lost is still reported. */
  async forget(isIts: (topic: string) => boolean): Promise<void> {
    const gone = [...this.#retained.keys()].filter(isIts);
    for (const topic of gone) {
      this.#bytes -= this.#retained.get(topic)!.publication.body.length;
      this.#retained.delete(topic);
    }
    await this.#store?.put(gone.map((topic) => [REPORTED + topic, null] as const));
  }

  async #loss(publication: KeptPublication): Promise<void> {
    if (this.#losses.size >= LOSSES_MAX) {
      const why = `${LOSSES_MAX} loss reports of gateways below wait already`;
      throw Object.assign(new Error(why), { reason: 'rejected' });
    }
    const number = this.#next++;
    const record = encodePublication(publication);
    await this.#store!.put([[lossName(number), record]]);
    // Its body is a piece of what came from a socket: the copy holds nothing else alive.
    this.#losses.set(number, decodePublication(record));
  }

  /** False: there is no room for it. */
  #keep(publication: KeptPublication): boolean {
    const { topic, body } = publication;
    const before = this.#retained.get(topic);
    const bytes = this.#bytes + body.length - (before?.publication.body.length ?? 0);
    if (bytes > TOPICS_BYTES_MAX || (before === undefined && this.#retained.size >= TOPICS_MAX)) return false;
    this.#bytes = bytes;
    // A copy, as of a loss report.
    this.#retained.set(topic, { publication: { ...publication, body: Buffer.from(body) }, due: true });
    return true;
  }

  #pump(): void {
    const line = this.#line;
    if (line === null) return;
    for (const [number, publication] of this.#losses) {
      this.#send(line, lossName(number), publication, () => {
        this.#losses.delete(number);
        this.#store!
          .put([[lossName(number), null]])
          .catch((error: unknown) =>
            this.#log.error({ err: error }, 'a loss report of a gateway below stays, and comes again'),
          );
      });
    }
    for (const [topic, retained] of this.#retained) {
      if (!retained.due) continue;
      this.#send(line, topic, retained.publication, () => {
        retained.due = false;
        // There is nothing more to be said about what is gone.
        if (retained.publication.body.length === 0 && this.#retained.get(topic) === retained)
          this.#retained.delete(topic);
      });
    }
  }

  #send(line: Line, name: string, publication: KeptPublication, done: () => void): void {
    if (this.#underWay.size >= UNDER_WAY_MAX || this.#underWay.has(name) || this.#refused.has(name)) return;
    this.#underWay.add(name);
    line.publish(publication, (reason) => {
      if (this.#line !== line) return;
      this.#underWay.delete(name);
      if (reason < FIRST_FAILURE) done();
      else this.#wasRefused(name, reason);
      this.#pump();
    });
  }

  #wasRefused(name: string, reason: number): void {
    this.#refused.add(name);
    this.#retry ??= this.#clock.after(AGAIN_MS, () => {
      this.#retry = null;
      this.#refused.clear();
      this.#pump();
    });
    if (this.#clock.monotonic() < this.#saidAt + AGAIN_MS) return;
    this.#saidAt = this.#clock.monotonic();
    this.#log.warn(`what gateways below us say is refused above, with reason 0x${reason.toString(16)}: ${name}`);
  }

  #read(prefix: string, found: (publication: KeptPublication, name: string) => void): void {
    for (const name of this.#store!.names(prefix)) {
      try {
        const record = this.#store!.get(name);
        if (record !== null) found(decodePublication(record), name.slice(prefix.length));
      } catch (error) {
        this.#log.error({ err: error, record: name }, 'what a gateway below has said cannot be read and is left out');
      }
    }
  }
}

function lossName(number: number): string {
  return `${LOSS}${String(number).padStart(NUMBER_DIGITS, '0')}`;
}
