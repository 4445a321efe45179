import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CHECKSUMS } from '../src/config/frame.ts';
import { checksum } from '../src/drivers/checksum.ts';
import { findAnswer, framed, readRequest, writeWordsRequest } from '../src/drivers/modbus/pdu.ts';
import { pollGroups, READ_BITS_MAX, READ_WORDS_MAX } from '../src/drivers/modbus/plan.ts';
import { decodeWords, encodeWords, isBits, type Register, span } from '../src/drivers/modbus/register.ts';
import { fc } from './parts/properties.ts';

const order = fc.constantFrom('big' as const, 'little' as const);

const anyRegister: fc.Arbitrary<Register> = fc
  .record({
    name: fc.string({ minLength: 1 }),
    type: fc.constantFrom('coil' as const, 'discrete' as const, 'holding' as const, 'input' as const),
    address: fc.integer({ min: 0, max: 5_000 }),
    format: fc.constantFrom('uint16' as const, 'int32' as const, 'float64' as const, 'string' as const),
    length: fc.integer({ min: 1, max: 125 }),
    wordOrder: order,
    byteOrder: order,
  })
  .map((register) => ({
    ...register,
    format: isBits(register.type) ? 'bool' : register.format,
    scale: 1,
    offset: 0,
    writable: false,
  }));

describe('the requests of a poll', () => {
  test('cover each register once, keep the limits of the protocol, and read no longer gap than allowed', () => {
    fc.assert(
      fc.property(fc.array(anyRegister, { maxLength: 60 }), fc.integer({ min: 0, max: 124 }), (registers, gapMax) => {
        const groups = pollGroups(registers, gapMax);
        assert.deepEqual(new Set(groups.flatMap((group) => group.registers)), new Set(registers));
        assert.equal(groups.flatMap((group) => group.registers).length, registers.length);
        for (const { type, address, count, registers: inside } of groups) {
          assert.ok(count <= (isBits(type) ? READ_BITS_MAX : READ_WORDS_MAX), `${count} of ${type}`);
          const read = new Set<number>();
          for (const each of inside) {
            assert.equal(each.type, type);
            for (let at = each.address; at < each.address + span(each); at++) read.add(at);
          }
          let gap = 0;
          for (let at = address; at < address + count; at++) {
            gap = read.has(at) ? 0 : gap + 1;
            assert.ok(gap <= gapMax, `a gap at ${at}`);
          }
          assert.ok(Math.min(...read) === address && Math.max(...read) === address + count - 1, 'nothing beyond');
        }
      }),
    );
  });

  test('are few: neighbours share one, up to 125 registers', () => {
    const registers = Array.from({ length: 300 }, (_, address) => register({ address }));
    assert.deepEqual(
      pollGroups(registers, 0).map(({ address, count }) => [address, count]),
      [
        [0, 125],
        [125, 125],
        [250, 50],
      ],
    );
  });
});

function register(more: Partial<Register>): Register {
  const plain = { name: 'a', type: 'holding', address: 0, format: 'uint16', scale: 1, offset: 0 } as const;
  return { ...plain, wordOrder: 'big', byteOrder: 'big', writable: true, ...more };
}

