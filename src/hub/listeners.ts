import { constants } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { createWebSocketStream, WebSocketServer } from 'ws';
import type { Clock, Timer } from '../clock/clock.ts';
import { Allowance } from './allowance.ts';
import type { Origin } from './house.ts';
import { PATIENCE_MS, STRANGERS_MAX, type HubLimits } from './limits.ts';

/** Where MQTT over WebSockets is asked for: by the SDK, and by others. */
const WEBSOCKET_PATHS = ['/$iothub/websocket', '/mqtt'];
/** One message of a WebSocket may hold several packets, or a piece of one. */
const WEBSOCKET_MESSAGE_BYTES_MAX = 2 ** 20;
/** First byte of a CONNECT (MQTT, section 3.1.1): no HTTP request begins with it. */
const CONNECT = 0x10;
/** Addresses whose connections are counted at once. */
const ADDRESSES_MAX = 1024;
/** Certificates of a chain that are looked at. */
const CHAIN_MAX = 8;
/** When TCP asks a silent peer whether it is there, ms: whoever has no keepalive of MQTT must go as well. */
const PROBE_MS = 60_000;
/** How long clients may take to go when the hub stops, ms. */
const GOING_MS = 2000;

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** PEM. */
export interface ServerCertificate {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** Each is left out when it is off. Equal addresses of TLS share one server. */
export interface ListenOptions {
  readonly mqtts?: Address | undefined;
  readonly wss?: Address | undefined;
  readonly https?: Address | undefined;
  /** Without TLS. */
  readonly mqtt?: Address | undefined;
  /** For `mqtts`, `wss` and `https`. */
  readonly certificate?: ServerCertificate | undefined;
  /** Answers what is asked over `https`. */
  readonly onRequest?: RequestListener | undefined;
}

type Protocol = 'mqtts' | 'wss' | 'https' | 'mqtt';

interface Listening {
  readonly address: Address;
  readonly protocols: readonly Protocol[];
  readonly server: TcpServer | TlsServer;
}

/** The ports, and who is let as far as saying something. */
export class Listeners {
  readonly #options: ListenOptions;
  readonly #limits: HubLimits;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #arrived: (stream: Duplex, origin: Origin) => void;
  readonly #refused: (why: string, address: string) => void;
  readonly #listening: Listening[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #allowances = new Map<string, Allowance>();
  /** Connections that speak HTTP: until when they must have asked, and for what they may ask. */
  readonly #talks = new WeakMap<Duplex, { readonly deadline: Timer; readonly protocols: readonly Protocol[] }>();
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;

