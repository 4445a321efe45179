import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import mqtt, { type Packet } from 'mqtt-packet';
import { Bell, WAIT_MS_MAX } from './until.ts';

export interface PacketClientOptions {
  readonly host: string;
  readonly port: number;
  /** Where it comes from: any address of 127.0.0.0/8 is this machine's own. */
  readonly localAddress?: string;
  /** Left out: plain TCP. */
  readonly tls?: Pick<ConnectionOptions, 'ca' | 'cert' | 'key'>;
  readonly version?: 3 | 4 | 5;
}

export type Credentials = {
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string | Buffer;
  /** Without a client id it cannot be left out (MQTT 3.1.1, section 3.1.3.1). */
  readonly clean?: boolean;
  /** s; 60 when left out. */
  readonly keepalive?: number;
};

/** One MQTT connection, packet by packet and byte by byte: what a library would never send can be sent. */
export class PacketClient {
  /** Everything that was received, oldest first. */
  readonly packets: Packet[] = [];
  closed = false;
  readonly #socket: Socket;
  readonly #version: 3 | 4 | 5;
  readonly #bell = new Bell();
  #connected = false;
  #listener: (packet: Packet) => void = () => undefined;

  constructor(options: PacketClientOptions) {
    const { host, port, localAddress, tls, version = 4 } = options;
    this.#version = version;
    const from = localAddress === undefined ? {} : { localAddress };
    this.#socket =
      tls === undefined
        ? connectTcp({ host, port, ...from })
        : connectTls({ host, port, ...from, ...tls, checkServerIdentity: () => undefined });
    this.#socket.setNoDelay(true);
    this.#socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      this.#connected = true;
      this.#bell.ring();
    });
    const parser = mqtt.parser({ protocolVersion: version });
    parser.on('packet', (packet) => {
      this.packets.push(packet);
      this.#listener(packet);
      this.#bell.ring();
    });
    this.#socket.on('data', (data) => parser.parse(data));
    this.#socket.on('error', () => undefined);
    this.#socket.once('close', () => {
      this.closed = true;
      this.#bell.ring();
    });
  }

  /** Called with each packet, as it comes. */
  onPacket(listener: (packet: Packet) => void): void {
    this.#listener = listener;
  }

  send(packet: Packet | Buffer): void {
    if (this.closed) return;
    this.#socket.write(Buffer.isBuffer(packet) ? packet : mqtt.generate(packet, { protocolVersion: this.#version }));
  }

  connect({ clientId, username, password, clean = clientId === '', keepalive = 60 }: Credentials): void {
    this.send({
      cmd: 'connect',
      protocolId: this.#version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: this.#version,
      clientId,
      clean,
      keepalive,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password: Buffer.from(password) }),
    });
  }

  /** Resolves when the socket (with TLS: its handshake) is there, or has failed. */
  async whenOpen(): Promise<boolean> {
    await this.#bell.until('a connection, or none', () => this.#connected || this.closed);
    return this.#connected && !this.closed;
  }

  /** Resolves with the code of the CONNACK (MQTT 5: the reason), or null when the connection ends without one. */
  async admission(msMax: number = WAIT_MS_MAX): Promise<number | null> {
    const answer = await this.#bell.until(
      'a CONNACK, or the end',
      () => {
        const connack = this.packets.find((packet) => packet.cmd === 'connack');
        if (connack?.cmd === 'connack') return { code: connack.returnCode ?? connack.reasonCode ?? null };
        return this.closed ? { code: null } : null;
      },
      msMax,
    );
    return answer.code;
  }

  /** Resolves with what `check` gives once that is true; looks again at each packet, and at the end. */
  until<T>(what: string, check: (client: this) => T, msMax: number = WAIT_MS_MAX) {
    return this.#bell.until(
      () => `${what}; it got ${JSON.stringify(this.packets.slice(-5))}, ${this.closed ? 'closed' : 'open'}`,
      () => check(this),
      msMax,
    );
  }

  whenClosed(msMax?: number): Promise<boolean> {
    return this.until('the end of the connection', ({ closed }) => closed, msMax);
  }

  end(): void {
    this.#socket.destroy();
  }
}
