import { crc16Modbus } from './checksum.ts';
import { utf8Text } from './decoders/decoder.ts';
import { NmeaLineDecoder } from './decoders/nmea.ts';
import type { Clock } from '../clock/clock.ts';

/** What bytes on a line look like; `certainty` is from 0 to 1. */
export interface LineGuess {
  readonly kind: 'silent' | 'nmea' | 'modbus' | 'json' | 'text' | 'noise';
  readonly certainty: number;
  /** For people: what speaks for it. */
  readonly because: string;
  /** Where the bytes say that they are of 7 bits with parity. */
  readonly parity7?: 'even' | 'odd';
}

/** At this certainty there is no need to look further. */
export const CERTAIN = 0.8;
/** Text of fewer bytes may be chance. */
const TEXT_BYTES_MIN = 8;
const TEXT_SHARE_MIN = 0.95;
/** Unit, function, address, count, CRC: a request of functions 1 to 6. */
const REQUEST_BYTES = 8;
const READ_FUNCTION_MAX = 4;
const SHORT_FUNCTION_MAX = 6;

/**
 * What these bytes may be, heard at one speed. At a wrong one nearly nothing but noise is heard: text needs printable
 * bytes, and sentences and Modbus their checksums.
 */
export function guessLine(bytes: Buffer, clock: Clock): LineGuess {
  if (bytes.length === 0) return { kind: 'silent', certainty: 0, because: 'nothing came' };
  const lines = wholeLines(bytes);
  const decoder = new NmeaLineDecoder({ minIntervalMs: 0, checksumRequired: true }, clock);
  const sentences = lines.filter((line) => 'body' in decoder.decode(line)).length;
  // One among many other lines is what the one that was here before has left.
  if (sentences > 0 && sentences * 2 >= lines.length) {
    const counted = sentences === 1 ? 'a sentence' : `${sentences} sentences`;
    return { kind: 'nmea', certainty: 1, because: `${counted} of NMEA 0183 with the right checksum` };
  }
  const units = modbusUnits(bytes);
  if (units.length > 0) {
    const because = `Modbus frames with the right CRC, of unit ${units.join(', ')}`;
    return { kind: 'modbus', certainty: 0.95, because };
  }
  const objects = lines.filter(isJsonObject).length;
  if (objects > 0 && objects * 2 >= lines.length) {
    return { kind: 'json', certainty: 0.95, because: objects === 1 ? 'a line of JSON' : `${objects} lines of JSON` };
  }
  const printable = share(bytes);
  if (bytes.length >= TEXT_BYTES_MIN && printable >= TEXT_SHARE_MIN) {
    return { kind: 'text', certainty: lines.length > 0 ? CERTAIN : 0.6, because: 'text' };
  }
  const plain = bytes.map((byte) => byte & 0x7f);
  if (bytes.length >= TEXT_BYTES_MIN && share(plain) >= TEXT_SHARE_MIN) {
    for (const [parity7, odd] of [['even', 0] as const, ['odd', 1] as const]) {
      if (!bytes.every((byte) => bitsIn(byte) % 2 === odd)) continue;
      return { kind: 'text', certainty: CERTAIN, because: `text in 7 bits with ${parity7} parity`, parity7 };
    }
  }
  return { kind: 'noise', certainty: printable / 4, because: 'bytes that make no sense at this speed' };
}

/** Lines that began and ended while we listened. */
function wholeLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let from = 0, end = bytes.indexOf(10); end >= 0; from = end + 1, end = bytes.indexOf(10, from)) {
    const line = bytes.subarray(from, end);
    if (line.length > 1) lines.push(line);
  }
  return lines;
}

function isJsonObject(line: Buffer): boolean {
  const text = utf8Text(line);
  if (text === undefined || !/^\s*[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Units of frames that pass by between another master and its slaves. */
function modbusUnits(bytes: Buffer): number[] {
  const units = new Set<number>();
  for (let at = 0; at + 5 <= bytes.length;) {
    const length = [REQUEST_BYTES, answerLength(bytes, at)].find((each) => isFrame(bytes, at, each));
    if (length !== undefined) units.add(bytes[at]!);
    at += length ?? 1;
  }
  return [...units].sort((a, b) => a - b);
}

function answerLength(bytes: Buffer, at: number): number {
  return bytes[at + 1]! <= READ_FUNCTION_MAX ? 5 + bytes[at + 2]! : REQUEST_BYTES;
}

function isFrame(bytes: Buffer, at: number, length: number): boolean {
  const code = bytes[at + 1]!;
  if (bytes[at] === 0 || bytes[at]! > 247 || code === 0 || code > SHORT_FUNCTION_MAX) return false;
  const end = at + length;
  return end <= bytes.length && crc16Modbus(bytes.subarray(at, end - 2)) === bytes.readUInt16LE(end - 2);
}

/** How much of it is printable ASCII. */
function share(bytes: Uint8Array): number {
  const printable = bytes.filter((byte) => (byte >= 0x20 && byte < 0x7f) || byte === 9 || byte === 10 || byte === 13);
  return printable.length / bytes.length;
}

function bitsIn(byte: number): number {
  let bits = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) bits++;
  return bits;
}
