import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from './operator.ts';
import { PacketClient } from './packet-client.ts';
import { scratch } from './scratch.ts';
import { until } from './until.ts';

/** How often each speaks, ms. */
export const EVERY_MS = 10_000;

/** A sensor at a serial line, from its first moment on: speaks, is pulled out, falls silent, talks nonsense. */
export class LineSensor {
  readonly id: string;
  /** The path that the gateway opens. */
  readonly port: string;
  /** Readings that it has given so far; their numbers begin at 1. */
  said = 0;
  /** Lines that it was told. */
  readonly told: string[] = [];
  /** It is switched on, and says nothing. */
  stuck = false;
  readonly #line: (n: number) => string;
  readonly #timer: NodeJS.Timeout;
  #cable: ChildProcess | null = null;
  #end: number | null = null;

  constructor(id: string, line: (n: number) => string) {
    this.id = id;
    this.port = join(scratch(), 'port');
    this.#line = line;
    this.#timer = setInterval(() => {
      if (!this.stuck && this.#cable !== null) this.write(this.#line(++this.said));
    }, EVERY_MS);
  }

  async plugIn(): Promise<void> {
    const cable = spawn('socat', ['STDIO', `pty,raw,echo=0,link=${this.port}`], { stdio: ['pipe', 'pipe', 'ignore'] });
    cable.stdin.on('error', () => undefined);
    createInterface(cable.stdout).on('line', (line) => this.told.push(line));
    await until(`${this.port} to be there`, () => existsSync(this.port));
    // Held open here, so that the cable outlives a gateway that is killed.
    this.#end = openSync(this.port, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    this.#cable = cable;
  }

  async unplug(): Promise<void> {
    const cable = this.#cable!;
    this.#cable = null;
    closeSync(this.#end!);
    const ended = new Promise((resolve) => cable.once('exit', resolve));
    cable.kill('SIGTERM');
    await ended;
  }

  write(text: string): void {
    this.#cable?.stdin!.write(text);
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#cable !== null) await this.unplug();
  }
}

/** Between two attempts of a child to connect, ms. */
const RECONNECT_MS = 5000;
/** More than any day has hours, ms. */
const CONNECTED_MS_MAX = 20 * 86_400_000;
/** A child that has nothing to say is not thought dead for so long, s. */
const KEEPALIVE_SECS = 3600;

/**
 * A child with a connection of its own (MQTT 3.1.1, session kept). What is not acknowledged it says again, in order and first of
 * all, when it is back (section 4.4), and subscribes again: a SUBACK may be lost with the gateway that was to send it.
 */
export class FieldChild {
  readonly id: string;
  said = 0;
  /** The numbers of what was acknowledged. */
  readonly acknowledged = new Set<number>();
  /** Commands that it was given. */
  readonly commands = new Set<string>();
  /** The last desired document that it was told. */
  desired: unknown = null;
  connections = 0;
  connected = false;
  readonly #port: number;
  readonly #body: (n: number) => string;
  readonly #timer: NodeJS.Timeout;
  readonly #running: Promise<void>;
  /** Said and not acknowledged, by number. */
  readonly #underway = new Map<number, string>();
  #client: PacketClient | null = null;
  #ended = false;

  constructor(id: string, port: number, body: (n: number) => string) {
    this.id = id;
    this.#port = port;
    this.#body = body;
    this.#timer = setInterval(() => this.#say(), EVERY_MS);
    this.#running = this.#run();
  }

  /** Says nothing new. */
  hush(): void {
    clearInterval(this.#timer);
  }

  async end(): Promise<void> {
    this.hush();
    this.#ended = true;
    this.#client?.end();
    await this.#running;
  }

  #say(): void {
    const n = ++this.said;
    this.#underway.set(n, this.#body(n));
    if (this.connected) this.#publish(n, false);
  }

  #publish(n: number, dup: boolean): void {
    const payload = this.#underway.get(n)!;
    const topic = `${ROOT}/${this.id}/events`;
    this.#client!.send({ cmd: 'publish', topic, payload, qos: 1, messageId: idOf(n), retain: false, dup });
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      const client = new PacketClient({ host: '127.0.0.1', port: this.#port });
      this.#client = client;
      client.onPacket((packet) => {
        // Nobody looks at them later.
        client.packets.length = 0;
        if (packet.cmd === 'connack' && packet.returnCode === 0) {
          this.connections++;
          this.connected = true;
          client.send({
            cmd: 'subscribe',
            messageId: idOf(0),
            subscriptions: [{ topic: `${ROOT}/${this.id}/#`, qos: 1 }],
          });
          for (const n of this.#underway.keys()) this.#publish(n, true);
        } else if (packet.cmd === 'puback') {
          for (const n of this.#underway.keys()) {
            if (idOf(n) !== packet.messageId) continue;
            this.#underway.delete(n);
            this.acknowledged.add(n);
          }
        } else if (packet.cmd === 'publish') {
          if (packet.qos === 1) client.send({ cmd: 'puback', messageId: packet.messageId! });
          if (packet.topic.endsWith('/twin/desired')) this.desired = JSON.parse(packet.payload.toString());
          // The bag that may follow is the last level.
          if (packet.topic.includes('/commands')) this.commands.add(packet.payload.toString());
        }
      });
      client.connect({
        clientId: this.id,
        username: this.id,
        password: 'secret',
        clean: false,
        keepalive: KEEPALIVE_SECS,
      });
      await client.whenClosed(CONNECTED_MS_MAX);
      this.connected = false;
      if (!this.#ended) await sleep(RECONNECT_MS);
    }
  }
}

/** Packet ids are 1 to 65,535. */
function idOf(n: number): number {
  return (n % 65_535) + 1;
}
