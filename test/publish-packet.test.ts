import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqtt, { type IPublishPacket } from 'mqtt-packet';
import type { UpPublication } from '../src/dialects/upstream-dialect.ts';
import { PublishBatch } from '../src/upstream/publish-packet.ts';
import { fc } from './parts/properties.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';

/** What mqtt-packet, the parser of MQTT.js, makes of bytes. */
function parse(version: 4 | 5, bytes: Buffer): IPublishPacket[] {
  const parser = mqtt.parser({ protocolVersion: version });
  const packets: IPublishPacket[] = [];
  parser.on('packet', (packet) => packets.push(packet as IPublishPacket));
  parser.on('error', (error) => assert.fail(String(error)));
  assert.equal(parser.parse(bytes), 0, 'bytes are left over');
  return packets;
}

// NUL and lone surrogates may not stand in MQTT's texts (MQTT 5, section 1.5.4); brokers close on them.
const text = fc
  .oneof(
    fc.string({ unit: 'grapheme', maxLength: 60 }),
    fc.string({ maxLength: 300 }),
    fc.constantFrom('', 'é', '𝄞', 'x'.repeat(5000)),
  )
  .filter((one) => !one.includes('\0'));
const publication: fc.Arbitrary<{ packetId: number; publication: UpPublication }> = fc
  .record({
    packetId: fc.integer({ min: 1, max: 65_535 }),
    topic: text.filter((topic) => topic !== ''),
    body: fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.constantFrom(0, 100, 128, 16_384, 262_144).map((length) => Buffer.alloc(length, length)),
    ),
    retain: fc.boolean(),
    contentType: fc.option(text, { nil: undefined }),
    pairs: fc.uniqueArray(fc.tuple(text, text), { maxLength: 10, selector: ([name]) => name }),
  })
  .map(({ packetId, pairs, ...rest }) => ({ packetId, publication: { ...rest, userProperties: pairs.flat() } }));

for (const version of [4, 5] as const) {
  test(`MQTT ${version === 4 ? '3.1.1' : '5'}: what is encoded is what a parser reads, packet behind packet`, () => {
    const batch = new PublishBatch(version, 16);
    fc.assert(
      fc.property(fc.array(publication, { minLength: 1, maxLength: 5 }), (all) => {
        let bytes = 0;
        for (const one of all) bytes += batch.add(one.packetId, one.publication);
        assert.equal(batch.length, bytes);
        const taken = batch.take();
        assert.equal(taken.length, bytes);
        const packets = parse(version, taken);
        assert.equal(packets.length, all.length);
        packets.forEach((packet, n) => {
          const { packetId, publication: given } = all[n]!;
          assert.deepEqual(
            [packet.cmd, packet.qos, packet.dup, packet.retain, packet.messageId, packet.topic],
            ['publish', 1, false, given.retain, packetId, given.topic],
          );
          assert.ok(given.body.equals(packet.payload as Buffer));
          if (version === 4) return;
          assert.equal(packet.properties?.contentType, given.contentType);
          const expected: Record<string, string> = Object.create(null);
          for (let i = 0; i < given.userProperties!.length; i += 2)
            expected[given.userProperties![i]!] = given.userProperties![i + 1]!;
          assert.deepEqual({ ...packet.properties?.userProperties }, { ...expected });
        });
      }),
      { numRuns: LONG ? 5000 : 200 },
    );
  });

  test(`MQTT ${version === 4 ? '3.1.1' : '5'}: what is too large, or too long for MQTT, is left out whole`, () => {
    const batch = new PublishBatch(version, 16);
    const small: UpPublication = { topic: 'small', body: Buffer.from('small') };
    const size = batch.add(1, small);
    assert.equal(batch.add(2, { topic: 'a', body: Buffer.alloc(100) }, 100), -1);
    assert.equal(batch.add(3, small, size), size);
    assert.equal(batch.add(4, { topic: 'x'.repeat(65_536), body: Buffer.alloc(0) }), -1);
    assert.equal(batch.add(5, { topic: 'é'.repeat(32_768), body: Buffer.alloc(0) }), -1);
    if (version === 5) {
      for (const long of ['x'.repeat(65_536), 'é'.repeat(40_000)]) {
        assert.equal(batch.add(6, { ...small, userProperties: ['name', long] }), -1);
        assert.equal(batch.add(7, { ...small, userProperties: [long, 'value'] }), -1);
        assert.equal(batch.add(8, { ...small, contentType: long }), -1);
      }
    }
    assert.deepEqual(
      parse(version, batch.take()).map(({ messageId }) => messageId),
      [1, 3],
    );
  });
}

test('buffers given to the socket are not written again', () => {
  const batch = new PublishBatch(5, 16);
  batch.add(1, { topic: 'first', body: Buffer.from('1') });
  const first = batch.take();
  const before = Buffer.from(first);
  batch.add(2, { topic: 'second', body: Buffer.from('2') });
  batch.take();
  assert.deepEqual(first, before);
});