  constructor(
    options: ListenOptions,
    limits: HubLimits,
    clock: Clock,
    log: Logger,
    arrived: (stream: Duplex, origin: Origin) => void,
    refused: (why: string, address: string) => void,
  ) {
    this.#options = options;
    this.#limits = limits;
    this.#clock = clock;
    this.#log = log;
    this.#arrived = arrived;
    this.#refused = refused;
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: WEBSOCKET_MESSAGE_BYTES_MAX,
      handleProtocols: (protocols) => (protocols.has('mqtt') ? 'mqtt' : false),
    });
    this.#http = createHttpServer({ maxHeaderSize: 8192 });
    // One request a connection: a second one would have no deadline.
    this.#http.maxRequestsPerSocket = 1;
    for (const [protocols, address] of this.#places()) {
      const server = protocols.includes('mqtt') ? this.#plain() : this.#secure(protocols);
      this.#listening.push({ address, protocols, server });
    }
    this.#http.on('request', (request, response) => {
      const talk = this.#talks.get(request.socket);
      // Once it is whole the answer may take its time.
      request.once('end', () => talk?.deadline.cancel());
      const asked = talk?.protocols.includes('https') === true ? options.onRequest : undefined;
      if (asked !== undefined) asked(request, response);
      else response.writeHead(404).end();
    });
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#http.on('clientError', (_, socket) => socket.destroy());
  }

  get ports(): { readonly [protocol: string]: number } {
    const ports: Record<string, number> = {};
    for (const { server, protocols } of this.#listening)
      for (const protocol of protocols) ports[protocol] = (server.address() as AddressInfo | null)?.port ?? 0;
    return ports;
  }

  /** Rejects when a port cannot be had. */
  async start(): Promise<void> {
    for (const { server, address, protocols } of this.#listening) {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(address.port, address.host, () => {
          server.off('error', reject);
          resolve();
        });
      });
      server.on('error', (error) => this.#log.error({ err: error, protocols }, 'a listener failed'));
      this.#log.info({ protocols, ...address }, 'children may connect');
      if (protocols.includes('mqtt') && !/^(127\.|::1$|localhost$)/.test(address.host))
        this.#log.warn({ ...address }, 'children may connect without TLS from other machines');
    }
  }

  /** Those who are still here have a moment to go. */
  async stop(): Promise<void> {
    const closed = this.#listening.map(
      ({ server }) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
        }),
    );
    const late = this.#clock.after(GOING_MS, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    await Promise.all(closed);
    late.cancel();
  }

  /** The limits are others now: each address is counted anew. */
  limitsChanged(): void {
    this.#allowances.clear();
  }

  setCertificate({ cert, key }: ServerCertificate): void {
    for (const { server } of this.#listening) {
      if ('setSecureContext' in server) server.setSecureContext({ ...secureContext(), cert, key });
    }
  }

  /** Which protocols share a port. */
  #places(): Map<readonly Protocol[], Address> {
    const byPlace = new Map<string, { protocols: Protocol[]; address: Address }>();
    for (const protocol of ['mqtts', 'wss', 'https', 'mqtt'] as const) {
      const address = this.#options[protocol];
      if (address === undefined) continue;
      // Port 0 is any: two of them are not the same one.
      const place = `${protocol === 'mqtt' || address.port === 0 ? protocol : ''}${address.host}:${address.port}`;
      const there = byPlace.get(place);
      if (there === undefined) byPlace.set(place, { protocols: [protocol], address });
      else there.protocols.push(protocol);
    }
    return new Map([...byPlace.values()].map(({ protocols, address }) => [protocols, address]));
  }

  #plain(): TcpServer {
    return createTcpServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: PROBE_MS }, (socket) => {
      if (!this.#admits(socket)) return;
      this.#arrived(socket, { address: addressOf(socket), protocol: 'mqtt', certificates: [] });
    });
  }

  #secure(protocols: readonly Protocol[]): TlsServer {
    const server = createTlsServer(
      {
        ...secureContext(),
        ...this.#options.certificate,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: PROBE_MS,
        handshakeTimeout: PATIENCE_MS,
        requestCert: true,
        rejectUnauthorized: false,
      },
      (socket) => this.#sniff(socket, protocols),
    );
    server.on('connection', (socket: Socket) => void this.#admits(socket));
    server.on('tlsClientError', (error: Error, socket) => {
      this.#refused(`no TLS: ${error.message}`, addressOf(socket));
      socket.destroy();
    });
    return server;
  }

  /** Whether a connection may stay: not too many, and not too fast. Otherwise it is gone. */
  #admits(socket: Socket): boolean {
    const address = addressOf(socket);
    socket.on('error', () => socket.destroy());
    const wrong = this.#tooMany(address);
    if (wrong !== null) {
      this.#refused(wrong, address);
      socket.destroy();
      return false;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return true;
  }

  #tooMany(address: string): string | null {
    const { clientsMax, connectionsBurst, connectionsPerSec } = this.#limits;
    const now = this.#clock.monotonic();
    if (this.#sockets.size >= clientsMax + STRANGERS_MAX) return 'too many connections';
    let allowance = this.#allowances.get(address);
    if (allowance === undefined) {
      if (this.#allowances.size >= ADDRESSES_MAX) this.#forget(now);
      allowance = new Allowance(connectionsPerSec, now, connectionsBurst);
      this.#allowances.set(address, allowance);
    }
    return allowance.takeIfThere(1, now) ? null : 'too many connections a second';
  }

  /** Addresses that have been quiet; if none has, the one that has been known longest. */
  #forget(now: number): void {
    for (const [address, allowance] of this.#allowances) if (allowance.full(now)) this.#allowances.delete(address);
    if (this.#allowances.size < ADDRESSES_MAX) return;
    const [oldest] = this.#allowances.keys();
    if (oldest !== undefined) this.#allowances.delete(oldest);
  }

  /** MQTT or HTTP: the first byte says which. */
  #sniff(socket: TLSSocket, protocols: readonly Protocol[]): void {
    const deadline = this.#clock.after(PATIENCE_MS, () => {
      this.#refused('nothing was said in time', addressOf(socket));
      socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.once('close', () => deadline.cancel());
    socket.once('data', (first: Buffer) => {
      socket.pause();
      socket.unshift(first);
      if (first[0] === CONNECT && protocols.includes('mqtts')) {
        deadline.cancel();
        this.#arrived(socket, { address: addressOf(socket), protocol: 'mqtts', certificates: chainOf(socket) });
      } else if (first[0] !== CONNECT && (protocols.includes('wss') || protocols.includes('https'))) {
        this.#converse(socket, deadline, protocols);
      } else {
        this.#refused('not the protocol of this port', addressOf(socket));
        socket.destroy();
      }
    });
  }

  #converse(socket: TLSSocket, deadline: Timer, protocols: readonly Protocol[]): void {
    this.#talks.set(socket, { deadline, protocols });
    this.#http.emit('connection', socket);
    socket.resume();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const path = (request.url ?? '').replace(/\?.*/, '');
    const talk = this.#talks.get(socket);
    if (!WEBSOCKET_PATHS.includes(path) || talk?.protocols.includes('wss') !== true) {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      talk.deadline.cancel();
      if (webSocket.protocol !== 'mqtt') {
        // It may still send what is no frame: an error that nobody listens to ends the process.
        webSocket.on('error', () => socket.destroy());
        webSocket.close(1002, 'the subprotocol is mqtt');
        return;
      }
      const secure = socket as TLSSocket;
      this.#arrived(createWebSocketStream(webSocket), {
        address: addressOf(secure),
        protocol: 'wss',
        certificates: chainOf(secure),
      });
    });
  }
}

/**
 * No CA is named to clients, so that each sends the certificate that it has. No session is resumed: a resumed one keeps the
 * client's certificate without the chain below it.
 */
function secureContext(): { readonly ca: string[]; readonly minVersion: 'TLSv1.2'; readonly secureOptions: number } {
  return { ca: [], minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET };
}

function addressOf(socket: Socket): string {
  return (socket.remoteAddress ?? 'unknown').replace(/^::ffff:/, '');
}

/** As the client sent it, leaf first. */
function chainOf(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerCertificate(true);
  while (Buffer.isBuffer(certificate?.raw) && chain.length < CHAIN_MAX) {
    const { raw } = certificate;
    if (chain.some((known) => known.equals(raw))) break;
    chain.push(raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}
