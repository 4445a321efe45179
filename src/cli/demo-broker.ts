import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Aedes } from 'aedes';

/*
 * Below the ports that Linux gives to outgoing connections (ip(7), ip_local_port_range): nobody is given ours while the
 * network is cut, and the gateway's own attempts to connect cannot meet themselves.
 */
const PORTS_FROM = 20_000;
const PORTS = 10_000;
const PORTS_TRIED_MAX = 50;

/**
 * The stand-in for the world above: an MQTT 3.1.1 broker in this process, on loopback. It has two doors: the gateway's, which
 * {@link cut} closes as a broken link would, and one for those who watch, which stays open. It keeps nothing and promises
 * nothing (it answers PUBACK before it hands a message on): good enough to look at, no measure of anything.
 */
export class StandInBroker {
  readonly #aedes: Aedes;
  readonly #inside: Server;
  readonly #connections = new Set<Socket>();
  readonly #port: number;
  #door: Server | null;

  private constructor(aedes: Aedes, inside: Server, door: Server) {
    this.#aedes = aedes;
    this.#inside = inside;
    this.#door = door;
    this.#port = (door.address() as AddressInfo).port;
    this.#admit(door);
  }

  static async start(): Promise<StandInBroker> {
    const aedes = await Aedes.createBroker();
    // Who breaks off in mid-packet is no concern of ours.
    aedes.on('clientError', () => undefined);
    const inside = await listen(0);
    inside.on('connection', (socket) => aedes.handle(socket));
    return new StandInBroker(aedes, inside, await listenSomewhere());
  }

  /** Where the gateway connects. */
  get url(): string {
    return `mqtt://127.0.0.1:${this.#port}`;
  }

  /** Where those connect who watch, whatever becomes of the gateway's link. */
  get insideUrl(): string {
    return `mqtt://127.0.0.1:${(this.#inside.address() as AddressInfo).port}`;
  }

  get isCut(): boolean {
    return this.#door === null;
  }

  /** Breaks the gateway's connections and refuses further ones. What was on the way is gone, answers included. */
  async cut(): Promise<void> {
    const door = this.#door;
    if (door === null) return;
    this.#door = null;
    const closed = closing(door);
    for (const socket of this.#connections) socket.destroy();
    await closed;
  }

  /** Listens again where it did. */
  async restore(): Promise<void> {
    if (this.#door !== null) return;
    this.#door = await listen(this.#port);
    this.#admit(this.#door);
  }

  async stop(): Promise<void> {
    await this.cut();
    await new Promise<void>((resolve) => {
      this.#aedes.close(() => resolve());
    });
    await closing(this.#inside);
  }

  #admit(door: Server): void {
    door.on('connection', (socket) => {
      this.#connections.add(socket);
      socket.once('close', () => this.#connections.delete(socket));
      this.#aedes.handle(socket);
    });
  }
}

async function listenSomewhere(): Promise<Server> {
  for (let tries = 1; ; tries++) {
    try {
      return await listen(PORTS_FROM + Math.floor(Math.random() * PORTS));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tries === PORTS_TRIED_MAX) throw error;
    }
  }
}

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

function closing(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
