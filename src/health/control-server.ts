import { chmodSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';

/** Largest request, bytes; a longer one is not from our own tools. */
export const REQUEST_BYTES_MAX = 512 * 1024;
/** Tools connected at once. */
const CONNECTIONS_MAX = 16;
/** How long a tool may hold one of them before it has asked, ms. */
const ASK_MS_MAX = 10_000;
/** Answers that wait because their reader does not read, bytes: beyond this it is left alone. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;

/** How often it is looked whether the socket's file is still where tools look for it, ms: within 5 s it is there again. */
const LOOK_EVERY_MS = 2000;

/** What a request may send while it is answered: any number of items; `done` when the asker has gone. */
export interface Answering {
  readonly send: (item: unknown) => void;
  readonly onGone: (listener: () => void) => void;
}

export type Handler = (args: Record<string, unknown>, answering: Answering) => Promise<void> | void;

/** A request that was understood and cannot be met; its message is for the user. */
export class RequestRefused extends Error {}

/**
 * Answers the command line over a Unix socket. A request is one line of JSON `{request, ...args}`; the answer is lines
 * `{item}`, then `{end: true}` or `{error}`.
 */
export class ControlServer {
  readonly #path: string;
  readonly #handlers: Readonly<Record<string, Handler>>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  /** Which file is ours: the path can come to name another. */
  #file = '';
  #look: Timer | null = null;
  #lost = false;
  #stopped = false;

  constructor(path: string, handlers: Readonly<Record<string, Handler>>, clock: Clock, log: Logger) {
    this.#path = path;
    this.#handlers = handlers;
    this.#clock = clock;
    this.#log = log;
  }

  /** Takes the socket over from a process that is gone. Rejects when one is alive behind it: one gateway to a `dataDir`. */
  async start(): Promise<void> {
    if (await answers(this.#path)) throw new Error(`another gateway is running here: it answers on ${this.#path}`);
    await this.#listen();
    this.#look = this.#clock.every(LOOK_EVERY_MS, () => void this.#returnWhenGone());
  }

  async #listen(): Promise<void> {
    rmSync(this.#path, { force: true });
    const server = createServer((socket) => this.#serve(socket));
    server.maxConnections = CONNECTIONS_MAX;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#path, resolve);
    });
    chmodSync(this.#path, 0o660);
    server.on('error', (error) => this.#log.warn({ err: error }, 'control socket'));
    this.#file = fileAt(this.#path);
    if (this.#stopped) server.close();
    else this.#server = server;
  }

  /** Somebody took the folder away, or put another one in its place: nobody finds us until we listen there again. */
  async #returnWhenGone(): Promise<void> {
    const server = this.#server;
    if (server === null || fileAt(this.#path) === this.#file) return;
    if (!this.#lost) this.#log.warn(`${this.#path} was taken away: it is made anew as soon as there is a place for it`);
    this.#lost = true;
    if (await answers(this.#path)) return;
    if (this.#server !== server) return;
    // Closed first, since closing removes whatever the path names. Who is connected stays so.
    this.#server = null;
    server.close();
    try {
      await this.#listen();
      this.#lost = false;
      this.#log.warn(`the gateway answers on ${this.#path} again`);
    } catch (error) {
      this.#log.debug({ err: error }, 'control socket');
      this.#server = server;
    }
  }

  async stop(): Promise<void> {
    this.#look?.cancel();
    this.#stopped = true;
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setEncoding('utf8');
    let text = '';
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
    socket.setTimeout(ASK_MS_MAX, () => socket.destroy());
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end === -1) {
        if (text.length > REQUEST_BYTES_MAX) socket.destroy();
        return;
      }
      socket.removeAllListeners('data');
      socket.setTimeout(0);
      socket.resume();
      void this.#answer(text.slice(0, end), socket);
    });
  }

  async #answer(line: string, socket: Socket): Promise<void> {
    const say = (what: object) => {
      if (!socket.writable) return;
      socket.write(`${JSON.stringify(what)}\n`);
      // A follower that stands still must not fill the gateway's memory.
      if (socket.writableLength > WAITING_BYTES_MAX) socket.destroy();
    };
    const onGone = (listener: () => void) => {
      if (socket.destroyed) listener();
      else socket.once('close', listener);
    };
    try {
      const { request, ...args } = JSON.parse(line) as { request?: unknown } & Record<string, unknown>;
      const handler =
        typeof request === 'string' && Object.hasOwn(this.#handlers, request) ? this.#handlers[request] : undefined;
      if (handler === undefined)
        throw new RequestRefused(`this gateway does not know the request "${String(request)}"`);
      await handler(args, { send: (item) => say({ item }), onGone });
      say({ end: true });
    } catch (error) {
      if (!(error instanceof RequestRefused)) this.#log.warn({ err: error }, 'a request of the command line failed');
      say({ error: (error as Error).message });
    }
    socket.end();
  }
}

/** Names a file as long as it is there. */
function fileAt(path: string): string {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return 'none';
  }
}

/** Whether somebody is behind a socket. */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
