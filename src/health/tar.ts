/** A file of an archive. */
export interface TarEntry {
  readonly name: string;
  readonly bytes: Buffer;
}

const BLOCK_BYTES = 512;
/** The `name` of a header, bytes. */
const NAME_BYTES_MAX = 100;

/** An archive in the ustar format (POSIX.1-2001, pax, "ustar Interchange Format"); `mtimeSecs` is every file's. */
export function tar(entries: readonly TarEntry[], mtimeSecs: number): Buffer {
  const parts: Buffer[] = [];
  for (const { name, bytes } of entries) {
    if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new Error(`${name}: too long for a tar archive`);
    const header = Buffer.alloc(BLOCK_BYTES);
    const field = (text: string, at: number) => header.write(text, at, 'latin1');
    const octal = (value: number, at: number, digits: number) => field(value.toString(8).padStart(digits, '0'), at);
    header.write(name, 0, 'utf8');
    octal(0o600, 100, 7);
    octal(0, 108, 7);
    octal(0, 116, 7);
    octal(bytes.length, 124, 11);
    octal(Math.max(0, Math.floor(mtimeSecs)), 136, 11);
    // The sum is made with blanks in its place.
    field(' '.repeat(8), 148);
    field('0', 156);
    field('ustar\0' + '00', 257);
    let sum = 0;
    for (const byte of header) sum += byte;
    field(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    const padding = (BLOCK_BYTES - (bytes.length % BLOCK_BYTES)) % BLOCK_BYTES;
    parts.push(header, bytes, Buffer.alloc(padding));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)]);
}
