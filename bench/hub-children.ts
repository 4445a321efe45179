import { connect, type Socket } from 'node:net';
import mqtt from 'mqtt-packet';
import { bodies } from './body.ts';
import { contend, processorTime } from './worker.ts';

/** Children that publish at QoS 1 over bare sockets, or say nothing at all. */

export interface ChildrenArgs {
  readonly port: number;
  /** Who they are; a password where the server wants one. */
  readonly children: readonly { readonly id: string; readonly username: string; readonly password?: string }[];
  /** Messages a second of each, evenly spread; null: as many as PUBACKs let it. */
  readonly perSecond: number | null;
  /** What each may have on its way. */
  readonly window: number;
  readonly ms: number;
  /** With as many as PUBACKs let it: no more than so many of all together. */
  readonly count?: number;
}

/** What all children have in common. */
interface Tally {
  readonly latencies: number[];
  /** Messages that may still be sent as fast as PUBACKs let it. */
  left: number;
}

/** How long those on their way are waited for at the end, ms. */
const PATIENCE_MS = 30_000;

/** Bodies that each has ready, no two of all of them alike: they come again after that, far beyond what deflate looks back. */
const BODIES_EACH = 64;
/** A CONNACK of MQTT 3.1.1 without a session, and one that lets it in. */
const CONNACK = Buffer.from([0x20, 2, 0, 0]);
/** A PUBACK of MQTT 3.1.1, as long as a CONNACK. */
const PUBACK = 0x40;
const ANSWER_BYTES = 4;

/**
 * A child that costs next to nothing, since it shares the machine with the one that is measured: its packets lie end to end,
 * made beforehand, and what may leave at once leaves in one write.
 */
class Child {
  readonly #socket: Socket;
  readonly #args: ChildrenArgs;
  readonly #tally: Tally;
  /** Packets of one length with the numbers 1 to {@link BODIES_EACH}. */
  readonly #packets: Buffer;
  readonly #packetBytes: number;
  /** Which of them is sent next, and which is acknowledged next: PUBACKs come in the order of what was sent. */
  #next = 0;
  #expected = 0;
  /** When each was due or sent, oldest first. */
  readonly #underway: number[] = [];
  readonly #due: number[] = [];
  /** Of an answer that has not come whole. */
  #begun = Buffer.alloc(0);
  #told: ((error: Error | null) => void) | null = null;
  stopped = false;

  private constructor(args: ChildrenArgs, n: number, tally: Tally, told: (error: Error | null) => void) {
    const { id } = args.children[n]!;
    this.#args = args;
    this.#tally = tally;
    this.#told = told;
    const body = bodies(n + 1);
    const packets = Array.from({ length: BODIES_EACH }, (_, at) => publish(id, at + 1, body()));
    this.#packets = Buffer.concat(packets);
    this.#packetBytes = this.#packets.length / BODIES_EACH;
    if (args.window >= BODIES_EACH) throw new Error('a number would be used again before it is acknowledged');
    // From an address of its own each, as devices do: a hub lets only so many of one address in at a time.
    const localAddress = `127.1.${n >> 8}.${n & 255}`;
    const onread = {
      buffer: Buffer.alloc(4096),
      callback: (bytes: number, buffer: Uint8Array) =>
        this.#heard(Buffer.from(buffer.buffer, buffer.byteOffset, bytes)),
    };
    this.#socket = connect({ port: args.port, host: '127.0.0.1', localAddress, noDelay: true, onread });
    this.#socket.once('error', told);
    this.#socket.once('close', () => told(new Error(`${id} was cut off`)));
  }

