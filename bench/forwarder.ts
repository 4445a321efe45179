import { connect, createServer, type Server, type Socket } from 'node:net';

/** Stands for a load balancer: one address, and behind it the first of several brokers that takes a connection. */
export class Forwarder {
  readonly #server: Server;
  readonly #ports: readonly number[];
  readonly #open = new Set<Socket>();
  readonly #onAttempt: (through: boolean) => void;
  #target: number | null = null;

  private constructor(ports: readonly number[], onAttempt: (through: boolean) => void) {
    this.#ports = ports;
    this.#onAttempt = onAttempt;
    this.#server = createServer({ noDelay: true }, (client) => this.#forward(client, 0));
  }

  /** Tries `ports` in their order, anew for each connection; `onAttempt` hears of each, and whether one took it. */
  static async start(
    ports: readonly number[],
    onAttempt: (through: boolean) => void = () => undefined,
  ): Promise<Forwarder> {
    const forwarder = new Forwarder(ports, onAttempt);
    await new Promise<void>((resolve) => forwarder.#server.listen(0, '127.0.0.1', resolve));
    return forwarder;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Where the last connection went. */
  get target(): number | null {
    return this.#target;
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #forward(client: Socket, turn: number): void {
    const port = this.#ports[turn];
    if (port === undefined) {
      client.destroy();
      this.#onAttempt(false);
      return;
    }
    const broker = connect({ port, host: '127.0.0.1', noDelay: true });
    const refused = () => this.#forward(client, turn + 1);
    broker.once('error', refused);
    broker.once('connect', () => {
      broker.off('error', refused);
      this.#target = port;
      this.#onAttempt(true);
      for (const [from, to] of [
        [client, broker],
        [broker, client],
      ] as const) {
        this.#open.add(from);
        from.on('error', () => from.destroy());
        from.on('close', () => {
          this.#open.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
  }
}
