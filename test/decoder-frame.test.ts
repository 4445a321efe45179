import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bytesOf } from '../src/config/frame-room.ts';
import { type Checksum, checksum, CHECKSUM_BYTES } from '../src/drivers/checksum.ts';
import { NUMBER_BYTES, readScaled } from '../src/drivers/number.ts';
import type { FrameOptions } from '../src/drivers/decoders/frame.ts';
import { streamDecoder } from '../src/drivers/decoders/stream.ts';
import type { Clock } from '../src/clock/clock.ts';
import { systemClock } from './driver-rig.ts';
import { ManualClock } from './manual-clock.ts';
import { fc } from './parts/properties.ts';

interface Heard {
  readonly bodies: Buffer[];
  readonly malformed: string[];
  push(chunk: Buffer): void;
  cutOff(): void;
}

function reader(options: Partial<FrameOptions>, clock: Clock = systemClock): Heard {
  const bodies: Buffer[] = [];
  const malformed: string[] = [];
  const whole = { kind: 'frame', start: Buffer.alloc(0), frameBytesMax: 256, ...options } as const;
  const decoder = streamDecoder(whole, clock, {
    reading: ({ body }) => void bodies.push(body),
    malformed: (why, sample) => void malformed.push(`${why}: ${sample.toString('hex')}`),
  });
  return { bodies, malformed, push: (chunk) => decoder.push(chunk), cutOff: () => decoder.cutOff('unplugged') };
}

