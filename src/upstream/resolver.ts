import { lookup, Resolver as Queries } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { ADDRESSES_MAX, type Address } from './address-race.ts';
import { DialFailed, GIVEN_UP } from './dial-failed.ts';
import { hostsAddresses } from './hosts-file.ts';

/** First wait for a name server, ms, and how often each is asked; the wait grows with each round. */
const QUERY_MS = 1000;
const QUERY_TRIES = 2;
/** Longest that all of it may take, ms ... */
const ANSWER_MS_MAX = 8000;
/** ... and when there are addresses from before to go on with. */
const ANSWER_MS_MAX_WITH_KEPT = 2500;
/** With one family there, how long the other is waited for, ms (RFC 8305, section 3: "Resolution Delay"). */
const OTHER_FAMILY_MS = 50;
/** Bounds of how long an answer counts without asking again, s; the system's resolver does not say for how long it would. */
const TTL_SECS = { min: 5, max: 3600, system: 60 };
/** Names whose addresses are kept, and how often a changed answer is written to the medium at the most, ms. */
const NAMES_MAX = 8;
const KEEP_EVERY_MS = 3_600_000;
const KEPT = 'upstream-addresses';

/** Where the last known addresses outlive a restart: the state environment. */
export interface AddressBook {
  get(name: string): unknown;
  put(name: string, value: unknown): Promise<void>;
}

export interface Answer {
  readonly addresses: readonly Address[];
  readonly from: 'literal' | 'hosts' | 'servers' | 'system' | 'kept';
  /** Why they are kept ones, in words. */
  readonly trouble?: string;
}

export interface ResolverOptions {
  /** Asked instead of the system's resolver, after /etc/hosts: addresses, with a port when it is not 53. */
  readonly servers?: readonly string[] | undefined;
  readonly clock: Clock;
  /** null: nothing outlives this process. */
  readonly book: AddressBook | null;
  readonly hostsFile?: string;
  /** Hears, once each time, that old addresses have to do. */
  readonly log?: Logger;
}

interface Found {
  readonly addresses: readonly Address[];
  readonly ttlSecs: number;
}

interface Question {
  readonly found: Promise<Found>;
  /** Ends it, where that can be done. */
  readonly cancel: () => void;
}

interface Fresh {
  readonly answer: Answer;
  /** Monotonic ms. */
  readonly until: number;
}

/**
 * Names to addresses of both families. An answer counts for its time to live; what was last known outlives that, and a
 * restart, for when no name server answers: a gateway that boots without DNS finds its broker all the same.
 */
