import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';

export interface ConnectProxyOptions {
  /** `user:password` that it wants; left out: it takes anybody. */
  readonly credentials?: string;
  /** PEM: it speaks TLS. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
}

/** A real HTTP proxy for CONNECT, which can be told to refuse, and to let nothing pass any more. */
export class ConnectProxy {
  /** What it was asked for: `host:port`. */
  readonly asked: string[] = [];
  /** The status that it answers with instead; null: it makes the tunnel. 0: it says nothing. */
  refuses: number | null = null;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #still = false;

  constructor({ credentials, tls }: ConnectProxyOptions) {
    this.#server = tls === undefined ? createHttpServer() : createHttpsServer(tls);
    this.#server.on('connection', (socket: Socket) => this.#keep(socket));
    this.#server.on('connect', (request: IncomingMessage, near: Socket) => {
      near.on('error', () => undefined);
      this.asked.push(request.url!);
      const expected = credentials === undefined ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;
      const status = request.headers['proxy-authorization'] === expected ? this.refuses : 407;
      // Else it would not see the other side go.
      if (status !== null) near.resume().once('end', () => near.end());
      if (status === 0) return;
      if (status !== null) near.end(`HTTP/1.1 ${status} No\r\nContent-Length: 2\r\n\r\nno`);
      else this.#join(near, new URL(`http://${request.url}`));
    });
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Nothing passes any more, and nobody is told. */
  silence(): void {
    this.#still = true;
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  async end(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near: Socket, { hostname, port }: URL): void {
    const far = connect({ host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port || 80), noDelay: true });
    this.#keep(far);
    far.once('connect', () => {
      near.write('HTTP/1.1 200 Connection established\r\n\r\n');
      if (this.#still) return;
      near.pipe(far);
      far.pipe(near);
    });
    far.on('error', () => near.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroySoon());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

/** Starts one; {@link ConnectProxy.end} it when the test is over. */
export async function startConnectProxy(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const proxy = new ConnectProxy(options);
  await proxy.start();
  return proxy;
}
