import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generate, type Packet } from 'mqtt-packet';
import { PacketTap, PUBLISH_BYTES_MAX, type Tapped } from '../src/upstream/packet-tap.ts';
import { fc } from './parts/properties.ts';

const VERSION_5 = { protocolVersion: 5 };

/** What a broker may send: an acknowledgement, a message, or something else. */
const packets = fc.array(
  fc.oneof(
    fc.record({
      id: fc.integer({ min: 1, max: 65_535 }),
      reason: fc.constantFrom(0, 0x10, 0x80, 0x97),
      text: fc.string(),
    }),
    fc.record({ body: fc.uint8Array({ maxLength: 300 }), qos: fc.constantFrom(0 as const, 1 as const) }),
    fc.constant('ping' as const),
    fc.record({ subscription: fc.integer({ min: 1, max: 65_535 }) }),
  ),
  { maxLength: 30 },
);

function packetOf(item: typeof packets extends fc.Arbitrary<(infer T)[]> ? T : never): Packet {
  if (item === 'ping') return { cmd: 'pingresp' };
  if ('subscription' in item) return { cmd: 'suback', messageId: item.subscription, granted: [1] };
  if ('body' in item) {
    const payload = Buffer.from(item.body);
    return { cmd: 'publish', topic: 'a/b', payload, qos: item.qos, messageId: 7, dup: false, retain: false };
  }
  return { cmd: 'puback', messageId: item.id, reasonCode: item.reason, properties: { reasonString: item.text } };
}

class Seen implements Tapped {
  readonly acknowledged: [number, number][] = [];
  readonly published: Buffer[] = [];
  readonly large: [string, number, number][] = [];
  readonly handedOn: Buffer[] = [];

  puback(id: number, reason: number): void {
    this.acknowledged.push([id, reason]);
  }

  publish(packet: Buffer): void {
    this.published.push(Buffer.from(packet));
  }

  oversized(topic: string, packetId: number, bytes: number): void {
    this.large.push([topic, packetId, bytes]);
  }

  others(bytes: Buffer): void {
    this.handedOn.push(Buffer.from(bytes));
  }
}

test('acknowledgements and messages are taken out and the rest is handed on in order, however the bytes are cut', () => {
  fc.assert(
    fc.property(packets, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }), (sent, cuts) => {
      const all = sent.map((item) => packetOf(item));
      const bytesOf = (each: readonly Packet[]) => Buffer.concat(each.map((packet) => generate(packet, VERSION_5)));
      const seen = new Seen();
      const tap = new PacketTap(seen);
      const stream = bytesOf(all);
      for (let at = 0, cut = 0; at < stream.length; cut++) {
        const length = cuts[cut % cuts.length]!;
        tap.push(stream.subarray(at, at + length));
        at += length;
      }
      assert.deepEqual(
        seen.acknowledged,
        all.flatMap((packet) => (packet.cmd === 'puback' ? [[packet.messageId, packet.reasonCode]] : [])),
      );
      assert.deepEqual(Buffer.concat(seen.published), bytesOf(all.filter(({ cmd }) => cmd === 'publish')));
      assert.equal(seen.published.length, all.filter(({ cmd }) => cmd === 'publish').length);
      assert.deepEqual(
        Buffer.concat(seen.handedOn),
        bytesOf(all.filter(({ cmd }) => cmd !== 'publish' && cmd !== 'puback')),
      );
      assert.deepEqual(seen.large, []);
    }),
    { numRuns: 300 },
  );
});

test('a message that is too large goes by unread, and what comes behind it is read', () => {
  const payload = Buffer.alloc(PUBLISH_BYTES_MAX);
  const large: Packet = { cmd: 'publish', topic: 'a/large', payload, qos: 1, messageId: 9, dup: false, retain: true };
  const small: Packet = { ...large, topic: 'a/small', payload: 'x', messageId: 10 };
  const stream = Buffer.concat([generate(large, VERSION_5), generate(small, VERSION_5)]);
  for (const step of [3, 8, 1000, 65_536, stream.length]) {
    const seen = new Seen();
    const tap = new PacketTap(seen);
    for (let at = 0; at < stream.length;) {
      // The beginning in small pieces, or it would take a while.
      const end = at < 40 || at > stream.length - 40 ? at + step : Math.max(at + step, stream.length - 40);
      tap.push(stream.subarray(at, end));
      at = end;
    }
    assert.deepEqual(seen.large, [['a/large', 9, generate(large, VERSION_5).length]], `in pieces of ${step}`);
    assert.deepEqual(Buffer.concat(seen.published), generate(small, VERSION_5));
    assert.equal(seen.handedOn.length, 0);
  }
});

test('an acknowledgement of MQTT 3.1.1 has no reason', () => {
  const seen = new Seen();
  new PacketTap(seen).push(Buffer.from([0x40, 2, 0x12, 0x34, 0x40, 2, 0, 1]));
  assert.deepEqual(seen.acknowledged, [
    [0x1234, 0],
    [1, 0],
  ]);
  assert.deepEqual([seen.handedOn, seen.published], [[], []]);
});

test('bytes that are no MQTT are handed on, for the parser behind to refuse', () => {
  const seen = new Seen();
  const garbage = Buffer.from([0x30, 255, 255, 255, 255, 255, 1, 2, 3]);
  new PacketTap(seen).push(garbage);
  assert.deepEqual(Buffer.concat(seen.handedOn), garbage);
});
