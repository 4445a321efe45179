import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { generate, parser, type IConnectPacket, type Packet, type Parser } from 'mqtt-packet';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import pino from 'pino';
import { SystemClock } from '../../src/clock/system-clock.ts';
import type { EventSaid, ToChild } from '../../src/dialects/child-dialect.ts';
import { holdfastChild } from '../../src/dialects/holdfast-child.ts';
import { iothubChild } from '../../src/dialects/iothub.ts';
import type { Admission, Client, Gatekeeper, Presented } from '../../src/hub/gatekeeper.ts';
import { Hub, type HubOptions } from '../../src/hub/hub.ts';
import type { Services } from '../../src/hub/services.ts';
import type { Store } from '../../src/hub/session-store.ts';
import { Bell } from './until.ts';

export const GATEWAY = 'line-4';
const NOBODY: Client['grants'] = { invoke: [], send: [], observe: [] };

/** Records as they would lie on a medium: what a put has resolved for is there after a crash, nothing else. */
export class MemoryStore implements Store {
  readonly records = new Map<string, Buffer>();
  puts = 0;
  failing = false;

  get(name: string): Buffer | null {
    return this.records.get(name) ?? null;
  }

  async put(changes: readonly (readonly [string, Buffer | null])[]): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 2));
    if (this.failing) throw new Error('the medium refuses');
    this.puts++;
    for (const [name, value] of changes) {
      if (value === null) this.records.delete(name);
      else this.records.set(name, Buffer.from(value));
    }
  }

  names(prefix: string): string[] {
    return [...this.records.keys()].filter((name) => name.startsWith(prefix)).sort();
  }
}

/** Lets in whoever gives the password `key of ID`, where ID is its client id; as what the client id and user name say. */
export class Doorkeeper implements Gatekeeper {
  readonly grants = new Map<string, Partial<Client['grants']>>();
  readonly shown: Presented[] = [];
  /** Who hears of what is revoked. */
  listeners = 0;
  /** Why a child may not stay. */
  readonly objections = new Map<string, string>();
  available = true;
  expiresAt: number | null = null;
  /** Who asks waits for it. */
  before: Promise<void> = Promise.resolve();
  #revoked: (child: string, module: string | null) => void = () => {};

  async admit(presented: Presented): Promise<Admission> {
    this.shown.push(presented);
    await this.before;
    if (!this.available) return { refused: 'unavailable', why: 'not synchronised yet' };
    const { clientId, username = '', password } = presented;
    if (password?.toString() !== `key of ${clientId}`) return { refused: 'not authorised', why: 'another key' };
    const [child = '', module = null] = clientId.split('/');
    const dialect = username.includes('/?api-version=') ? 'iothub' : 'holdfast';
    const granted = () => ({ ...NOBODY, ...this.grants.get(child) });
    const { expiresAt } = this;
    return {
      client: {
        child,
        module,
        dialect,
        get grants() {
          return granted();
        },
        expiresAt,
      },
    };
  }

  objection({ child }: Client): string | null {
    return this.objections.get(child) ?? null;
  }

  onRevoked(listener: (child: string, module: string | null) => void): () => void {
    this.#revoked = listener;
    this.listeners++;
    return () => void this.listeners--;
  }

  revoke(child: string, module: string | null = null): void {
    this.#revoked(child, module);
  }
}

export interface Taken {
  readonly client: Client;
  readonly event: EventSaid;
}

/** The rest of a gateway: takes what it is given, when it is told to. */
export class Backroom implements Services {
  readonly events: Taken[] = [];
  readonly presence: string[] = [];
  readonly sent: { child: string; message: ToChild }[] = [];
  readonly twins = new Map<string, { desired: object; reported: object }>();
  readonly bell = new Bell();
  /** What is done with an event, after it has been taken down; resolves when it is durable. */
  take: (taken: Taken) => Promise<void> = () => Promise.resolve();
  room = true;
  /** Messages that were turned away for their size. */
  oversize = 0;

  tooLarge(): void {
    this.oversize++;
  }

  event(client: Client, event: EventSaid): Promise<void> {
    const taken = { client, event };
    this.events.push(taken);
    this.bell.ring();
    return this.take(taken);
  }

  hasRoom(): boolean {
    return this.room;
  }

  async twinGet({ child }: Client): Promise<{ desired: object; reported: object }> {
    return this.twins.get(child) ?? { desired: { $version: 1 }, reported: { $version: 1 } };
  }

  async twinPatch(
    { child }: Client,
    body: Buffer,
  ): Promise<{ version: number } | { status: number; errorCode: number; message: string }> {
    if (body.length > 100) return { status: 400, errorCode: 400_000, message: 'too large' };
    const twin = await this.twinGet({ child } as Client);
    const reported = { ...twin.reported, ...(JSON.parse(body.toString()) as object), $version: 2 };
    this.twins.set(child, { ...twin, reported });
    return { version: 2 };
  }

  async invoke(_: Client, child: string, module: string | null, method: string, body: Buffer) {
    return { status: 200, payload: Buffer.from(JSON.stringify({ child, module, method, body: body.toString() })) };
  }

  async send(_: Client, child: string, message: ToChild): Promise<void> {
    this.sent.push({ child, message });
  }

