import { PacketClient, type Credentials, type PacketClientOptions } from './packet-client.ts';

/** Messages under way without a PUBACK. */
const WINDOW = 8;
const RETRY_MS = 20;

export interface SteadyOptions {
  readonly connection: PacketClientOptions;
  readonly credentials: () => Credentials;
  readonly topic: string;
  /** Body of message `n`. */
  readonly body: (n: number) => Buffer;
  /** ms between messages; as fast as PUBACKs come when left out. */
  readonly everyMs?: number;
}

/**
 * A child that publishes message after message at QoS 1, whatever becomes of the gateway: it comes back, and sends again, in
 * order and first of all, what was not acknowledged (MQTT 3.1.1, section 4.4).
 */
export class SteadyChild {
  /** Numbers that were acknowledged, in that order. */
  readonly acknowledged: number[] = [];
  /** From writing a message to its PUBACK, ms. */
  readonly latencies: number[] = [];
  /** What it found wrong: PUBACKs out of order, refusals. */
  readonly complaints: string[] = [];
  connections = 0;
  readonly #options: SteadyOptions;
  /** Sent and not acknowledged, oldest first. */
  readonly #underway: { n: number; at: number }[] = [];
  #client: PacketClient | null = null;
  #next = 0;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;
  #ready = false;
  #due = 0;

  constructor(options: SteadyOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopped = false;
    if (this.#options.everyMs !== undefined) {
      this.#timer = setInterval(() => {
        this.#due++;
        this.#fill();
      }, this.#options.everyMs);
    }
    this.#running = this.#run();
  }

  /** Sends no more; resolves when it is gone. What is under way stays so. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#client?.end();
    await this.#running;
  }

  /** No new messages; those under way are still sent until they are acknowledged. */
  finish(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  get sent(): number {
    return this.#next;
  }

  get underway(): number {
    return this.#underway.length;
  }

  async #run(): Promise<void> {
    while (!this.#stopped || this.#underway.length > 0) {
      await this.#connected();
      if (this.#stopped && this.#client === null) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async #connected(): Promise<void> {
    const client = new PacketClient(this.#options.connection);
    this.#client = client;
    client.onPacket((packet) => {
      if (packet.cmd === 'connack') {
        // 3, "server unavailable", is what a gateway says that is not ready.
        if (packet.returnCode !== 0) {
          if (packet.returnCode !== 3) this.complaints.push(`refused with ${packet.returnCode}`);
          client.end();
          return;
        }
        this.connections++;
        for (const sent of this.#underway) this.#publish(sent, true);
        this.#ready = true;
        this.#fill();
      } else if (packet.cmd === 'puback') {
        const oldest = this.#underway.shift();
        if (oldest === undefined || packet.messageId !== idOf(oldest.n)) {
          this.complaints.push(`PUBACK ${packet.messageId}, and the oldest is ${oldest && idOf(oldest.n)}`);
          return;
        }
        this.acknowledged.push(oldest.n);
        this.latencies.push(performance.now() - oldest.at);
        this.#fill();
      }
    });
    client.connect(this.#options.credentials());
    await client.whenClosed(3_600_000);
    this.#ready = false;
    this.#client = null;
  }

  #fill(): void {
    while (this.#ready && !this.#stopped && this.#underway.length < WINDOW) {
      if (this.#options.everyMs !== undefined && this.#due-- <= 0) {
        this.#due = 0;
        return;
      }
      const sent = { n: this.#next++, at: performance.now() };
      this.#underway.push(sent);
      this.#publish(sent, false);
    }
    if (this.#stopped && this.#underway.length === 0) this.#client?.end();
  }

  #publish({ n }: { n: number }, dup: boolean): void {
    const { topic, body } = this.#options;
    this.#client?.send({ cmd: 'publish', topic, payload: body(n), qos: 1, messageId: idOf(n), retain: false, dup });
  }
}

/** Packet ids are 1 to 65,535. */
function idOf(n: number): number {
  return (n % 65_535) + 1;
}

/** The value below which so many (0.99: 99 %) lie. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
