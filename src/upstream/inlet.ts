import type { Duplex } from 'node:stream';
import type { DownPublication } from '../dialects/upstream-dialect.ts';
import { BrokerAtFault, Incoming } from './incoming.ts';
import { PacketTap } from './packet-tap.ts';

/** What of a broker's bytes is not left to MQTT.js. */
export interface InletEvents {
  puback(packetId: number, reason: number): void;
  /** `stored`: call it when it need not come again. */
  message(publication: DownPublication, stored: () => void): void;
  /** A message that was too large to be read; it does not come again. */
  oversized(topic: string, bytes: number): void;
}

/**
 * Stands between the socket and MQTT.js, in the place of the pipe by which they are joined, from the first byte on: what a broker
 * has kept for us comes right behind its CONNACK, before anybody listens. It is held until somebody does.
 */
export class Inlet {
  readonly #incoming: Incoming;
  readonly #fault: (why: string) => void;
  #events: InletEvents | null = null;
  #early: ((events: InletEvents) => void)[] = [];
  #closed = false;

  /** `write` sends bytes to the broker; `fault` is told when it sends what it may not. */
  constructor(stream: Duplex, version: 4 | 5, write: (bytes: Buffer) => void, fault: (why: string) => void) {
    this.#incoming = new Incoming(version, (bytes) => {
      if (!this.#closed && !stream.destroyed) write(bytes);
    });
    this.#fault = fault;
    const [parse] = stream.listeners('data') as ((bytes: Buffer) => void)[];
    if (parse === undefined) throw new Error('MQTT.js does not read from its stream by a pipe any more');
    const tap = new PacketTap({
      puback: (packetId, reason) => this.#events?.puback(packetId, reason),
      publish: (packet) => {
        const { publication, stored } = this.#incoming.read(packet);
        this.#tell((events) => events.message(publication, stored));
      },
      oversized: (topic, packetId, bytes) => {
        this.#incoming.skipped(packetId);
        this.#tell((events) => events.oversized(topic, bytes));
      },
      others: (bytes) => parse.call(stream, bytes),
    });
    stream.off('data', parse);
    stream.on('data', (chunk: Buffer) => this.#push(tap, chunk));
  }

  open(events: InletEvents): void {
    this.#events = events;
    for (const tell of this.#early.splice(0)) tell(events);
  }

  /** Nothing is read any more, and nothing acknowledged. */
  close(): void {
    this.#closed = true;
    this.#events = null;
    this.#early = [];
  }

  #tell(tell: (events: InletEvents) => void): void {
    if (this.#events === null) this.#early.push(tell);
    else tell(this.#events);
  }

  #push(tap: PacketTap, chunk: Buffer): void {
    if (this.#closed) return;
    try {
      tap.push(chunk);
    } catch (error) {
      if (!(error instanceof BrokerAtFault)) throw error;
      this.close();
      this.#fault(`the broker is at fault: ${error.message}`);
    }
  }
}
