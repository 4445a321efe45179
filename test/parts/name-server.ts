import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIP } from 'node:net';

const TYPE = { 1: 4, 28: 6 } as const;
const NXDOMAIN = 3;

/** A real name server on UDP (RFC 1035): it knows A and AAAA records, and can be told to fall silent. */
export class NameServer {
  /** Name -> addresses of both families. */
  readonly zone = new Map<string, readonly string[]>();
  ttlSecs = 60;
  /** Answers nothing of one family, or nothing at all. */
  silent: 4 | 6 | 'all' | null = null;
  /** How many questions came. */
  questions = 0;
  readonly #socket: Socket = createSocket('udp4');

  async start(): Promise<void> {
    this.#socket.on('message', (question, from) => this.#answer(question, from));
    await new Promise<void>((resolve) => this.#socket.bind(0, '127.0.0.1', resolve));
  }

  /** As it stands in `dnsServers`. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  async end(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }

  #answer(question: Buffer, from: RemoteInfo): void {
    this.questions++;
    const labels: string[] = [];
    let at = 12;
    for (; question[at] !== 0; at += question[at]! + 1)
      labels.push(question.toString('latin1', at + 1, at + 1 + question[at]!));
    const type = question.readUInt16BE(at + 1);
    const family = TYPE[type as keyof typeof TYPE] ?? null;
    if (this.silent === 'all' || (family !== null && this.silent === family)) return;
    const known = this.zone.get(labels.join('.').toLowerCase());
    const records = (known ?? []).filter((address) => isIP(address) === family).map((each) => this.#record(type, each));
    const head = Buffer.alloc(12);
    question.copy(head, 0, 0, 2);
    head.writeUInt16BE(0x8180 | (known === undefined ? NXDOMAIN : 0), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(records.length, 6);
    this.#socket.send(Buffer.concat([head, question.subarray(12, at + 5), ...records]), from.port, from.address);
  }

  #record(type: number, address: string): Buffer {
    const data = type === 1 ? Buffer.from(address.split('.').map(Number)) : sixteen(address);
    const head = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, data.length]);
    head.writeUInt32BE(this.ttlSecs, 6);
    return Buffer.concat([head, data]);
  }
}

/** The bytes of an IPv6 address. */
function sixteen(address: string): Buffer {
  const [left = '', right = ''] = address.split('::');
  const words = (text: string) => (text === '' ? [] : text.split(':'));
  const gap = 8 - words(left).length - words(right).length;
  const all = [...words(left), ...Array.from({ length: gap }, () => '0'), ...words(right)];
  return Buffer.from(all.map((word) => word.padStart(4, '0')).join(''), 'hex');
}

/** Starts one; {@link NameServer.end} it when the test is over. */
export async function startNameServer(zone: Readonly<Record<string, readonly string[]>> = {}): Promise<NameServer> {
  const server = new NameServer();
  for (const [name, addresses] of Object.entries(zone)) server.zone.set(name, addresses);
  await server.start();
  return server;
}