export class Resolver {
  readonly #options: ResolverOptions;
  readonly #clock: Clock;
  readonly #fresh = new Map<string, Fresh>();
  readonly #open = new Map<string, Question>();
  /** The last to be used last. */
  readonly #kept: Map<string, readonly string[]>;
  /** What of them is on the medium, and since when, monotonic ms. */
  #written: string;
  #writtenAt = -Infinity;
  /** Why old addresses are used now, as it was logged. */
  #trouble: string | null = null;

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#kept = keptIn(options.book?.get(KEPT));
    this.#written = textOf(this.#kept);
  }

  /** Rejects with {@link DialFailed} when nothing is known of the name, and when `signal` aborts. */
  async resolve(host: string, signal: AbortSignal): Promise<Answer> {
    const family = isIP(host);
    if (family !== 0) return { addresses: [{ address: host, family: family as 4 | 6 }], from: 'literal' };
    const name = host.toLowerCase();
    const fresh = this.#fresh.get(name);
    if (fresh !== undefined && this.#clock.monotonic() < fresh.until) return fresh.answer;
    const { servers, hostsFile = '/etc/hosts' } = this.#options;
    if (servers !== undefined) {
      const addresses = hostsAddresses(hostsFile, name);
      if (addresses.length > 0) return { addresses, from: 'hosts' };
    }
    const kept = this.#kept.get(name);
    let found: Found;
    try {
      found = await this.#bounded(name, kept === undefined ? ANSWER_MS_MAX : ANSWER_MS_MAX_WITH_KEPT, signal);
    } catch (error) {
      const { message } = error as Error;
      if (kept === undefined || signal.aborted) throw error;
      if (message !== this.#trouble) this.#options.log?.warn(`${message}; the last known addresses are used`);
      this.#trouble = message;
      return { addresses: kept.map(asAddress), from: 'kept', trouble: message };
    }
    this.#trouble = null;
    const answer: Answer = { addresses: found.addresses, from: servers === undefined ? 'system' : 'servers' };
    this.#fresh.set(name, { answer, until: this.#clock.monotonic() + found.ttlSecs * 1000 });
    this.#keep(name, found.addresses);
    return answer;
  }

  /** None of its addresses answers: the next time it is asked for again, however long the answer would count. */
  doubt(host: string): void {
    this.#fresh.delete(host.toLowerCase());
  }

  /** One question at a time for each name: one that hangs must not be joined by another with each attempt. */
  #question(name: string): Question {
    const open = this.#open.get(name);
    if (open !== undefined) return open;
    const { servers } = this.#options;
    let question: Question;
    if (servers === undefined) question = { found: askSystem(name), cancel: () => undefined };
    else {
      const queries = new Queries({ timeout: QUERY_MS, tries: QUERY_TRIES });
      queries.setServers(servers);
      question = { found: this.#ask(queries, name), cancel: () => queries.cancel() };
    }
    this.#open.set(name, question);
    question.found.catch(() => undefined).finally(() => this.#open.delete(name));
    return question;
  }

  #bounded(name: string, msMax: number, signal: AbortSignal): Promise<Found> {
    const { found, cancel } = this.#question(name);
    const whom = this.#options.servers?.join(', ') ?? 'the name server';
    return new Promise((resolve, reject) => {
      const end = (act: () => void) => {
        deadline.cancel();
        signal.removeEventListener('abort', giveUp);
        act();
      };
      const stop = (error: DialFailed) =>
        end(() => {
          reject(error);
          cancel();
        });
      const giveUp = () => stop(new DialFailed('dns', GIVEN_UP));
      const deadline = this.#clock.after(msMax, () => stop(refusal(name, whom, 'ETIMEOUT')));
      signal.addEventListener('abort', giveUp);
      if (signal.aborted) giveUp();
      found.then(
        (addresses) => end(() => resolve(addresses)),
        ({ code, message }: NodeJS.ErrnoException) => end(() => reject(refusal(name, whom, code ?? message))),
      );
    });
  }

  /** Both families at once (RFC 8305, section 3). */
  async #ask(queries: Queries, name: string): Promise<Found> {
    const ask = (family: 4 | 6) =>
      (family === 4 ? queries.resolve4(name, { ttl: true }) : queries.resolve6(name, { ttl: true })).then(
        (records) => ({
          addresses: records.map(({ address }): Address => ({ address, family })),
          ttlSecs: Math.min(...records.map(({ ttl }) => ttl)),
        }),
      );
    const both = [ask(4), ask(6)] as const;
    const first = await Promise.any(both).catch((error: AggregateError) => {
      // That there is a name without such addresses says less than that there is none, or that nobody answers.
      throw error.errors.find(({ code }: NodeJS.ErrnoException) => code !== 'ENODATA') ?? error.errors[0];
    });
    let timer = { cancel: (): void => undefined };
    const late = new Promise<null>((resolve) => (timer = this.#clock.after(OTHER_FAMILY_MS, () => resolve(null))));
    const all = await Promise.race([Promise.allSettled(both), late]);
    timer.cancel();
    if (all === null) queries.cancel();
    const found = all?.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])) ?? [first];
    const ttlSecs = Math.min(...found.map((each) => each.ttlSecs));
    return {
      addresses: found.flatMap(({ addresses }) => addresses.slice(0, ADDRESSES_MAX)),
      ttlSecs: Math.max(TTL_SECS.min, Math.min(TTL_SECS.max, ttlSecs)),
    };
  }

  /** Written when it says something new, and not each time that a name with many addresses gives others. */
  #keep(name: string, addresses: readonly Address[]): void {
    const news = addresses.map(({ address }) => address);
    const before = this.#kept.get(name);
    this.#kept.delete(name);
    this.#kept.set(name, news);
    for (const oldest of this.#kept.keys()) if (this.#kept.size > NAMES_MAX) this.#kept.delete(oldest);
    const { book } = this.#options;
    const text = textOf(this.#kept);
    const now = this.#clock.monotonic();
    const late = before === undefined || now - this.#writtenAt >= KEEP_EVERY_MS;
    if (book === null || text === this.#written || !late) return;
    this.#written = text;
    this.#writtenAt = now;
    // A medium that takes nothing is said by others; the next answer is kept again.
    book.put(KEPT, Object.fromEntries(this.#kept)).catch(() => (this.#written = ''));
  }
}

/** To compare by: name servers give the same addresses in other orders. */
function textOf(kept: ReadonlyMap<string, readonly string[]>): string {
  return [...kept]
    .map(([name, addresses]) => `${name}=${addresses.toSorted().join()}`)
    .toSorted()
    .join(' ');
}

async function askSystem(name: string): Promise<Found> {
  const found = await lookup(name, { all: true, verbatim: true });
  const addresses = found.map(({ address, family }): Address => ({ address, family: family === 6 ? 6 : 4 }));
  return { addresses: addresses.slice(0, 2 * ADDRESSES_MAX), ttlSecs: TTL_SECS.system };
}

function refusal(name: string, whom: string, code: string): DialFailed {
  if (code === 'ENOTFOUND' || code === 'ENODATA')
    return new DialFailed('dns', `${name}: nobody knows the name`, { code });
  return new DialFailed('dns', `${name}: no answer from ${whom} (${code})`, { code });
}

function asAddress(address: string): Address {
  return { address, family: isIP(address) === 6 ? 6 : 4 };
}

/** What another life of this program kept; what is not of that form is left out. */
function keptIn(value: unknown): Map<string, readonly string[]> {
  if (typeof value !== 'object' || value === null) return new Map();
  return new Map(
    Object.entries(value)
      .filter(([, addresses]) => Array.isArray(addresses) && addresses.length > 0)
      .map(([name, addresses]): [string, readonly string[]] => [
        name,
        (addresses as unknown[]).filter((each) => typeof each === 'string' && isIP(each) !== 0) as string[],
      ])
      .filter(([, addresses]) => addresses.length > 0),
  );
}