  present({ child }: Client, connected: boolean): void {
    this.presence.push(`${child} ${connected ? 'came' : 'went'}`);
    this.bell.ring();
  }

  /** Bodies of a child's events so far. */
  bodies(child: string): string[] {
    return this.events.filter(({ client }) => client.child === child).map(({ event }) => event.body.toString());
  }
}

export interface HubRig {
  readonly hub: Hub;
  readonly port: number;
  readonly doorkeeper: Doorkeeper;
  readonly backroom: Backroom;
  readonly store: MemoryStore;
  /** Lines of the hub's log. */
  readonly log: string[];
}

type Over = Partial<Omit<HubOptions, 'store' | 'gatekeeper' | 'services'>> & {
  readonly store?: MemoryStore;
  readonly doorkeeper?: Doorkeeper;
};

/** A hub without TLS on a port of its own, with nothing real behind it. Stop it when the test is over. */
export async function hubRig(over: Over = {}): Promise<HubRig> {
  const clock = new SystemClock(() => true);
  const [doorkeeper, backroom, store] = [
    over.doorkeeper ?? new Doorkeeper(),
    new Backroom(),
    over.store ?? new MemoryStore(),
  ];
  const log: string[] = [];
  const hub = new Hub({
    gateway: GATEWAY,
    listen: { mqtt: { host: '127.0.0.1', port: 0 } },
    dialects: { iothub: iothubChild(GATEWAY), holdfast: holdfastChild(GATEWAY) },
    clock,
    age: () => clock.monotonic(),
    log: pino({ level: 'debug' }, { write: (line: string) => void log.push(line) }),
    ...over,
    gatekeeper: doorkeeper,
    services: backroom,
    store,
  });
  await hub.start();
  return { hub, port: hub.ports['mqtt'] ?? 0, doorkeeper, backroom, store, log };
}

/** Options of a client that is let in. */
export function credentials(id: string, dialect: Client['dialect'] = 'holdfast'): IClientOptions {
  const username = dialect === 'iothub' ? `hub.example/${id}/?api-version=2021-04-12` : id;
  return { clientId: id, username, password: `key of ${id}`, reconnectPeriod: 0, clean: true };
}

/** A real client (MQTT.js), connected. */
export async function join(port: number, id: string, over: IClientOptions = {}): Promise<MqttClient> {
  return mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { ...credentials(id), ...over }, false);
}

/** Bytes as they come and go: a client that does what it is told, and nothing on its own. */
export class RawClient {
  readonly socket: Socket;
  readonly bell = new Bell();
  readonly #version: 4 | 5;
  readonly #parser: Parser;
  #chunks: Buffer[] = [];
  /** What came, and was not yet taken. */
  readonly packets: Packet[] = [];
  closed = false;

  constructor(socket: Socket, version: 4 | 5) {
    this.socket = socket;
    this.#version = version;
    this.#parser = parser({ protocolVersion: version });
    this.#parser.on('packet', (packet) => this.packets.push(packet));
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#parser.parse(chunk);
      this.bell.ring();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.bell.ring();
    });
  }

  /** What came, and was not taken by {@link take}. */
  get bytes(): Buffer {
    this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  static async open(port: number, version: 4 | 5 = 4): Promise<RawClient> {
    const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new RawClient(socket, version);
  }

  /** Connected and let in. */
  static async join(port: number, id: string, over: Partial<IConnectPacket> = {}): Promise<RawClient> {
    const client = await RawClient.open(port, over.protocolVersion === 5 ? 5 : 4);
    client.connect(id, over);
    const packet = await client.next();
    if (packet.cmd !== 'connack' || (packet.returnCode ?? packet.reasonCode) !== 0)
      throw new Error(`not let in: ${JSON.stringify(packet)}`);
    return client;
  }

  connect(id: string, over: Partial<IConnectPacket> = {}): void {
    const password = Buffer.from(`key of ${id}`);
    this.send({ cmd: 'connect', clientId: id, username: id, password, clean: true, keepalive: 0, ...over });
  }

  send(packet: Packet): void {
    this.socket.write(generate(packet, { protocolVersion: this.#version }));
  }

  publish(topic: string, payload: string | Buffer, messageId = 0): void {
    const qos = messageId > 0 ? 1 : 0;
    this.send({ cmd: 'publish', topic, payload, qos, ...(qos > 0 ? { messageId } : {}), dup: false, retain: false });
  }

  subscribe(messageId: number, ...topics: string[]): void {
    this.send({ cmd: 'subscribe', messageId, subscriptions: topics.map((topic) => ({ topic, qos: 1 })) });
  }

  /** The next packet; takes it. */
  next(): Promise<Packet> {
    return this.bell.until('a packet', () => this.packets.shift());
  }

  /** Until so many bytes have come; takes them. */
  async take(count: number): Promise<Buffer> {
    await this.bell.until(
      () => `${count} bytes, of which ${this.bytes.length} came`,
      () => this.bytes.length >= count,
    );
    const taken = this.bytes.subarray(0, count);
    this.#chunks = [this.bytes.subarray(count)];
    return taken;
  }

  untilClosed(): Promise<boolean> {
    return this.bell.until('the connection to be closed', () => this.closed);
  }
}