function withSum(kind: Checksum, frame: Buffer, big: boolean): Buffer {
  const sum = Buffer.alloc(CHECKSUM_BYTES[kind]);
  if (big) sum.writeUIntBE(checksum(kind, frame), 0, sum.length);
  else sum.writeUIntLE(checksum(kind, frame), 0, sum.length);
  return Buffer.concat([frame, sum]);
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** A Plantower PMS5003 particle sensor: its manual's frame. */
const PARTICLES: Partial<FrameOptions> = {
  start: hex('42 4d'),
  length: { at: 2, format: 'uint16', byteOrder: 'big', adds: 4 },
  checksum: { kind: 'sum16', from: 0, byteOrder: 'big' },
};
const PARTICLES_FRAME = withSum(
  'sum16',
  hex('424d 001c 0005 0008 000a 0005 0008 000a 0384 0102 0032 0008 0003 0001 9700'),
  true,
);

/** HDLC-like: 7e flags, 7d escapes. */
const FLAGGED: Partial<FrameOptions> = {
  start: hex('7e'),
  end: hex('7e'),
  escape: { byte: 0x7d, xor: 0x20 },
  checksum: { kind: 'crc16-x25', from: 1, byteOrder: 'little' },
};

/** What is sent for this content: start, content, checksum, escapes, end. */
function flagged(content: Buffer): Buffer {
  const inside = withSum('crc16-x25', content, false);
  const escaped = [...inside].flatMap((byte) => (byte === 0x7e || byte === 0x7d ? [0x7d, byte ^ 0x20] : [byte]));
  return Buffer.from([0x7e, ...escaped, 0x7e]);
}

describe('binary frames', () => {
  test('length-prefixed ones become the fields that are asked for', () => {
    const field = { byteOrder: 'big', scale: 1, offset: 0 } as const;
    const heard = reader({
      ...PARTICLES,
      fields: [
        { ...field, name: 'pm2_5', at: 6, format: 'uint16' },
        { ...field, name: 'warm', at: 4, format: 'int16', scale: 0.1, offset: -40 },
        { ...field, name: 'swapped', at: 16, format: 'uint16', byteOrder: 'little' },
        { ...field, name: 'bit', at: 19, format: 'bool', bit: 1 },
        { ...field, name: 'raw', at: 0, format: 'hex', length: 2 },
        { ...field, name: 'tag', at: 0, format: 'string', length: 3 },
      ],
    });
    heard.push(PARTICLES_FRAME);
    assert.deepEqual(
      heard.bodies.map((body) => JSON.parse(body.toString())),
      [{ pm2_5: 8, warm: -39.5, swapped: 0x8403, bit: true, raw: '424d', tag: 'BM' }],
    );
    assert.deepEqual(heard.malformed, []);
  });

  test('what scale makes too large for a number, and a float that is none, is null', () => {
    const field = { at: 0, format: 'float32', byteOrder: 'big', scale: 1, offset: 0 } as const;
    const heard = reader({
      start: hex('7f'),
      size: 4,
      fields: [
        { ...field, name: 'not', format: 'float32' },
        { ...field, name: 'large', format: 'uint32', scale: 1e308 },
        { ...field, name: 'low', format: 'uint32', scale: -1e308, offset: -1 },
        { ...field, name: 'fine', format: 'uint8', scale: 1e306 },
      ],
    });
    heard.push(hex('7f c0 00 00'));
    assert.deepEqual(JSON.parse(heard.bodies[0]!.toString()), { not: null, large: null, low: null, fine: 1.27e308 });
    assert.equal(readScaled('uint32', hex('7f c0 00 00'), { scale: 1e308, offset: 0 }), null);
  });

  test('text is Latin-1, up to its first zero byte and without the blanks at its end', () => {
    const field = { byteOrder: 'big', scale: 1, offset: 0, format: 'string' } as const;
    const heard = reader({ start: hex('02'), end: hex('03'), fields: [{ ...field, name: 'a', at: 1, length: 6 }] });
    for (const text of ['b0 43 20 20 20 20', 'c2 b0 43 00 41 42']) heard.push(hex(`02 ${text} 03`));
    assert.deepEqual(
      heard.bodies.map((body) => JSON.parse(body.toString())),
      [{ a: '\u00b0C' }, { a: '\u00c2\u00b0C' }],
    );
  });

  test('a frame may be its start and no more', () => {
    const heard = reader({ start: hex('42 4d'), size: 2 });
    heard.push(hex('42 4d 42'));
    heard.push(hex('4d'));
    assert.deepEqual([heard.bodies, heard.malformed], [[hex('42 4d'), hex('42 4d')], []]);
  });

  test('the configuration knows how many bytes numbers and checksums have', () => {
    for (const [name, bytes] of Object.entries({ ...NUMBER_BYTES, ...CHECKSUM_BYTES })) {
      assert.equal(bytesOf(name), bytes, name);
    }
  });

  test('whatever the chunks and the noise between, every whole frame is found, and noise is reported', () => {
    const noise = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0x7e)));
    const content = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes));
    const cuts = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 });
    fc.assert(
      fc.property(fc.array(fc.tuple(noise, content), { maxLength: 8 }), cuts, (parts, sizes) => {
        const heard = reader(FLAGGED);
        const stream = Buffer.concat(parts.flatMap(([before, inside]) => [before, flagged(inside)]));
        for (let at = 0, n = 0; at < stream.length; n++) {
          const size = sizes[n % sizes.length]!;
          heard.push(stream.subarray(at, at + size));
          at += size;
        }
        const frames = parts.map(([, inside]) => Buffer.concat([hex('7e'), withSum('crc16-x25', inside, false)]));
        assert.deepEqual(heard.bodies, frames);
        const noisy = parts.filter(([before]) => before.length > 0).length;
        assert.ok(
          noisy === 0 ? heard.malformed.length === 0 : heard.malformed.length >= 1,
          `${noisy} ${heard.malformed.join()}`,
        );
      }),
      {
        // Zeros between flags: the checksum of nothing.
        examples: [
          [
            [
              [Buffer.alloc(0), hex('00')],
              [hex('0000'), hex('00')],
            ],
            [1],
          ],
        ],
      },
    );
  });

  test('frames of all kinds are found again after any damage', () => {
    const sent: readonly (readonly [Partial<FrameOptions>, Buffer])[] = [
      [PARTICLES, PARTICLES_FRAME],
      [FLAGGED, flagged(hex('017e7d02'))],
      [
        { start: hex('ff 01'), size: 9, checksum: { kind: 'sum8-complement', from: 1, byteOrder: 'big' } },
        // A fixed frame as of an MH-Z19: start, data, complement of the sum of all but the first byte.
        Buffer.concat([hex('ff 01 02 03 04 05 06 07'), hex('e4')]),
      ],
    ];
    for (const [options, frame] of sent) {
      fc.assert(
        fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), (place, flip, cut) => {
          const heard = reader(options);
          const at = place % frame.length;
          const bad = cut ? Buffer.concat([frame.subarray(0, at), frame.subarray(at + 1)]) : Buffer.from(frame);
          if (!cut) bad[at]! ^= flip;
          heard.push(Buffer.concat([frame, bad, ...Array<Buffer>(40).fill(frame)]));
          // A length that became long may take more frames with it than one, until what it says is wrong.
          assert.ok(heard.bodies.length >= 40, `${heard.bodies.length} of 41 after ${bad.toString('hex')}`);
          assert.deepEqual(new Set(heard.bodies.map((body) => body.toString('hex'))).size, 1);
        }),
      );
    }
  });

  test('a wrong checksum is said once, with what came', () => {
    const heard = reader(PARTICLES);
    const bad = Buffer.from(PARTICLES_FRAME);
    bad[10]! ^= 1;
    heard.push(Buffer.concat([hex('00 11'), PARTICLES_FRAME, bad]));
    assert.equal(heard.bodies.length, 1);
    assert.deepEqual(heard.malformed, ['bytes outside of a frame: 0011', `wrong checksum: ${bad.toString('hex')}`]);
  });

  test('text frames within STX and ETX; one that is too long is dropped and costs no other', () => {
    const heard = reader({ start: hex('02'), end: hex('03'), frameBytesMax: 10 });
    heard.push(Buffer.from('\x02abc\x03\x02too long for that\x03\x02d\x03'));
    assert.deepEqual(
      heard.bodies.map((body) => body.toString('latin1')),
      ['\x02abc', '\x02d'],
    );
    assert.equal(heard.malformed.length, 1);
    assert.match(heard.malformed[0]!, /^longer than 10 bytes/);
  });

  test('a frame that stops coming is given up when the next comes, and one cut by unplugging at once', () => {
    const clock = new ManualClock();
    const heard = reader(PARTICLES, clock);
    heard.push(PARTICLES_FRAME.subarray(0, 12));
    clock.advance(2_000);
    heard.push(PARTICLES_FRAME);
    assert.deepEqual(heard.bodies, [PARTICLES_FRAME]);
    heard.push(PARTICLES_FRAME.subarray(0, 5));
    heard.cutOff();
    assert.deepEqual(heard.malformed, [
      `a frame was cut off: ${PARTICLES_FRAME.subarray(0, 12).toString('hex')}`,
      `unplugged: ${PARTICLES_FRAME.subarray(0, 5).toString('hex')}`,
    ]);
  });

  test('whole frames behind a false start come out when the line pauses, or ends', () => {
    for (const ends of ['pause', 'unplugged'] as const) {
      const clock = new ManualClock();
      const heard = reader({ ...PARTICLES, frameBytesMax: 1024 }, clock);
      heard.push(Buffer.concat([hex('42 4d 02 00'), ...Array<Buffer>(3).fill(PARTICLES_FRAME)]));
      assert.equal(heard.bodies.length, 0);
      // No byte need come to say that the line pauses: a sensor that reports once an hour would be an hour late.
      if (ends === 'pause') clock.advance(1_001);
      else heard.cutOff();
      assert.deepEqual(heard.bodies, Array<Buffer>(3).fill(PARTICLES_FRAME), ends);
      assert.deepEqual(heard.malformed, [`${ends === 'pause' ? 'a frame was cut off' : ends}: 424d0200`]);
      assert.equal(clock.timers, 0);
    }
  });

  test('each false start among frames that were held back is counted once', () => {
    const clock = new ManualClock();
    const heard = reader({ ...PARTICLES, frameBytesMax: 1024 }, clock);
    const start = hex('42 4d 03 00');
    heard.push(Buffer.concat([start, PARTICLES_FRAME, start, hex('00 11'), PARTICLES_FRAME, start]));
    clock.advance(1_001);
    assert.equal(heard.bodies.length, 2);
    const cutOff = (sample: string): string => `a frame was cut off: ${sample}`;
    assert.deepEqual(heard.malformed, [cutOff('424d0300'), cutOff('424d03000011'), cutOff('424d0300')]);
  });

  test('a pause is told by the last byte that came, and what comes after one begins anew', () => {
    const clock = new ManualClock();
    const heard = reader(PARTICLES, clock);
    for (const byte of PARTICLES_FRAME) {
      heard.push(Buffer.from([byte]));
      clock.advance(900);
    }
    assert.deepEqual([heard.bodies, heard.malformed], [[PARTICLES_FRAME], []]);
    heard.push(PARTICLES_FRAME.subarray(0, 20));
    clock.advance(1_100);
    heard.push(PARTICLES_FRAME.subarray(20));
    clock.advance(1_100);
    assert.equal(heard.bodies.length, 1);
    assert.equal(heard.malformed.length, 2);
  });

  test('no whole frame is lost among noise and false starts, whatever the chunks and the way in which the stream ends', () => {
    const start = hex('42 4d');
    const options: Partial<FrameOptions> = {
      start,
      length: { at: 2, format: 'uint16', byteOrder: 'big', adds: 4 },
      // A sum of 16 bits would once in a while be right by chance.
      checksum: { kind: 'crc32', from: 0, byteOrder: 'big' },
      frameBytesMax: 1024,
    };
    const sealed = (content: Uint8Array): Buffer => {
      const head = Buffer.from([...start, 0, content.length + 4]);
      return withSum('crc32', Buffer.concat([head, content]), true);
    };
    const bytes = (length: number) => fc.uint8Array({ maxLength: length }).map((noise) => Buffer.from(noise));
    const noise = fc.oneof(
      bytes(30),
      fc.tuple(fc.nat(4), bytes(4)).map(([high, rest]) => Buffer.concat([start, Buffer.from([high]), rest])),
      fc.constantFrom(Buffer.alloc(0), start, hex('42'), hex('42 42')),
    );
    const parts = fc.array(fc.tuple(noise, fc.uint8Array({ maxLength: 60 }).map(sealed)), {
      minLength: 50,
      maxLength: 50,
    });
    const sizes = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 });
    fc.assert(
      fc.property(parts, sizes, noise, fc.boolean(), (all, cuts, tail, pauses) => {
        const clock = new ManualClock();
        const heard = reader(options, clock);
        const stream = Buffer.concat([...all.flat(), tail]);
        for (let at = 0, n = 0; at < stream.length; n++) {
          const size = cuts[n % cuts.length]!;
          heard.push(stream.subarray(at, at + size));
          at += size;
        }
        if (pauses) clock.advance(1_001);
        else heard.cutOff();
        assert.deepEqual(
          heard.bodies,
          all.map(([, frame]) => frame),
        );
        assert.equal(clock.timers, 0);
      }),
      { numRuns: 40 },
    );
  });

  test('what is too long for a frame that only has an end is malformed once, and passed over up to that end', () => {
    const field = { byteOrder: 'big', scale: 1, offset: 0 } as const;
    const options: Partial<FrameOptions> = {
      end: hex('0a'),
      frameBytesMax: 16,
      fields: [{ ...field, name: 'a', at: 0, format: 'string', length: 4 }],
    };
    const sent = Buffer.from('abcd\nABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\nwxyz\n');
    for (let size = 1; size <= sent.length; size++) {
      const heard = reader(options, new ManualClock());
      for (let at = 0; at < sent.length; at += size) heard.push(sent.subarray(at, at + size));
      assert.deepEqual(
        heard.bodies.map((body) => body.toString()),
        ['{"a":"abcd"}', '{"a":"wxyz"}'],
        `in chunks of ${size}`,
      );
      assert.equal(heard.malformed.length, 1);
      assert.match(heard.malformed[0]!, /^longer than 16 bytes: 41424344/);
    }
    const endless = reader(options, new ManualClock());
    for (let n = 0; n < 100; n++) endless.push(Buffer.alloc(1_000, 'x'));
    assert.equal(endless.malformed.length, 1);
    endless.push(Buffer.from('\nabcd\n'));
    assert.equal(endless.bodies.length, 1);
  });

  test('an escaped byte does not end what is too long', () => {
    // DLE ETX ends; a DLE in the data is doubled, so that DLE DLE ETX does not.
    const options = { end: hex('10 03'), escape: { byte: 0x10, xor: 0 }, frameBytesMax: 8 };
    const sent = Buffer.concat([Buffer.alloc(40, 'x'), hex('10 10 03'), Buffer.from('tail'), hex('10 03 41 10 03')]);
    for (let size = 1; size <= sent.length; size++) {
      const heard = reader(options, new ManualClock());
      for (let at = 0; at < sent.length; at += size) heard.push(sent.subarray(at, at + size));
      assert.deepEqual(heard.bodies, [hex('41')], `in chunks of ${size}`);
      assert.equal(heard.malformed.length, 1);
    }
  });

  test('a pause or an unplugging ends what is too long', () => {
    const clock = new ManualClock();
    const heard = reader({ end: hex('0a'), frameBytesMax: 16 }, clock);
    for (const over of [() => clock.advance(1_001), () => heard.cutOff()]) {
      heard.push(Buffer.alloc(100, 'x'));
      over();
      heard.push(Buffer.from('abcd\n'));
    }
    assert.deepEqual(heard.bodies, [Buffer.from('abcd'), Buffer.from('abcd')]);
    assert.equal(heard.malformed.length, 2);
  });

  test('a lone flag at the end of a frame is no cut frame', () => {
    const clock = new ManualClock();
    const heard = reader(FLAGGED, clock);
    heard.push(flagged(hex('01')));
    clock.advance(60_000);
    heard.push(flagged(hex('02')));
    heard.cutOff();
    assert.equal(heard.bodies.length, 2);
    assert.deepEqual(heard.malformed, []);
  });
});
