import { randomFillSync } from 'node:crypto';

/** A ULID as its 16 bytes: 48 bits of milliseconds, 80 of chance (github.com/ulid/spec). */
export type Ulid = Buffer;

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const POOL_BYTES = 10 * 256;

const pool = Buffer.allocUnsafe(POOL_BYTES);
let drawn = POOL_BYTES;

/** A new ULID for a message taken on at `wall` (ms). Not monotonic within a millisecond: order is the spool's business. */
export function ulid(wall: number): Ulid {
  if (drawn === POOL_BYTES) {
    // One system call for 256 ids: asking the kernel for each would be the dearest part of accepting a message.
    randomFillSync(pool);
    drawn = 0;
  }
  const id = Buffer.allocUnsafe(16);
  id.writeUIntBE(Math.max(0, Math.floor(wall)) % 2 ** 48, 0, 6);
  pool.copy(id, 6, drawn, drawn + 10);
  drawn += 10;
  return id;
}

/** The 26 characters of Crockford base 32 that people and topics see. */
export function ulidText(id: Ulid): string {
  let text = '';
  // 128 bits in 26 characters of 5: the first character carries only 3 bits.
  let bits = 2;
  let acc = 0;
  for (let i = 0; i < 16; i++) {
    acc = (acc << 8) | (id[i] ?? 0);
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(acc >>> bits) & 31];
    }
    acc &= (1 << bits) - 1;
  }
  return text;
}

/** The id of these 26 characters; null when they are none. */
export function ulidFrom(text: string): Ulid | null {
  if (!/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(text)) return null;
  let bits = 0n;
  for (let i = 0; i < text.length; i++) bits = bits * 32n + BigInt(ALPHABET.indexOf(text[i]!));
  return Buffer.from(bits.toString(16).padStart(32, '0'), 'hex');
}
