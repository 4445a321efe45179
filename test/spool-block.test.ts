import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BlockBuilder, BlockDamaged, decodeBlock, readHeader } from '../src/spool/block.ts';
import { crc32c } from '../src/store/crc32c.ts';
import {
  blockKey,
  BOOKS_KEY,
  deadLetterKey,
  isDeadLetter,
  keyLane,
  keySeq,
  laneEnd,
  LOSSES_KEY,
} from '../src/spool/keys.ts';
import type { Message } from '../src/message/message.ts';
import { chance } from './parts/chance.ts';
import { noise } from './parts/spool-rig.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';

const message = (body: Buffer, age = 0, eventTime?: number): Message => ({
  id: noise(16),
  source: { child: 'child' },
  body,
  ...(eventTime === undefined ? {} : { eventTime }),
  acceptedAt: { wall: 1000 + age, age, boot: 0, monotonic: 0, clock: 'synced' },
  priority: 10,
  hops: 0,
});

describe('CRC-32C', () => {
  test('known values (RFC 3720, appendix B.4)', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
    assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
    assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
    assert.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, n) => n))), 0x46dd794e);
    assert.equal(crc32c(Buffer.alloc(0)), 0);
  });

  test('the same as bit by bit, at every length and offset, whole and continued', () => {
    const naive = (bytes: Buffer) => {
      let c = 0xffffffff;
      for (const byte of bytes) {
        c ^= byte;
        for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
      }
      return ~c >>> 0;
    };
    const bytes = noise(300);
    for (let from = 0; from < 20; from++) {
      for (let to = from; to <= bytes.length; to += 7) {
        const expected = naive(bytes.subarray(from, to));
        assert.equal(crc32c(bytes, from, to), expected);
        const middle = from + ((to - from) >> 1);
        assert.equal(crc32c(bytes, middle, to, crc32c(bytes, from, middle)), expected);
      }
    }
  });
});

describe('keys', () => {
  test('LMDB keeps blocks by lane and then by number, dead letters behind them, the books last', () => {
    const seqs = [0, 1, 255, 256, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1, 2 ** 48, 2 ** 52, Number.MAX_SAFE_INTEGER];
    const keys = [
      ...Array.from({ length: 11 }, (_, lane) => seqs.map((seq) => blockKey(lane, seq))).flat(),
      ...seqs.map(deadLetterKey),
      BOOKS_KEY,
      LOSSES_KEY,
    ];
    assert.deepEqual(
      keys.toSorted((a, b) => a.compare(b)),
      keys,
    );
    for (const lane of [0, 10]) {
      for (const seq of seqs) {
        const key = blockKey(lane, seq);
        assert.deepEqual([keyLane(key), keySeq(key), isDeadLetter(key)], [lane, seq, false]);
        assert.ok(key.compare(laneEnd(lane)) < 0 && laneEnd(lane).compare(blockKey(lane + 1, 0)) <= 0);
      }
    }
    for (const seq of seqs)
      assert.deepEqual([isDeadLetter(deadLetterKey(seq)), keySeq(deadLetterKey(seq))], [true, seq]);
  });
});

describe('a block', () => {
  test('comes back as it was: numbers, messages, and what its header says of them', () => {
    const builder = new BlockBuilder(10);
    for (const round of [1, 2]) {
      const bodies = Array.from({ length: 50 * round }, (_, n) => noise(n * 3));
      bodies.forEach((body, n) =>
        builder.add(1000 * round + n, message(body, n, n % 2 ? 5000 - n : undefined), 60_000),
      );
      const { header, value } = builder.cut(7);
      const back = decodeBlock(value);
      assert.deepEqual(back.header, header);
      assert.deepEqual(readHeader(value), header);
      assert.deepEqual([header.epoch, header.lane, header.count, header.firstSeq], [7, 10, 50 * round, 1000 * round]);
      assert.deepEqual([header.firstAge, header.lastAge, header.earliestExpiry], [0, 50 * round - 1, 60_000]);
      assert.deepEqual([header.firstEventTime, header.lastEventTime], [1000, 4999]);
      back.messages.forEach((stored, n) => {
        assert.deepEqual([stored.lane, stored.epoch, stored.seq], [10, 7, 1000 * round + n]);
        assert.ok(stored.message.body.equals(bodies[n]!));
      });
    }
    assert.equal(builder.count, 0);
  });

  test('what repeats is deflated, and what does not is kept as it is', () => {
    const builder = new BlockBuilder(0);
    for (let n = 0; n < 100; n++) builder.add(n, message(Buffer.from('{"machine":{"temperature":21.5}}')), 1);
    const raw = builder.rawBytes;
    assert.ok(builder.cut(1).value.length < raw / 1.5);
    builder.add(1, message(noise(5000)), 1);
    assert.ok(builder.cut(1).value.length <= 5000 + 200);
  });

  test('no flipped bit goes unnoticed', () => {
    const random = chance(1);
    for (const compressible of [true, false]) {
      const builder = new BlockBuilder(3);
      for (let n = 0; n < 40; n++) builder.add(n + 1, message(compressible ? Buffer.alloc(100, n) : noise(100)), 1);
      const { value } = builder.cut(1);
      const flips = LONG ? value.length * 8 : 3000;
      for (let n = 0; n < flips; n++) {
        const bit = LONG ? n : Math.floor(random() * value.length * 8);
        const damaged = Buffer.from(value);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        assert.throws(() => decodeBlock(damaged), BlockDamaged, `bit ${bit}`);
      }
      for (const length of [0, 1, 75, 76, value.length - 1]) {
        assert.throws(() => decodeBlock(value.subarray(0, length)), BlockDamaged);
      }
      assert.throws(() => decodeBlock(Buffer.concat([value, Buffer.alloc(1)])), BlockDamaged);
    }
  });
});
