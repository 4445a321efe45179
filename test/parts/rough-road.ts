import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './free-port.ts';

/** A line on which everything takes its time. */
export interface Slowness {
  /** How long a chunk takes, ms, each way; some jitter either way comes on top. */
  readonly delayMs: number;
  readonly jitterMs: number;
  /**
   * The part of the chunks that is lost. TCP hands on nothing out of order, so all that its user sees of a lost segment is a stall
   * until it was sent again: the chunk, and with it those behind it, are this much later, ms.
   */
  readonly lossPart: number;
  readonly stallMs: readonly [least: number, most: number];
}

type Direction = 'up' | 'down';

/**
 * The network between a gateway and its broker, with its troubles: cut, a black hole, dead in one direction, slow. What is under way
 * in a dead direction waits, as it does in a kernel that sends again and again, and arrives late when {@link heal} has been called;
 * the end of a connection waits with it, so that the broker learns of it late.
 */
export class RoughRoad {
  readonly port: number;
  readonly url: string;
  /** Connections that were taken. */
  connections = 0;
  readonly #to: number;
  readonly #random: () => number;
  readonly #links = new Set<Link>();
  #server: Server | null = null;
  #dead: ReadonlySet<Direction> = new Set();
  #slowness: Slowness | null = null;

  constructor(port: number, to: number, random: () => number) {
    this.port = port;
    this.url = `mqtt://127.0.0.1:${port}`;
    this.#to = to;
    this.#random = random;
  }

  /** Connections break, both ends are told, and new ones are refused. */
  async cut(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const link of this.#links) link.break();
    if (server === null) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
  }

  /**
   * Nothing passes and nobody is told; new connections are taken, and go nowhere. Whoever made it forgets all connections by the
   * time it is over, with what is in them.
   */
  blackHole(): void {
    this.#dead = new Set(['up', 'down']);
  }

  /** What goes in one direction, seen from the gateway, does not arrive; the other direction works. */
  halfOpen(dead: Direction): void {
    this.#dead = new Set([dead]);
  }

  slow(slowness: Slowness): void {
    this.#slowness = slowness;
  }

  /** All is well again. */
  async heal(): Promise<void> {
    const forgotten = this.#dead.size === 2;
    this.#dead = new Set();
    this.#slowness = null;
    for (const link of this.#links) {
      if (forgotten) link.break();
      else link.move();
    }
    if (this.#server !== null) return;
    const server = createServer({ noDelay: true }, (near) => this.#join(near));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
  }

  #join(near: Socket): void {
    this.connections++;
    // Whoever takes connections in front of a black hole has no broker behind him.
    const far = this.#dead.size === 2 ? null : connect({ port: this.#to, host: '127.0.0.1', noDelay: true });
    const link = new Link(near, far, {
      passes: (direction) => !this.#dead.has(direction),
      delayMs: () => this.#delayMs(),
      gone: () => this.#links.delete(link),
    });
    this.#links.add(link);
  }

  #delayMs(): number {
    if (this.#slowness === null) return 0;
    const { delayMs, jitterMs, lossPart, stallMs } = this.#slowness;
    const [least, most] = stallMs;
    const stall = this.#random() < lossPart ? least + this.#random() * (most - least) : 0;
    return Math.max(0, delayMs + (2 * this.#random() - 1) * jitterMs) + stall;
  }
}

interface Weather {
  readonly passes: (direction: Direction) => boolean;
  readonly delayMs: () => number;
  readonly gone: () => void;
}

class Link {
  readonly #near: Socket;
  readonly #far: Socket | null;
  readonly #lanes: readonly Lane[];

  constructor(near: Socket, far: Socket | null, weather: Weather) {
    this.#near = near;
    this.#far = far;
    near.on('error', () => undefined);
    near.once('close', () => {
      if (far === null || far.destroyed) weather.gone();
    });
    if (far === null) {
      near.resume();
      this.#lanes = [];
      return;
    }
    far.on('error', () => undefined);
    far.once('close', () => {
      if (near.destroyed) weather.gone();
    });
    this.#lanes = [new Lane('up', near, far, weather), new Lane('down', far, near, weather)];
  }

  /** Hands on what may be handed on now. */
  move(): void {
    for (const lane of this.#lanes) lane.move();
  }

  break(): void {
    this.#near.destroy();
    this.#far?.destroy();
  }
}

/** One direction of a connection. */
class Lane {
  readonly #direction: Direction;
  readonly #to: Socket;
  readonly #weather: Weather;
  /** In order; null: the end. */
  readonly #waiting: { readonly due: number; readonly chunk: Buffer | null }[] = [];
  #lastDue = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(direction: Direction, from: Socket, to: Socket, weather: Weather) {
    this.#direction = direction;
    this.#to = to;
    this.#weather = weather;
    from.on('data', (chunk: Buffer) => this.#take(chunk));
    from.once('close', () => this.#take(null));
  }

  #take(chunk: Buffer | null): void {
    this.#lastDue = Math.max(this.#lastDue, performance.now() + this.#weather.delayMs());
    this.#waiting.push({ due: this.#lastDue, chunk });
    this.move();
  }

  move(): void {
    if (this.#timer !== null || !this.#weather.passes(this.#direction)) return;
    // A timer may fire a fraction of a millisecond early.
    const now = performance.now() + 0.5;
    while (this.#waiting.length > 0 && this.#waiting[0]!.due <= now) {
      const { chunk } = this.#waiting.shift()!;
      if (chunk === null) this.#to.end(() => this.#to.destroy());
      else if (!this.#to.destroyed) this.#to.write(chunk);
    }
    if (this.#waiting.length === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.move();
    }, this.#waiting[0]!.due - now);
  }
}

/** Makes a road to a port, in good order. {@link RoughRoad.cut} it when the test is over. */
export async function openRoad(to: number, random: () => number): Promise<RoughRoad> {
  const road = new RoughRoad(await freePort(), to, random);
  await road.heal();
  return road;
}
