import type { Duplex } from 'node:stream';
import { generate, writeToStream, type Packet } from 'mqtt-packet';
import type { Clock, Timer } from '../clock/clock.ts';
import { CONNECT_BYTES_MAX, UNSENT_BYTES_MAX } from './limits.ts';
import { PacketReader, type ClientPacket } from './packets.ts';
import { Malformed, PacketStream, sizeOf } from './packet-stream.ts';

/** How long a last word may take to leave before the connection is cut, ms. */
const LAST_WORD_MS = 2000;
/** A PUBACK without a reason (section 3.4). */
const PUBACK_BYTES = 4;

// Otherwise it makes a Buffer of every number that two bytes can hold at the first packet, and keeps them: 7 MB.
writeToStream.cacheNumbers = false;

export interface WireEvents {
  packet(packet: ClientPacket): void;
  /** What came is no MQTT. Nothing more is read. */
  malformed(error: Malformed): void;
  /** Room in the socket again. */
  drained(): void;
  /** Told once, and nothing after it. */
  closed(): void;
}

const DEAF: WireEvents = { packet: () => {}, malformed: () => {}, drained: () => {}, closed: () => {} };

/** One network connection as a line of packets. It is read as long as nobody holds it. */
export class Wire {
  /** When something last came, or reading began again: monotonic ms. */
  heardAt: number;
  mqtt5 = false;
  readonly #stream: Duplex;
  readonly #clock: Clock;
  /** Who listens; another one when it has been found out who speaks. */
  events: WireEvents = DEAF;
  readonly #packets = new PacketStream(CONNECT_BYTES_MAX);
  readonly #reader = new PacketReader();
  readonly #holds = new Set<string>();
  #reading = false;
  #corked = false;
  /** Packets that were acknowledged in this turn: their PUBACKs leave in one piece. */
  #acknowledged: number[] = [];
  #ending: Timer | null = null;
  #open = true;

  constructor(stream: Duplex, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
    this.heardAt = clock.monotonic();
    stream.on('data', (chunk: Buffer) => {
      if (!this.#open || this.#ending !== null) return;
      this.heardAt = clock.monotonic();
      this.#packets.push(chunk);
      this.#read();
    });
    stream.on('drain', () => {
      if (!this.#open) return;
      this.release('unsent');
      this.events.drained();
    });
    // A client that has said all may still wait for what we have to say, but none does: MQTT has no half-open connection.
    stream.on('end', () => this.cut());
    stream.on('error', () => this.cut());
    stream.on('close', () => this.cut());
    // Whoever looked at its first bytes has paused it.
    stream.resume();
  }

  get open(): boolean {
    return this.#open && this.#ending === null;
  }

  get held(): boolean {
    return this.#holds.size > 0;
  }

  /** Not read for a reason of ours; that it does not read what we say is one of its own. */
  get heldByUs(): boolean {
    return this.#holds.size > (this.#holds.has('unsent') ? 1 : 0);
  }

  /** Bytes that wait to leave. */
  get unsent(): number {
    return this.#stream.writableLength + this.#acknowledged.length * PUBACK_BYTES;
  }

  /** The largest packet that is taken from now on, bytes. */
  set bytesMax(bytes: number) {
    this.#packets.bytesMax = bytes;
  }

  /** Stops reading until everybody who held has let go: what comes waits in the socket, and then with its sender. */
  hold(why: string): void {
    this.#holds.add(why);
    if (this.#open) this.#stream.pause();
  }

  release(why: string): void {
    if (!this.#holds.delete(why) || this.held || !this.open) return;
    this.heardAt = this.#clock.monotonic();
    this.#read();
  }

  /** Bytes of a whole packet. */
  write(bytes: Buffer): void {
    if (!this.open) return;
    this.#gather();
    this.#writePubacks();
    this.#stream.write(bytes);
    this.#holdUnsent();
  }

  /** A PUBACK that has no more to say than that it is one: the same in each MQTT. */
  acknowledge(id: number): void {
    if (!this.open) return;
    this.#gather();
    this.#acknowledged.push(id);
    this.#holdUnsent();
  }

  /** What is said in one turn leaves together. */
  #gather(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#stream.cork();
    process.nextTick(() => {
      if (this.open) this.#writePubacks();
      this.#corked = false;
      this.#stream.uncork();
    });
  }

  #writePubacks(): void {
    if (this.#acknowledged.length === 0) return;
    const bytes = Buffer.allocUnsafe(this.#acknowledged.length * PUBACK_BYTES);
    let at = 0;
    for (const id of this.#acknowledged) {
      bytes[at] = 0x40;
      bytes[at + 1] = 2;
      bytes[at + 2] = id >>> 8;
      bytes[at + 3] = id & 255;
      at += PUBACK_BYTES;
    }
    this.#acknowledged = [];
    this.#stream.write(bytes);
  }

  /** Who does not read what we say is not listened to either, or its questions would pile up as answers. */
  #holdUnsent(): void {
    if (this.unsent > UNSENT_BYTES_MAX) this.hold('unsent');
  }

  send(packet: Packet): void {
    this.write(this.encode(packet));
  }

  /** Throws when it says something that MQTT cannot. */
  encode(packet: Packet): Buffer {
    const bytes = generate(packet, { protocolVersion: this.mqtt5 ? 5 : 4 });
    // What mqtt-packet cannot say (a text of more than 65,535 bytes, an empty list of properties) it leaves out, or in the middle.
    if (sizeOf(bytes) !== bytes.length) throw new Error(`a ${packet.cmd.toUpperCase()} that MQTT cannot say`);
    return bytes;
  }

  /** Says what is to be said, and closes. */
  end(lastWord?: Packet): void {
    if (!this.open) return;
    this.#writePubacks();
    if (lastWord !== undefined) this.send(lastWord);
    this.#ending = this.#clock.after(LAST_WORD_MS, () => this.cut());
    this.#stream.end();
    // Otherwise the end of the other side is never seen.
    this.#stream.resume();
  }

  /** Closes at once. */
  cut(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#ending?.cancel();
    this.#stream.destroy();
    this.events.closed();
  }

  #read(): void {
    // A packet may let go of what another one held: not one inside the other.
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.open && !this.held) {
        const bytes = this.#packets.next();
        if (bytes === null) break;
        this.events.packet(this.#reader.read(bytes));
      }
    } catch (error) {
      this.#stream.pause();
      // A fault of ours ends the connection whose packet met it, and no other.
      const fault = () => new Malformed('a packet that met a fault of ours', 0x80, { cause: error });
      this.events.malformed(error instanceof Malformed ? error : fault());
    } finally {
      this.#reading = false;
    }
    if (this.open && !this.held) this.#stream.resume();
  }
}
