import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { generate, parser, type IPublishPacket } from 'mqtt-packet';
import { SystemClock } from '../src/clock/system-clock.ts';
import { Acknowledgements } from '../src/hub/acknowledgements.ts';
import { PacketReader, type Publish } from '../src/hub/packets.ts';
import { Malformed, PacketStream } from '../src/hub/packet-stream.ts';
import { Wire } from '../src/hub/wire.ts';
import { chance } from './parts/chance.ts';

const PUBLISHES = 20_000;
const SEED = 20_261_126;

/** What mqtt-packet makes of a packet that is alone; null: it is none. */
function parsed(bytes: Buffer, mqtt5: boolean): IPublishPacket | null {
  const found: IPublishPacket[] = [];
  let failed = false;
  const oracle = parser({ protocolVersion: mqtt5 ? 5 : 4 });
  oracle.on('packet', (packet) => found.push(packet as IPublishPacket));
  oracle.on('error', () => (failed = true));
  const left = oracle.parse(bytes);
  return failed || left !== 0 ? null : (found[0] ?? null);
}

function readerAfterConnect(mqtt5: boolean): PacketReader {
  const reader = new PacketReader();
  const protocolVersion = mqtt5 ? 5 : 4;
  reader.read(generate({ cmd: 'connect', clientId: 'press-1', protocolVersion, clean: true, keepalive: 0 }));
  return reader;
}

function read(reader: PacketReader, bytes: Buffer): Publish | null {
  try {
    const packet = reader.read(bytes);
    return packet.kind === 'publish' ? packet : null;
  } catch (error) {
    assert.ok(error instanceof Malformed, `not the client's fault: ${String(error)}`);
    return null;
  }
}

function somePublish(random: () => number, mqtt5: boolean): Buffer {
  const topics = ['devices/press-1/messages/events/', 'a', 'prüfstand/ü', 'with\0nul', 'a/+', 'x'.repeat(200)];
  const lengths = [0, 1, 90, 127, 128, 300, 20_000];
  const qos = Math.floor(random() * 3) as 0 | 1 | 2;
  const properties = random() < 0.5 ? {} : { properties: { contentType: 'text/plain', userProperties: { a: 'b' } } };
  const topic = topics[Math.floor(random() * topics.length)]!;
  const payload = Buffer.alloc(lengths[Math.floor(random() * lengths.length)]!, 'p');
  const [retain, dup] = [random() < 0.3, random() < 0.3];
  const numbered = qos > 0 ? { messageId: 1 + Math.floor(random() * 65_535) } : {};
  const five = mqtt5 ? properties : {};
  return generate(
    { cmd: 'publish', topic, payload, qos, retain, dup, ...numbered, ...five },
    { protocolVersion: mqtt5 ? 5 : 4 },
  );
}

/** Some bytes of its head are others, and its length says what it has. */
function mutated(bytes: Buffer, random: () => number): Buffer {
  let header = 2;
  while (bytes[header - 1]! >= 128) header++;
  const rest = Buffer.from(bytes.subarray(header, header + Math.floor(random() * (bytes.length - header + 1))));
  for (let n = Math.floor(random() * 3); n > 0 && rest.length > 0; n--) {
    rest[Math.floor(random() * Math.min(rest.length, 40))] = Math.floor(random() * 256);
  }
  const length: number[] = [];
  let left = rest.length;
  do {
    length.push((left % 128) | (left >= 128 ? 128 : 0));
    left = Math.floor(left / 128);
  } while (left > 0);
  const flags = random() < 0.2 ? Math.floor(random() * 16) : bytes[0]! & 15;
  return Buffer.concat([Buffer.from([0x30 | flags, ...length]), rest]);
}

