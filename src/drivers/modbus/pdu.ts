import { crc16Modbus } from '../checksum.ts';
import type { RegisterType } from './register.ts';

/**
 * Requests and answers of "MODBUS Application Protocol" V1.1b3, and their frames of "MODBUS over serial line" V1.02 (RTU):
 * unit, function, data, CRC with its low byte first.
 */

/** Longest frame, bytes. */
export const FRAME_BYTES_MAX = 256;
/** Most that one request may write (sections 6.11 and 6.12). */
export const WRITE_WORDS_MAX = 123;
export const WRITE_BITS_MAX = 1968;

const READ_FUNCTION: Readonly<Record<RegisterType, number>> = { coil: 1, discrete: 2, holding: 3, input: 4 };
const WRITE_COIL = 5;
const WRITE_WORD = 6;
const WRITE_COILS = 15;
const WRITE_WORDS = 16;
const EXCEPTION_BIT = 0x80;
const CRC_BYTES = 2;
/** Unit, function, exception code, CRC. */
const EXCEPTION_BYTES = 5;

/** Section 7. */
const EXCEPTIONS: Readonly<Record<number, string>> = {
  1: 'illegal function',
  2: 'illegal data address',
  3: 'illegal data value',
  4: 'device failure',
  5: 'acknowledged, and takes long',
  6: 'device busy',
  7: 'refused',
  8: 'memory parity error',
  10: 'gateway path unavailable',
  11: 'gateway target does not answer',
};

export const ILLEGAL_ADDRESS = 2;
export const ILLEGAL_VALUE = 3;
export const DEVICE_BUSY = 6;

/** `exception 2, illegal data address`. */
export function exceptionText(code: number): string {
  return `exception ${code}, ${EXCEPTIONS[code] ?? 'unknown'}`;
}

export function readRequest(type: RegisterType, address: number, count: number): Buffer {
  const pdu = Buffer.alloc(5);
  pdu.writeUInt8(READ_FUNCTION[type]);
  pdu.writeUInt16BE(address, 1);
  pdu.writeUInt16BE(count, 3);
  return pdu;
}

/** Function 5, or 15 for several or when `multiple`. */
export function writeCoilsRequest(address: number, values: readonly boolean[], multiple = false): Buffer {
  if (values.length === 1 && !multiple) return fixed(WRITE_COIL, address, values[0] === true ? 0xff00 : 0);
  const bits = Buffer.alloc(Math.ceil(values.length / 8));
  values.forEach((value, at) => {
    if (value) bits[at >> 3]! |= 1 << (at & 7);
  });
  return Buffer.concat([fixed(WRITE_COILS, address, values.length), Buffer.from([bits.length]), bits]);
}

/** Function 6, or 16 for several words or when `multiple`. */
export function writeWordsRequest(address: number, words: Buffer, multiple = false): Buffer {
  if (words.length === 2 && !multiple) return fixed(WRITE_WORD, address, words.readUInt16BE());
  return Buffer.concat([fixed(WRITE_WORDS, address, words.length / 2), Buffer.from([words.length]), words]);
}

function fixed(code: number, address: number, value: number): Buffer {
  const pdu = Buffer.alloc(5);
  pdu.writeUInt8(code);
  pdu.writeUInt16BE(address, 1);
  pdu.writeUInt16BE(value, 3);
  return pdu;
}

export function framed(unit: number, pdu: Buffer): Buffer {
  const frame = Buffer.alloc(1 + pdu.length + CRC_BYTES);
  frame.writeUInt8(unit);
  pdu.copy(frame, 1);
  frame.writeUInt16LE(crc16Modbus(frame.subarray(0, -CRC_BYTES)), frame.length - CRC_BYTES);
  return frame;
}

/** Bytes of the frame that answers this request. */
export function answerBytes(request: Buffer): number {
  return 1 + (dataBytes(request) ?? 3) + 2 + CRC_BYTES;
}

/** Bytes that a read asks for; undefined for a write. */
function dataBytes(request: Buffer): number | undefined {
  const code = request[0]!;
  if (code > 4) return undefined;
  const count = request.readUInt16BE(3);
  return code <= 2 ? Math.ceil(count / 8) : count * 2;
}

/** The data of a read without its length (empty for a write), or the code of an exception. */
export type Answer = { readonly data: Buffer } | { readonly exception: number };

/** An answer, and how many bytes came after it. */
export interface FoundAnswer {
  readonly answer: Answer;
  readonly surplus: number;
}

/**
 * The answer to `request` among the bytes that came since, or undefined while it is not there. Bytes before it (noise from
 * switching the line's direction, an adapter's echo of a read) are passed over: only a frame of the right unit, function, length
 * and CRC counts.
 */
export function findAnswer(bytes: Buffer, unit: number, request: Buffer): FoundAnswer | undefined {
  const code = request[0]!;
  const wanted = dataBytes(request);
  const whole = answerBytes(request);
  for (let at = bytes.indexOf(unit); at >= 0; at = bytes.indexOf(unit, at + 1)) {
    if (bytes[at + 1] === (code | EXCEPTION_BIT)) {
      if (!isSound(bytes, at, EXCEPTION_BYTES)) continue;
      return { answer: { exception: bytes[at + 2]! }, surplus: bytes.length - at - EXCEPTION_BYTES };
    } else if (bytes[at + 1] === code && isSound(bytes, at, whole)) {
      const pdu = bytes.subarray(at + 1, at + whole - CRC_BYTES);
      const fits = wanted === undefined ? pdu.equals(request.subarray(0, pdu.length)) : pdu[1] === wanted;
      const data = wanted === undefined ? Buffer.alloc(0) : Buffer.from(pdu.subarray(2));
      if (fits) return { answer: { data }, surplus: bytes.length - at - whole };
    }
  }
  return undefined;
}

/**
 * Whether what answers `request` could as well be an answer to `other`. Reads are alike that ask for as many bytes, writes that
 * are answered with the same words, and exceptions of one function; without an answer: whether any answer could.
 */
export function couldAnswer(answer: Answer | null, request: Buffer, other: Buffer): boolean {
  if (request[0] !== other[0]) return false;
  if (answer === null || 'exception' in answer) return true;
  const bytes = dataBytes(request);
  return bytes === undefined ? other.subarray(0, 5).equals(request.subarray(0, 5)) : dataBytes(other) === bytes;
}

function isSound(bytes: Buffer, at: number, length: number): boolean {
  const end = at + length;
  return (
    end <= bytes.length && crc16Modbus(bytes.subarray(at, end - CRC_BYTES)) === bytes.readUInt16LE(end - CRC_BYTES)
  );
}

/** The bit at `index` of the data of a read of coils or discrete inputs. */
export function bitOf(data: Buffer, index: number): boolean {
  return ((data[index >> 3]! >> (index & 7)) & 1) === 1;
}
