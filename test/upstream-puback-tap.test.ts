import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { generate, type Packet } from 'mqtt-packet';
import { PubackTap } from '../src/upstream/puback-tap.ts';

const VERSION_5 = { protocolVersion: 5 };

/** What a broker may send: an acknowledgement, or something else of any size. */
const packets = fc.array(
  fc.oneof(
    fc.record({
      id: fc.integer({ min: 1, max: 65_535 }),
      reason: fc.constantFrom(0, 0x10, 0x80, 0x97),
      text: fc.string(),
    }),
    fc.record({ body: fc.uint8Array({ maxLength: 300 }) }),
    fc.constant('ping' as const),
  ),
  { maxLength: 30 },
);

test('acknowledgements are taken out and the rest is handed on in order, however the bytes are cut', () => {
  fc.assert(
    fc.property(packets, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }), (sent, cuts) => {
      const all: Buffer[] = [];
      const others: Buffer[] = [];
      const expected: [number, number][] = [];
      for (const item of sent) {
        let packet: Packet;
        if (item === 'ping') packet = { cmd: 'pingresp' };
        else if ('body' in item)
          packet = { cmd: 'publish', topic: 'a/b', payload: Buffer.from(item.body), qos: 0, dup: false, retain: false };
        else
          packet = {
            cmd: 'puback',
            messageId: item.id,
            reasonCode: item.reason,
            properties: { reasonString: item.text },
          };
        const bytes = generate(packet, VERSION_5);
        all.push(bytes);
        if (packet.cmd === 'puback') expected.push([packet.messageId!, packet.reasonCode!]);
        else others.push(bytes);
      }
      const seen: [number, number][] = [];
      const handedOn: Buffer[] = [];
      const tap = new PubackTap(
        (id, reason) => seen.push([id, reason]),
        (bytes) => handedOn.push(Buffer.from(bytes)),
      );
      const stream = Buffer.concat(all);
      for (let at = 0, cut = 0; at < stream.length; cut++) {
        const length = cuts[cut % cuts.length]!;
        tap.push(stream.subarray(at, at + length));
        at += length;
      }
      assert.deepEqual(seen, expected);
      assert.deepEqual(Buffer.concat(handedOn), Buffer.concat(others));
    }),
    { numRuns: 300 },
  );
});

test('an acknowledgement of MQTT 3.1.1 has no reason', () => {
  const seen: [number, number][] = [];
  const tap = new PubackTap(
    (id, reason) => seen.push([id, reason]),
    () => assert.fail('nothing else was sent'),
  );
  tap.push(Buffer.from([0x40, 2, 0x12, 0x34, 0x40, 2, 0, 1]));
  assert.deepEqual(seen, [
    [0x1234, 0],
    [1, 0],
  ]);
});

test('bytes that are no MQTT are handed on, for the parser behind to refuse', () => {
  const handedOn: Buffer[] = [];
  const tap = new PubackTap(
    () => assert.fail('there is no acknowledgement'),
    (bytes) => handedOn.push(Buffer.from(bytes)),
  );
  const garbage = Buffer.from([0x30, 255, 255, 255, 255, 255, 1, 2, 3]);
  tap.push(garbage);
  assert.deepEqual(Buffer.concat(handedOn), garbage);
});