  static async connected(args: ChildrenArgs, n: number, tally: Tally): Promise<Child> {
    const { id, username, password } = args.children[n]!;
    let child: Child | undefined;
    await new Promise<void>((resolve, reject) => {
      child = new Child(args, n, tally, (error) => (error === null ? resolve() : reject(error)));
      const named = { clientId: id, username, ...(password === undefined ? {} : { password: Buffer.from(password) }) };
      const connecting = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 0 } as const;
      child.#socket.write(mqtt.generate({ ...connecting, ...named }));
    });
    return child!;
  }

  get open(): number {
    return this.#underway.length + this.#due.length;
  }

  /** A message is due now; it goes when the window lets it, and what it waits counts. */
  due(): void {
    this.#due.push(performance.now());
    this.fill();
  }

  fill(): void {
    const { window, perSecond } = this.#args;
    const room = window - this.#underway.length;
    if (perSecond !== null) {
      this.#send(this.#due.splice(0, room));
      return;
    }
    if (this.stopped) return;
    const count = Math.min(room, this.#tally.left);
    this.#tally.left -= count;
    this.#send(Array.from({ length: count }, () => performance.now()));
  }

  #send(since: readonly number[]): void {
    this.#underway.push(...since);
    for (let left = since.length; left > 0;) {
      const count = Math.min(left, BODIES_EACH - this.#next);
      const at = this.#next * this.#packetBytes;
      this.#socket.write(this.#packets.subarray(at, at + count * this.#packetBytes));
      this.#next = (this.#next + count) % BODIES_EACH;
      left -= count;
    }
  }

  #heard(chunk: Buffer): boolean {
    const bytes = this.#begun.length === 0 ? chunk : Buffer.concat([this.#begun, chunk]);
    const now = performance.now();
    let at = 0;
    for (; at + ANSWER_BYTES <= bytes.length; at += ANSWER_BYTES) {
      if (this.#told !== null) {
        const answer = bytes.subarray(at, at + ANSWER_BYTES);
        this.#told(answer.equals(CONNACK) ? null : new Error(`refused with ${answer.toString('hex')}`));
        this.#told = null;
        continue;
      }
      const id = (bytes[at + 2]! << 8) | bytes[at + 3]!;
      if (bytes[at] !== PUBACK || id !== this.#expected + 1) throw new Error(`not the PUBACK that is next: ${id}`);
      this.#expected = (this.#expected + 1) % BODIES_EACH;
      this.#tally.latencies.push(now - this.#underway.shift()!);
    }
    // A copy: the buffer is used again.
    this.#begun = Buffer.from(bytes.subarray(at));
    this.fill();
    return true;
  }
}

function publish(id: string, messageId: number, payload: Buffer): Buffer {
  const topic = `devices/${id}/messages/events/`;
  return mqtt.generate({ cmd: 'publish', topic, payload, qos: 1, messageId, retain: false, dup: false });
}

await contend<ChildrenArgs>(async (args) => {
  const { perSecond, ms } = args;
  const tally: Tally = { latencies: [], left: args.count ?? Infinity };
  const { latencies } = tally;
  const children: Child[] = [];
  for (let n = 0; n < args.children.length; n++) children.push(await Child.connected(args, n, tally));
  return async () => {
    const used = processorTime();
    const from = performance.now();
    let given = 0;
    await new Promise<void>((resolve) => {
      if (perSecond === null) for (const child of children) child.fill();
      const timer = setInterval(() => {
        const passed = Math.min(performance.now() - from, ms);
        const wanted = perSecond === null ? 0 : Math.floor((passed / 1000) * perSecond * children.length);
        for (; given < wanted; given++) children[given % children.length]!.due();
        if (passed < ms && tally.left > 0) return;
        clearInterval(timer);
        resolve();
      }, 5);
    });
    const inTime = latencies.length;
    for (const child of children) child.stopped = true;
    const end = performance.now() + PATIENCE_MS;
    while (children.some(({ open }) => open > 0)) {
      if (performance.now() > end) throw new Error('some messages were never acknowledged');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const sorted = latencies.toSorted((a, b) => a - b);
    const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
    const perSecondTaken = (inTime * 1000) / ms;
    const clientUs = inTime === 0 ? 0 : used() / inTime;
    return {
      messages: latencies.length,
      perSecond: perSecondTaken,
      p50: at(0.5),
      p99: at(0.99),
      most: at(1),
      clientUs,
    };
  };
});
