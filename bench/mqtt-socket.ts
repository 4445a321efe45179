import { connect, type Socket } from 'node:net';

/** As little of MQTT 5 as a benchmark needs, on a bare socket: CONNECT, and the acknowledgements that come back. */

const CONNACK = 0x20;
const PUBACK = 0x40;

/** Connects and says CONNECT; resolves with the socket when CONNACK has come. */
export async function mqttSocket(
  port: number,
  clientId: string,
  onPuback: (packetId: number) => void,
): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('connect', () => socket.write(connectPacket(clientId)));
    onPackets(socket, (type, packet) => {
      if (type === PUBACK) onPuback(packet.readUInt16BE(0));
      else if (type === CONNACK) resolve();
      else reject(new Error(`the broker sent a packet of type 0x${type.toString(16)}`));
    });
  });
  return socket;
}

function connectPacket(clientId: string): Buffer {
  const id = Buffer.from(clientId);
  // Protocol name and version 5, clean start, no keepalive, no properties.
  const head = Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 2, 0, 0, 0, id.length >> 8, id.length & 255]);
  return Buffer.concat([Buffer.from([0x10, head.length + id.length]), head, id]);
}

/** Cuts what comes into packets. All that a publisher receives is shorter than 128 bytes. */
function onPackets(socket: Socket, onPacket: (type: number, packet: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (at + 2 <= bytes.length) {
      const length = bytes[at + 1]!;
      if (length > 127) throw new Error('a packet longer than a publisher expects');
      if (at + 2 + length > bytes.length) break;
      onPacket(bytes[at]! & 0xf0, bytes.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
    rest = bytes.subarray(at);
  });
}