describe('numbers in registers', () => {
  const formats = {
    int16: fc.integer({ min: -32_768, max: 32_767 }),
    uint16: fc.integer({ min: 0, max: 65_535 }),
    int32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    uint32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    int64: fc.oneof(fc.maxSafeInteger(), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map(String)),
    uint64: fc.oneof(fc.maxSafeNat(), fc.bigInt(0n, 2n ** 64n - 1n).map(String)),
    float64: fc.double({ noNaN: true, noDefaultInfinity: true }),
  };
  for (const [format, values] of Object.entries(formats)) {
    test(`${format} comes back as it was written, in every order`, () => {
      fc.assert(
        fc.property(values as fc.Arbitrary<number | string>, order, order, (value, wordOrder, byteOrder) => {
          const coded = register({ format: format as Register['format'], wordOrder, byteOrder });
          const words = encodeWords(coded, value);
          assert.ok(typeof words !== 'string', String(words));
          const read = decodeWords(coded, words);
          // Text only where a number would lose digits.
          assert.equal(String(read), String(value).replace(/^-0$/, typeof read === 'number' ? '0' : '-0'));
          assert.equal(typeof read, Number.isSafeInteger(Number(value)) || format === 'float64' ? 'number' : 'string');
        }),
      );
    });
  }

  test('a float comes back with the digits that it was given', () => {
    const decimal = fc.integer({ min: -999_999, max: 999_999 }).map((n) => n / 1000);
    fc.assert(
      fc.property(decimal, order, (value, wordOrder) => {
        const coded = register({ format: 'float32', wordOrder });
        assert.equal(decodeWords(coded, encodeWords(coded, value) as Buffer), value === 0 ? 0 : value);
      }),
    );
    for (const odd of [Number.NaN, Infinity]) {
      const words = Buffer.alloc(4);
      words.writeFloatBE(odd);
      assert.equal(decodeWords(register({ format: 'float32' }), words), null);
    }
  });

  test('what is scaled is the decimal that it should be, up to the last digit that a number holds', () => {
    const of = (format: Register['format'], digits: bigint, more: Partial<Register>) => {
      const words = Buffer.alloc(8);
      words.writeBigUInt64BE(BigInt.asUintN(64, digits));
      return decodeWords(register({ format, ...more }), words.subarray(format === 'int16' ? 6 : 0));
    };
    assert.equal(of('int16', 3901n, { scale: 0.01, offset: -40 }), -0.99);
    assert.equal(of('uint64', 2n ** 64n - 1n, { scale: 0.001 }), Number('18446744073709551.615'));
    assert.equal(of('int64', -(2n ** 53n) - 1n, { offset: 2 }), -9007199254740991);
    assert.equal(of('int16', -32_768n, { scale: 1e-7 }), -0.0032768);
    assert.equal(of('int16', 10n, { scale: 1e308 }), null);
  });

  test('what is written is exact, or refused with what to write', () => {
    const whole = (more: Partial<Register>, value: unknown) => {
      const words = encodeWords(register({ format: 'uint64', ...more }), value);
      return typeof words === 'string' ? words : words.readBigUInt64BE();
    };
    assert.equal(whole({ scale: 0.001 }, 1234567890123.456), 1234567890123456n);
    assert.equal(whole({ scale: 0.001 }, '18446744073709551.615'), 2n ** 64n - 1n);
    assert.equal(whole({}, '18446744073709551615'), 2n ** 64n - 1n);
    assert.equal(whole({}, 2 ** 53), 'a takes so large a number as text, "9007199254740992"');
    assert.equal(whole({}, 1.5), 'a takes a whole number');
    assert.equal(whole({}, '1.5'), 'a takes a whole number');
    assert.equal(encodeWords(register({}), 1.5), 'a takes a whole number');
    assert.equal(encodeWords(register({}), '15'), 'a takes a number');
  });

  test('text is UTF-8, or else Latin-1, up to its first zero byte and without the blanks at its end', () => {
    const read = (hex: string) => decodeWords(register({ format: 'string', length: 3 }), Buffer.from(hex, 'hex'));
    assert.deepEqual(['c2b043202020', 'b04320202020', 'c2b0c3b60041'].map(read), [
      '\u00b0C',
      '\u00b0C',
      '\u00b0\u00f6',
    ]);
  });

  test('a scaled integer comes back as the decimal that it was', () => {
    fc.assert(
      fc.property(fc.integer({ min: -32_768, max: 32_767 }), fc.constantFrom(0.1, 0.01, 0.5, 10), (raw, scale) => {
        const coded = register({ format: 'int16', scale, offset: -40 });
        const words = Buffer.alloc(2);
        words.writeInt16BE(raw);
        const value = decodeWords(coded, words);
        assert.ok(String(value).replace(/^-?\d+\.?/, '').length <= 2, `${value} has too many digits`);
        assert.deepEqual(encodeWords(coded, value), words);
      }),
    );
  });
});

describe('answers on the line', () => {
  test('the check values of the catalogue of CRCs', () => {
    const found = CHECKSUMS.map((kind) => [kind, checksum(kind, Buffer.from('123456789')).toString(16)]);
    assert.deepEqual(Object.fromEntries(found), {
      sum8: 'dd',
      'sum8-complement': '23',
      sum16: '1dd',
      xor8: '31',
      crc8: 'f4',
      'crc16-modbus': '4b37',
      'crc16-ccitt': '29b1',
      'crc16-x25': '906e',
      crc32: 'cbf43926',
    });
  });

  test('the example of the specification is framed as it says', () => {
    // "MODBUS Application Protocol" V1.1b3, section 6.3, with the CRC of unit 17.
    assert.equal(framed(17, readRequest('holding', 107, 3)).toString('hex'), '1103006b00037687');
    assert.equal(writeWordsRequest(1, Buffer.from('000a0102', 'hex')).toString('hex'), '1000010002' + '04000a0102');
  });

  test('an answer is found behind noise and the echo of its request, and never in noise alone', () => {
    const noise = fc.uint8Array({ maxLength: 40 });
    const address = fc.integer({ min: 0, max: 65_000 });
    fc.assert(
      fc.property(noise, address, fc.uint8Array({ minLength: 2, maxLength: 250 }), (before, at, raw) => {
        const data = Buffer.from(raw.subarray(0, raw.length & ~1));
        const request = readRequest('input', at, data.length / 2);
        const answer = framed(5, Buffer.concat([Buffer.from([4, data.length]), data]));
        const came = Buffer.concat([before, framed(5, request), answer]);
        assert.deepEqual(findAnswer(came, 5, request), { answer: { data }, surplus: 0 });
        for (const cut of [1, answer.length - 1]) {
          assert.equal(findAnswer(came.subarray(0, -cut), 5, request), undefined);
        }
        const broken = Buffer.from(came);
        broken[broken.length - 3]! ^= 0x10;
        assert.equal(findAnswer(broken, 5, request), undefined);
      }),
    );
  });
});
