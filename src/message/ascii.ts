const BACKSLASH = 0x5c;

/** Printable ASCII as it is, all other bytes, and the backslash, as `\xNN`. Text counts as UTF-8. */
export function inAscii(text: Buffer | string): string {
  return Array.from(Buffer.from(text), (byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== BACKSLASH
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('');
}