for (const mqtt5 of [false, true]) {
  test(`MQTT ${mqtt5 ? '5' : '3.1.1'}: a PUBLISH is read as mqtt-packet reads it, or refused`, () => {
    const random = chance(SEED);
    let taken = 0;
    let refused = 0;
    for (let n = 0; n < PUBLISHES; n++) {
      const sound = somePublish(random, mqtt5);
      const bytes = random() < 0.5 ? sound : mutated(sound, random);
      const expected = parsed(bytes, mqtt5);
      const reader = readerAfterConnect(mqtt5);
      const packet = read(reader, bytes);
      const at = `packet ${n} of seed ${SEED}: ${bytes.subarray(0, 60).toString('hex')}`;
      // What mqtt-packet lets pass and we do not: texts that are no UTF-8 or no topic, numbers of 0 or cut short, what only a broker says.
      const topic = String(expected?.topic);
      const isTopic = topic !== '' && !/[\0\uFFFD+#]/.test(topic);
      const ours = expected?.properties?.topicAlias ?? expected?.properties?.subscriptionIdentifier;
      const isSound =
        expected !== null && isTopic && !(expected.qos > 0 && (expected.messageId ?? 0) < 1) && ours === undefined;
      if (packet === null) {
        refused++;
        // Mutated properties may be no texts, either.
        assert.ok(!isSound || expected.properties !== undefined, `refused: ${at}`);
        continue;
      }
      taken++;
      assert.ok(isSound, `taken: ${at}`);
      const { topic: itsTopic, qos, retain, id, payload } = packet;
      assert.deepEqual(
        [itsTopic, qos, retain, id],
        [topic, expected.qos, expected.retain, expected.messageId ?? 0],
        at,
      );
      assert.ok(payload.equals(expected.payload as Buffer), `the payload of ${at}`);
    }
    assert.ok(taken > PUBLISHES / 4 && refused > PUBLISHES / 10, `${taken} taken and ${refused} refused`);
  });
}

test('a topic that was refused once is refused again, one that was taken is not taken for another, and no number is 0', () => {
  const reader = readerAfterConnect(false);
  const publish = (topic: string, id = 7) => {
    const length = Buffer.from([Buffer.byteLength(topic) >> 8, Buffer.byteLength(topic) & 255]);
    const rest = Buffer.concat([length, Buffer.from(topic), Buffer.from([0, id, 1])]);
    return read(reader, Buffer.concat([Buffer.from([0x32, rest.length]), rest]))?.topic ?? null;
  };
  const topics = ['', '', 'a', 'a', 'b', 'a/+', 'a/+', 'b', '', 'a'];
  const taken = topics.map((topic) => publish(topic));
  assert.deepEqual(taken, [null, null, 'a', 'a', 'b', null, null, 'b', null, 'a']);
  assert.equal(publish('a', 0), null);
});

test('however a stream is cut, the same packets come out of it', () => {
  const random = chance(SEED);
  const packets = Array.from({ length: 300 }, () => somePublish(random, false));
  const bytes = Buffer.concat(packets);
  for (const pieceMax of [1, 3, 7, 400, 70_000]) {
    const stream = new PacketStream(2 ** 20);
    const out: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = Math.min(bytes.length, at + 1 + Math.floor(random() * pieceMax));
      stream.push(bytes.subarray(at, end));
      at = end;
      for (let packet = stream.next(); packet !== null; packet = stream.next()) out.push(packet);
    }
    assert.equal(out.length, packets.length, `pieces of up to ${pieceMax} bytes`);
    assert.ok(
      out.every((packet, n) => packet.equals(packets[n]!)),
      `pieces of up to ${pieceMax} bytes`,
    );
  }
});

test('answers leave in the order of what came, whether messages wait for one commit or for several', async () => {
  const answered: string[] = [];
  const acknowledgements = new Acknowledgements(
    (id, { reason }) => answered.push(`${id}:${reason}`) > 0,
    () => undefined,
  );
  const commits = Array.from({ length: 3 }, () => {
    let settle!: (reason: number) => void;
    const done = new Promise<{ reason: number }>((resolve) => (settle = (reason) => resolve({ reason })));
    return { done, settle };
  });
  const [first, second, third] = commits as [(typeof commits)[0], (typeof commits)[0], (typeof commits)[0]];
  for (const [n, { done }] of [first, first, second, first, second, third].entries()) {
    acknowledgements.add(n + 1, 10, done);
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  second.settle(0);
  await turn();
  assert.deepEqual(answered, [], 'the oldest waits');
  first.settle(0);
  await turn();
  assert.deepEqual(answered, ['1:0', '2:0', '3:0', '4:0', '5:0']);
  // One more of a commit that is over is answered, too, in its turn.
  acknowledgements.add(7, 10, first.done);
  await turn();
  assert.equal(acknowledgements.count, 2);
  third.settle(0x83);
  await turn();
  assert.deepEqual(answered.slice(5), ['6:131', '7:0']);
  acknowledgements.add(8, 10, first.done);
  await turn();
  assert.deepEqual(answered.slice(7), ['8:0']);
  assert.deepEqual([acknowledgements.count, acknowledgements.bytes], [0, 0]);
});

test('PUBACKs leave in their place among other packets, the last ones before the connection ends', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connect(port, '127.0.0.1');
  const [near] = (await once(server, 'connection')) as [Socket];
  const bytes: Buffer[] = [];
  client.on('data', (chunk: Buffer) => bytes.push(chunk));
  const wire = new Wire(near, new SystemClock(() => true));
  wire.acknowledge(1);
  wire.acknowledge(0x1234);
  wire.send({ cmd: 'pingresp' });
  wire.acknowledge(3);
  assert.equal(wire.unsent, 14);
  await new Promise((resolve) => setImmediate(resolve));
  wire.acknowledge(4);
  wire.end({ cmd: 'disconnect' });
  wire.acknowledge(5);
  await once(client, 'end');
  assert.equal(
    Buffer.concat(bytes).toString('hex'),
    '40020001' + '40021234' + 'd000' + '40020003' + '40020004' + 'e000',
  );
  client.destroy();
  server.close();
});
