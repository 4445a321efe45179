import { createServer, type Server, type Socket } from 'node:net';
import mqtt, { type IConnectPacket, type IPublishPacket, type ISubscribePacket, type Packet } from 'mqtt-packet';
import { freePort } from './free-port.ts';
import { Bell } from './until.ts';

/** What a broker does instead of what it should; what is left out, it does as a good one would. */
export interface Manners {
  readonly onOpen?: (connection: RogueConnection) => void;
  readonly onConnect?: (connection: RogueConnection, packet: IConnectPacket) => void;
  readonly onPublish?: (connection: RogueConnection, packet: IPublishPacket) => void;
  readonly onPing?: (connection: RogueConnection) => void;
  readonly onSubscribe?: (connection: RogueConnection, packet: ISubscribePacket) => void;
}

/** A PUBLISH as it came. */
export interface SeenPublish {
  readonly connection: number;
  readonly packetId: number;
  readonly topic: string;
  readonly body: string;
  readonly dup: boolean;
  readonly epoch: number | null;
  readonly lane: number | null;
  readonly seq: number | null;
}

export class RogueConnection {
  readonly number: number;
  readonly socket: Socket;
  version: 3 | 4 | 5 = 4;
  /** PUBLISHes without a PUBACK, and the most that there ever were. */
  open = 0;
  openMax = 0;
  closed = false;

  constructor(number: number, socket: Socket) {
    this.number = number;
    this.socket = socket;
  }

  send(packet: Packet): void {
    if (!this.socket.destroyed) this.socket.write(mqtt.generate(packet, { protocolVersion: this.version }));
  }

  accept(properties: NonNullable<Extract<Packet, { cmd: 'connack' }>['properties']> = {}): void {
    if (this.version === 5) this.send({ cmd: 'connack', reasonCode: 0, sessionPresent: false, properties });
    else this.send({ cmd: 'connack', returnCode: 0, sessionPresent: false });
  }

  refuse(code: number): void {
    if (this.version === 5) this.send({ cmd: 'connack', reasonCode: code, sessionPresent: false });
    else this.send({ cmd: 'connack', returnCode: code, sessionPresent: false });
  }

  puback(packetId: number, reasonCode = 0): void {
    this.open--;
    this.send({ cmd: 'puback', messageId: packetId, reasonCode });
  }

  close(): void {
    this.socket.destroy();
  }
}

/** A broker that does as a test says. Speaks MQTT well enough to know what it does wrong. */
export class RogueBroker {
  readonly port: number;
  readonly url: string;
  readonly connections: RogueConnection[] = [];
  readonly publishes: SeenPublish[] = [];
  readonly connects: IConnectPacket[] = [];
  manners: Manners;
  readonly #server: Server;
  readonly #bell = new Bell();

  constructor(port: number, manners: Manners) {
    this.port = port;
    this.url = `mqtt://127.0.0.1:${port}`;
    this.manners = manners;
    this.#server = createServer({ noDelay: true }, (socket) => this.#serve(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.port, '127.0.0.1', resolve);
    });
  }

  /** Connections that are open now. */
  get openConnections(): number {
    return this.connections.filter(({ closed }) => !closed).length;
  }

  /** Events among what was published: the rest are status and loss reports. */
  readonly events: SeenPublish[] = [];

  until<T>(what: string | (() => string), check: (broker: this) => T, msMax?: number) {
    return this.#bell.until(what, () => check(this), msMax);
  }

  async end(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #serve(socket: Socket): void {
    const connection = new RogueConnection(this.connections.length, socket);
    this.connections.push(connection);
    const parser = mqtt.parser({ protocolVersion: 5 });
    socket.on('data', (chunk) => parser.parse(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      connection.closed = true;
      this.#bell.ring();
    });
    parser.on('error', (error) => {
      throw new Error(`the gateway sent what is not MQTT: ${String(error)}`);
    });
    parser.on('packet', (packet) => {
      this.#answer(connection, packet);
      this.#bell.ring();
    });
    this.manners.onOpen?.(connection);
    this.#bell.ring();
  }

  #answer(connection: RogueConnection, packet: Packet): void {
    const { manners } = this;
    if (packet.cmd === 'connect') {
      connection.version = packet.protocolVersion === 5 ? 5 : 4;
      this.connects.push(packet);
      if (manners.onConnect === undefined) connection.accept();
      else manners.onConnect(connection, packet);
    } else if (packet.cmd === 'publish') {
      const number = (name: 'epoch' | 'lane' | 'seq') => {
        const said =
          new RegExp(`[?&]${name}=(\\d+)`).exec(packet.topic)?.[1] ?? packet.properties?.userProperties?.[name];
        return said === undefined ? null : Number(said);
      };
      const { topic, dup } = packet;
      const body = packet.payload.toString('latin1');
      const packetId = packet.messageId ?? 0;
      connection.open++;
      connection.openMax = Math.max(connection.openMax, connection.open);
      const [epoch, lane, seq] = [number('epoch'), number('lane'), number('seq')];
      const seen = { connection: connection.number, packetId, topic, body, dup, epoch, lane, seq };
      this.publishes.push(seen);
      if (topic.includes('/events')) this.events.push(seen);
      if (manners.onPublish === undefined) connection.puback(packetId);
      else manners.onPublish(connection, packet);
    } else if (packet.cmd === 'subscribe') {
      if (manners.onSubscribe === undefined)
        connection.send({
          cmd: 'suback',
          messageId: packet.messageId!,
          granted: packet.subscriptions.map(({ qos }) => qos),
        });
      else manners.onSubscribe(connection, packet);
    } else if (packet.cmd === 'pingreq') {
      if (manners.onPing === undefined) connection.send({ cmd: 'pingresp' });
      else manners.onPing(connection);
    } else if (packet.cmd === 'disconnect') connection.close();
  }
}

/** Starts one. {@link RogueBroker.end} it when the test is over. */
export async function startRogueBroker(manners: Manners = {}): Promise<RogueBroker> {
  const broker = new RogueBroker(await freePort(), manners);
  await broker.listen();
  return broker;
}
