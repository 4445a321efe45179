import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './free-port.ts';

/** The network between a gateway and its broker: a TCP road that can be closed, and opened again. */
export class Gate {
  readonly port: number;
  readonly url: string;
  /** Connections that were let through. */
  connections = 0;
  readonly #to: number;
  readonly #sockets = new Set<Socket>();
  /** Those of them that lead to the broker. */
  readonly #far = new Set<Socket>();
  #server: Server | null = null;
  #still = false;

  constructor(port: number, to: number) {
    this.port = port;
    this.url = `mqtt://127.0.0.1:${port}`;
    this.#to = to;
  }

  async open(): Promise<void> {
    if (this.#server !== null) return;
    const server = createServer({ noDelay: true }, (near) => this.#join(near));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
  }

  /** Connections break, and new ones are refused. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    this.#still = false;
    for (const socket of this.#sockets) socket.destroy();
    if (server === null) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
  }

  /** Nothing passes any more and nobody is told: a cable that was pulled. Ends with {@link close}. */
  silence(): void {
    this.#still = true;
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  /** What is said still passes, and no answer comes back. Ends with {@link close}. */
  mute(): void {
    for (const far of this.#far) {
      far.unpipe();
      far.pause();
    }
  }

  #join(near: Socket): void {
    this.connections++;
    if (this.#still) {
      this.#keep(near, near);
      return;
    }
    const far = connect({ port: this.#to, host: '127.0.0.1', noDelay: true });
    this.#keep(near, far);
    this.#keep(far, near);
    this.#far.add(far);
    near.pipe(far);
    far.pipe(near);
  }

  #keep(socket: Socket, other: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#far.delete(socket);
      other.destroy();
    });
  }
}

/** Opens a gate in front of a port. {@link Gate.close} it when the test is over. */
export async function openGate(to: number): Promise<Gate> {
  const gate = new Gate(await freePort(), to);
  await gate.open();
  return gate;
}
