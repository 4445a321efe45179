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
}

/** How long those on their way are waited for at the end, ms. */
const PATIENCE_MS = 30_000;

class Child {
  readonly #socket: Socket;
  readonly #topic: string;
  readonly #body: () => Buffer;
  readonly #args: ChildrenArgs;
  readonly #latencies: number[];
  /** When each was due or sent, oldest first. */
  readonly #underway: number[] = [];
  readonly #due: number[] = [];
  #id = 0;
  stopped = false;

  private constructor(socket: Socket, id: string, seed: number, args: ChildrenArgs, latencies: number[]) {
    this.#socket = socket;
    this.#topic = `devices/${id}/messages/events/`;
    this.#body = bodies(seed);
    this.#args = args;
    this.#latencies = latencies;
  }

  static async connected(args: ChildrenArgs, n: number, latencies: number[]): Promise<Child> {
    const { id, username, password } = args.children[n]!;
    // From an address of its own each, as devices do: a hub lets only so many of one address in at a time.
    const localAddress = `127.1.${n >> 8}.${n & 255}`;
    const socket = connect({ port: args.port, host: '127.0.0.1', localAddress, noDelay: true });
    const child = new Child(socket, id, n + 1, args, latencies);
    const parser = mqtt.parser({ protocolVersion: 4 });
    socket.on('data', (data) => parser.parse(data));
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.once('close', () => reject(new Error(`${id} was cut off`)));
      parser.on('packet', (packet) => {
        if (packet.cmd === 'puback') child.#acknowledged();
        else if (packet.cmd !== 'connack') return;
        else if (packet.returnCode === 0) resolve();
        else reject(new Error(`${id} was refused with ${packet.returnCode}`));
      });
      const named = { clientId: id, username, ...(password === undefined ? {} : { password: Buffer.from(password) }) };
      const connecting = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 0 } as const;
      socket.write(mqtt.generate({ ...connecting, ...named }));
    });
    return child;
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
    while (this.#underway.length < window) {
      const since = perSecond === null ? performance.now() : this.#due.shift();
      if (since === undefined || (perSecond === null && this.stopped)) return;
      this.#underway.push(since);
      this.#id = (this.#id % 65_535) + 1;
      this.#socket.write(
        mqtt.generate({
          cmd: 'publish',
          topic: this.#topic,
          payload: this.#body(),
          qos: 1,
          messageId: this.#id,
          retain: false,
          dup: false,
        }),
      );
    }
  }

  #acknowledged(): void {
    this.#latencies.push(performance.now() - this.#underway.shift()!);
    this.fill();
  }
}

await contend<ChildrenArgs>(async (args) => {
  const { perSecond, ms } = args;
  const latencies: number[] = [];
  const children: Child[] = [];
  for (let n = 0; n < args.children.length; n++) children.push(await Child.connected(args, n, latencies));
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
        if (passed < ms) return;
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
