import type { IPublishPacket } from 'mqtt';
import { visit, type GuestOptions } from '../upstream/guest.ts';
import { CliError, say } from './output.ts';

/** How long the broker may take to let us in, ms. */
const CONNECT_MS_MAX = 10_000;
/** Between attempts to come back, ms: at first, and at most. */
const RETRY_MS = { min: 250, max: 5000 };

export interface Watched {
  readonly broker: GuestOptions;
  readonly filters: readonly string[];
  /** As people say it: `every gateway`. */
  readonly whose: string;
  readonly heard: (topic: string, body: Buffer, properties: IPublishPacket['properties']) => void;
  /** What comes until it is back is not heard. */
  readonly lost: () => void;
  /** Whether it has heard enough. */
  readonly done: () => boolean;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Hears what arrives at a broker, as a guest, over as many connections as it takes. */
export class BrokerWatch {
  readonly #watched: Watched;

  constructor(watched: Watched) {
    this.#watched = watched;
  }

  /** Resolves when it was interrupted or has heard enough. Rejects when the first attempt to connect fails. */
  async run(): Promise<void> {
    const { signal } = this.#watched;
    let waitMs = RETRY_MS.min;
    for (let first = true; !this.#done; first = false) {
      const since = performance.now();
      try {
        await this.#listen(first);
      } catch (error) {
        if (signal.aborted) return;
        if (first) throw new CliError(`cannot watch ${this.#where}: ${(error as Error).message}`);
      }
      if (this.#done) return;
      // A broker may let us in and hang up, time and again.
      if (performance.now() - since > RETRY_MS.max) waitMs = RETRY_MS.min;
      await this.#pause(waitMs);
      waitMs = Math.min(waitMs * 2, RETRY_MS.max);
    }
  }

  get #done(): boolean {
    return this.#watched.done() || this.#watched.signal.aborted;
  }

  get #where(): string {
    return this.#watched.broker.url.replace(/\/\/[^@/]*@/, '//');
  }

  /** One connection, to its end. Rejects when there was none. */
  async #listen(first: boolean): Promise<void> {
    const { broker, filters, whose, heard, lost, signal } = this.#watched;
    const { client } = await visit(broker, CONNECT_MS_MAX, signal);
    const end = new Promise<void>((resolve) => client.once('close', resolve));
    const leave = () => client.end(true);
    signal.addEventListener('abort', leave);
    client.on('message', (topic, body, { properties }) => {
      heard(topic, body, properties);
      if (this.#done) leave();
    });
    try {
      if (signal.aborted) leave();
      else {
        await client.subscribeAsync([...filters], { qos: 1 });
        say(`${first ? 'watching' : 'watching again:'} ${whose} at ${this.#where}`);
        await end;
      }
    } finally {
      signal.removeEventListener('abort', leave);
      leave();
    }
    if (this.#done) return;
    say('the connection was lost; trying to come back. What arrives meanwhile is not seen here');
    lost();
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#watched;
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
    });
  }
}
