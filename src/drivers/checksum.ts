import type { CHECKSUMS } from '../config/frame.ts';

export type Checksum = (typeof CHECKSUMS)[number];

/** Bytes that a checksum takes on the wire. */
export const CHECKSUM_BYTES: Readonly<Record<Checksum, number>> = {
  sum8: 1,
  'sum8-complement': 1,
  sum16: 2,
  xor8: 1,
  crc8: 1,
  'crc16-modbus': 2,
  'crc16-ccitt': 2,
  'crc16-x25': 2,
  crc32: 4,
};

/**
 * - `sum8` and `sum16`: all bytes added, modulo 2^8 and 2^16; `sum8-complement`: what makes that sum 0. `xor8`: all XORed.
 * - `crc8`: CRC-8/SMBUS, polynomial 07, begins with 00.
 * - `crc16-modbus`: CRC-16/MODBUS ("MODBUS over serial line" V1.02, section 2.5.1.2).
 * - `crc16-ccitt`: CRC-16/IBM-3740, often called CCITT-FALSE: polynomial 1021, begins with FFFF.
 * - `crc16-x25`: CRC-16/IBM-SDLC, the frame check sequence of HDLC.
 * - `crc32`: CRC-32/ISO-HDLC, that of Ethernet and zip.
 */
export function checksum(kind: Checksum, bytes: Uint8Array): number {
  switch (kind) {
    case 'sum8':
      return sum(bytes) & 0xff;
    case 'sum8-complement':
      return -sum(bytes) & 0xff;
    case 'sum16':
      return sum(bytes) & 0xffff;
    case 'xor8':
      return exclusiveOr(bytes);
    case 'crc8':
      return highFirst(CRC8, 0, 8, bytes);
    case 'crc16-modbus':
      return crc16Modbus(bytes);
    case 'crc16-ccitt':
      return highFirst(CCITT, 0xffff, 16, bytes);
    case 'crc16-x25':
      return lowFirst(X25, 0xffff, bytes) ^ 0xffff;
    case 'crc32':
      return ~lowFirst(CRC32, -1, bytes) >>> 0;
  }
}

export function crc16Modbus(bytes: Uint8Array): number {
  return lowFirst(MODBUS, 0xffff, bytes);
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at++) total += bytes[at]!;
  return total;
}

function exclusiveOr(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at++) total ^= bytes[at]!;
  return total;
}

// Plain loops and no callback for each byte: in a line of noise a checksum may be tried at every one.
function lowFirst(table: Uint32Array, begin: number, bytes: Uint8Array): number {
  let crc = begin;
  for (let at = 0; at < bytes.length; at++) crc = (crc >>> 8) ^ table[(crc ^ bytes[at]!) & 0xff]!;
  return crc;
}

function highFirst(table: Uint16Array, begin: number, width: 8 | 16, bytes: Uint8Array): number {
  const mask = 2 ** width - 1;
  let crc = begin;
  for (let at = 0; at < bytes.length; at++) crc = ((crc << 8) & mask) ^ table[(crc >>> (width - 8)) ^ bytes[at]!]!;
  return crc;
}

const CRC8 = left(0x07, 8);
const CCITT = left(0x1021, 16);
const MODBUS = right(0xa001);
const X25 = right(0x8408);
const CRC32 = right(0xedb88320);

/** Table of a CRC that takes the highest bit first. */
function left(polynomial: number, width: 8 | 16): Uint16Array {
  const top = 1 << (width - 1);
  const mask = 2 ** width - 1;
  return Uint16Array.from({ length: 256 }, (_, byte) => {
    let crc = byte << (width - 8);
    for (let bit = 0; bit < 8; bit++) crc = (crc & top) === 0 ? crc << 1 : (crc << 1) ^ polynomial;
    return crc & mask;
  });
}

/** Table of a CRC that takes the lowest bit first; the polynomial is written in that order too. */
function right(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ polynomial;
    return crc;
  });
}
