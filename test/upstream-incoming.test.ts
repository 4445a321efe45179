import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generate } from 'mqtt-packet';
import { BrokerAtFault, Incoming } from '../src/upstream/incoming.ts';
import { fc } from './parts/properties.ts';

function publish(messageId: number, qos: 0 | 1 | 2, version: 4 | 5): Buffer {
  return generate(
    { cmd: 'publish', topic: 'a', payload: 'x', qos, messageId, dup: false, retain: false },
    { protocolVersion: version },
  );
}

test('PUBACKs leave in the order in which the messages came, each once it is stored', () => {
  fc.assert(
    fc.property(
      fc.shuffledSubarray([...Array(12).keys()], { minLength: 12 }),
      fc.constantFrom(4, 5),
      (order, version) => {
        const written: number[] = [];
        const incoming = new Incoming(version, (bytes) => {
          for (let at = 0; at < bytes.length; at += 4) {
            assert.deepEqual([...bytes.subarray(at, at + 2)], [0x40, 2]);
            written.push(bytes.readUInt16BE(at + 2));
          }
        });
        const read = order.map((_, n) => incoming.read(publish(n + 1, 1, version)).stored);
        const stored = new Set<number>();
        for (const n of order) {
          read[n]!();
          stored.add(n + 1);
          let due = 0;
          while (stored.has(due + 1)) due++;
          assert.deepEqual(
            written,
            [...Array(due).keys()].map((id) => id + 1),
          );
        }
      },
    ),
    { numRuns: 100 },
  );
});

test('QoS 0 is not acknowledged, QoS 2 and what is no message are the broker at fault', () => {
  const written: Buffer[] = [];
  const incoming = new Incoming(5, (bytes) => written.push(bytes));
  incoming.read(publish(0, 0, 5)).stored();
  assert.equal(written.length, 0);
  assert.throws(() => incoming.read(publish(3, 2, 5)), BrokerAtFault);
  assert.throws(() => incoming.read(Buffer.from([0x32, 3, 0, 9, 1])), BrokerAtFault);
});

test('a message that was too large to be read is acknowledged, so that it does not come again', () => {
  const written: Buffer[] = [];
  const incoming = new Incoming(4, (bytes) => written.push(bytes));
  incoming.skipped(0x1234);
  assert.deepEqual(Buffer.concat(written), Buffer.from([0x40, 2, 0x12, 0x34]));
});
