import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { syncFolder, writePrivate } from './private-file.ts';

/** Bytes of a key: AES-256. */
export const KEY_BYTES = 32;
/** Bytes that name a key in each record that it seals. */
export const KEY_ID_BYTES = 4;
/** What the key is called, in `$CREDENTIALS_DIRECTORY` and in `dataDir/keys`. */
export const KEY_NAME = 'holdfast-key';
/** The credential with the key before that one, for the one start in which everything is sealed anew. */
export const OLD_KEY_NAME = 'holdfast-key-old';
const NEXT_SUFFIX = '.next';

/** One key, and the name by which records say which one they need. */
export interface SealKey {
  readonly id: Buffer;
  readonly bytes: Buffer;
  /** Where it came from, for what is said to people. */
  readonly place: string;
}

/** The keys of a gateway. */
export interface Keyring {
  /** Seals whatever is written. */
  readonly primary: SealKey;
  /** Open what was sealed before; everything is sealed anew with the primary one at the start. */
  readonly others: readonly SealKey[];
  /** Makes a new key and keeps it beside the one in use; null when the key is a systemd credential, which is not ours to make. */
  readonly next: (() => SealKey) | null;
  /** Everything is sealed with the primary key: it takes the place of the one before. */
  readonly settle: () => void;
}

/** A key that cannot be used, or sealed records that it does not open. Nothing was changed. */
export class SealError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SealError';
  }
}

/**
 * Finds the keys: the systemd credential `holdfast-key` (32 bytes, or their base64 or hex as text), else the file
 * `dataDir/keys/holdfast-key`. With neither, and when `mayMake`, a new file is made, mode 0600, on the medium when this
 * returns. Throws {@link SealError}.
 */
export function findKeys(
  keysDir: string,
  mayMake: boolean,
  credentialsDir = process.env['CREDENTIALS_DIRECTORY'],
): Keyring {
  const file = join(keysDir, KEY_NAME);
  const credential = credentialsDir === undefined || credentialsDir === '' ? null : join(credentialsDir, KEY_NAME);
  if (credential !== null && existsSync(credential)) {
    // The file of a gateway that had no credential before, and the credential before this one.
    const before = [join(dirname(credential), OLD_KEY_NAME), file, file + NEXT_SUFFIX].filter((path) =>
      existsSync(path),
    );
    return { primary: readKey(credential), others: before.map(readKey), next: null, settle: () => undefined };
  }
  if (!existsSync(file)) {
    if (!mayMake) {
      const places = [credential, file].filter((place) => place !== null).join(' or ');
      throw new SealError(
        `the children's credentials are sealed, and the key is not in ${places}: bring it back, or, if it is lost, move the state folder away and add the children again`,
      );
    }
    writeKey(file, randomBytes(KEY_BYTES));
  }
  const settle = () => {
    if (!existsSync(file + NEXT_SUFFIX)) return;
    renameSync(file + NEXT_SUFFIX, file);
    syncFolder(keysDir);
  };
  const next = () => {
    writeKey(file + NEXT_SUFFIX, randomBytes(KEY_BYTES));
    return readKey(file + NEXT_SUFFIX);
  };
  // There is a next one when a change of keys was cut off: it is whole, and the change goes on.
  if (!existsSync(file + NEXT_SUFFIX)) return { primary: readKey(file), others: [], next, settle };
  return { primary: readKey(file + NEXT_SUFFIX), others: [readKey(file)], next, settle };
}

/** A key's name: the start of a digest, which says nothing of the key. */
function keyId(bytes: Buffer): Buffer {
  return createHash('sha256').update('holdfast seal key\0').update(bytes).digest().subarray(0, KEY_ID_BYTES);
}

function readKey(path: string): SealKey {
  let found: Buffer;
  try {
    found = readFileSync(path);
  } catch (error) {
    throw new SealError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  const bytes = keyIn(found);
  if (bytes === null) throw new SealError(`${path}: is not a key of ${KEY_BYTES} bytes (nor base64 or hex of one)`);
  return { id: keyId(bytes), bytes, place: path };
}

function keyIn(found: Buffer): Buffer | null {
  if (found.length === KEY_BYTES) return found;
  const text = found.toString('latin1').trim();
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  return /^[A-Za-z0-9+/]{43}=$/.test(text) ? Buffer.from(text, 'base64') : null;
}

function writeKey(path: string, bytes: Buffer): void {
  try {
    writePrivate(path, bytes);
  } catch (error) {
    throw new SealError(`${path}: cannot be made (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}
