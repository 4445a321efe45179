import { StoreError } from '../store/store-error.ts';
import { crc32c } from '../store/crc32c.ts';

/** JSON behind its CRC-32C: LMDB itself does not notice a flipped bit. */
export function seal(value: unknown): Buffer {
  return sealBytes(Buffer.from(JSON.stringify(value), 'utf8'));
}

/** Bytes behind their CRC-32C. */
export function sealBytes(content: Buffer): Buffer {
  const bytes = Buffer.allocUnsafeSlow(4 + content.length);
  content.copy(bytes, 4);
  bytes.writeUInt32BE(crc32c(bytes, 4), 0);
  return bytes;
}

/** Whether a record is what was written behind its checksum, whatever it says. */
export function sealed(bytes: Buffer): boolean {
  return bytes.length >= 4 && bytes.readUInt32BE(0) === crc32c(bytes, 4);
}

/** Reads what {@link seal} made. Throws StoreError `damaged` when it is not that any more. */
export function unseal(bytes: Buffer, what: string): unknown {
  if (!sealed(bytes)) {
    throw new StoreError('damaged', `${what} do not match their checksum`);
  }
  return JSON.parse(bytes.toString('utf8', 4));
}
