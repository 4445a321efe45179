/*
 * As much of DER (ITU-T X.690) as certificates need, both ways.
 */

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The tag of `[number]`, holding other values or being one itself. */
export function contextTag(number: number, constructed: boolean): number {
  return 0x80 | (constructed ? 0x20 : 0) | number;
}

/** What should be DER is not, or not what should be there. */
export class DerError extends Error {}

export interface Der {
  readonly tag: number;
  readonly content: Buffer;
}

/** All values in a row. Throws {@link DerError}. */
export function readAll(bytes: Buffer): Der[] {
  const found: Der[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at]!;
    let length = bytes[at + 1] ?? -1;
    at += 2;
    if ((tag & 0x1f) === 0x1f || length === 0x80 || length < 0 || length > 0x84) throw new DerError('no DER');
    if (length > 0x80) {
      const size = length - 0x80;
      if (at + size > bytes.length) throw new DerError('cut short');
      length = bytes.readUIntBE(at, size);
      at += size;
    }
    if (at + length > bytes.length) throw new DerError('cut short');
    found.push({ tag, content: bytes.subarray(at, at + length) });
    at += length;
  }
  return found;
}

/** The values inside of one with this tag. Throws {@link DerError}. */
export function inside(value: Der | undefined, tag: number = TAG.sequence): Der[] {
  if (value?.tag !== tag) throw new DerError('another value was due');
  return readAll(value.content);
}

/** `1.2.840.113549.1.1.11`. Throws {@link DerError}. */
export function oidText(value: Der | undefined): string {
  if (value?.tag !== TAG.oid || value.content.length === 0) throw new DerError('an object identifier was due');
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of value.content) {
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new DerError('an arc too large');
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const first = Math.min(2, Math.floor(arcs[0]! / 40));
  return [first, arcs[0]! - first * 40, ...arcs.slice(1)].join('.');
}

/** UTCTime or GeneralizedTime as certificates have them (RFC 5280, 4.1.2.5), ms since 1970. Throws {@link DerError}. */
export function timeOf(value: Der | undefined): number {
  const text = value?.content.toString('latin1') ?? '';
  const short = value?.tag === TAG.utcTime && /^\d{12}Z$/.test(text);
  const long = value?.tag === TAG.generalizedTime && /^\d{14}Z$/.test(text);
  if (!short && !long) throw new DerError('a time was due');
  const full = short ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text;
  const [year, ...rest] = [full.slice(0, 4), ...(full.slice(4).match(/\d\d/g) ?? [])].map(Number);
  const [month = 1, day = 1, hour = 0, minute = 0, second = 0] = rest;
  return Date.UTC(year!, month - 1, day, hour, minute, second);
}

/** One value. */
export function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  const size = length < 0x100 ? 1 : length < 0x10000 ? 2 : 3;
  const head = Buffer.alloc(2 + size);
  head[0] = tag;
  head[1] = 0x80 | size;
  head.writeUIntBE(length, 2, size);
  return Buffer.concat([head, content]);
}

export function derSequence(...parts: readonly Buffer[]): Buffer {
  return der(TAG.sequence, ...parts);
}

export function derOid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift(0x80 | (left & 0x7f));
    return groups;
  });
  return der(TAG.oid, Buffer.from(bytes));
}

/** A positive whole number. */
export function derInteger(bytes: Buffer): Buffer {
  return der(TAG.integer, (bytes[0] ?? 0) >= 0x80 || bytes.length === 0 ? Buffer.concat([Buffer.of(0), bytes]) : bytes);
}

/** UTCTime to 2049 and GeneralizedTime after, as RFC 5280 wants it; whole seconds. */
export function derTime(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
  const year = Number(text.slice(0, 4));
  return year >= 1950 && year < 2050
    ? der(TAG.utcTime, Buffer.from(text.slice(2), 'latin1'))
    : der(TAG.generalizedTime, Buffer.from(text, 'latin1'));
}

/** Whole bytes as a bit string. */
export function derBits(bytes: Buffer, unusedBits = 0): Buffer {
  return der(TAG.bitString, Buffer.of(unusedBits), bytes);
}
