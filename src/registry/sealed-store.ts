import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { StateEntry } from '../store/state.ts';
import { findKeys, KEY_ID_BYTES, SealError, type Keyring, type SealKey } from './seal-key.ts';

/*
 * A sealed record, under `sealed/` and its name in the state environment:
 *
 *   1  format, 1
 *   4  key id: the first bytes of SHA-256("holdfast seal key\0" | key)
 *   12 nonce, random
 *   n  AES-256-GCM (NIST SP 800-38D) of the value
 *   16 tag
 *
 * The additional data are the first five bytes and the record's name, so that no record can be put in another's place. Random
 * nonces are good for 2^32 records of one key (SP 800-38D, 8.3): at ten a second more than ten years.
 */
const FORMAT = 1;
const HEAD_BYTES = 1 + KEY_ID_BYTES;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PREFIX = 'sealed/';
/** Longest name: with the prefix it stays under LMDB's 511 bytes of key. */
const NAME_BYTES_MAX = 480;
/** What one transaction carries while everything is sealed anew, bytes. */
const RESEAL_BYTES = 2 ** 20;

/** What seals: the state environment, or as much of it as can be read. */
export interface SealedMedium {
  bytes(name: string): Buffer | null;
  names(prefix: string): string[];
  putBytes(entries: readonly StateEntry[]): Promise<void>;
}

/**
 * Small values by name, encrypted on the medium: who takes the card away has nothing of children, credentials, twins or
 * sessions without the key. One writer; the changes of one `put` happen together.
 */
export class SealedStore {
  readonly #medium: SealedMedium;
  readonly #keyring: Keyring;
  #primary: SealKey;
  #others: readonly SealKey[];
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(medium: SealedMedium, keyring: Keyring) {
    this.#medium = medium;
    this.#keyring = keyring;
    this.#primary = keyring.primary;
    this.#others = keyring.others;
  }

  /**
   * Finds the key (see {@link findKeys}) and sees that it opens what is there; a change of keys that was cut off goes on.
   * Throws {@link SealError} when the key is not there, or opens nothing of it. Nothing is deleted then.
   */
  static async open(
    medium: SealedMedium,
    keysDir: string,
    credentialsDir = process.env['CREDENTIALS_DIRECTORY'],
  ): Promise<SealedStore> {
    const names = medium.names(PREFIX);
    const store = new SealedStore(medium, findKeys(keysDir, names.length === 0, credentialsDir));
    store.#mustKnowSome(names);
    // A medium that takes no writes keeps nobody from reading: both keys are needed until a later start, then.
    if (store.#others.length > 0) await store.#sealAnew().catch(() => undefined);
    return store;
  }

  /**
   * Where the key is that {@link open} would use, having seen that it opens what is there; null when nothing is sealed. Nothing is
   * changed. Throws {@link SealError} as it does.
   */
  static placeOfKey(
    medium: Pick<SealedMedium, 'bytes' | 'names'>,
    keysDir: string,
    credentialsDir = process.env['CREDENTIALS_DIRECTORY'],
  ): string | null {
    const names = medium.names(PREFIX);
    if (names.length === 0) return null;
    const readOnly = { ...medium, putBytes: () => Promise.reject(new Error('nothing is written here')) };
    const store = new SealedStore(readOnly, findKeys(keysDir, false, credentialsDir));
    store.#mustKnowSome(names);
    return store.#primary.place;
  }

  /** The value of a record, or null when there is none. Throws {@link SealError} when it was tampered with or damaged. */
  get(name: string): Buffer | null {
    const record = this.#medium.bytes(PREFIX + name);
    return record === null ? null : this.#unsealed(name, record);
  }

  /** Durable when it resolves: all of the changes or, when it rejects, none. null deletes. In the order of the calls. */
  put(changes: readonly (readonly [name: string, value: Buffer | null])[]): Promise<void> {
    for (const [name] of changes) {
      if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new Error(`the name of a sealed record is too long: ${name}`);
    }
    return this.#turn(() =>
      this.#medium.putBytes(
        changes.map(([name, value]) => [PREFIX + name, value === null ? null : this.#sealed(name, value)] as const),
      ),
    );
  }

  /** The names that begin so, in the order of their bytes. */
  names(prefix: string): string[] {
    return this.#medium.names(PREFIX + prefix).map((name) => name.slice(PREFIX.length));
  }

  /**
   * Makes a new key and seals everything with it; whoever writes or reads meanwhile notices nothing. Cut off at any moment it
   * goes on at the next start. Throws {@link SealError} when the key is a systemd credential.
   */
  async rotate(): Promise<void> {
    await this.#turn(async () => {
      const { next } = this.#keyring;
      if (next === null) {
        throw new SealError(
          'the key is a systemd credential: give the new one as holdfast-key and the one before as holdfast-key-old, and restart',
        );
      }
      if (this.#others.length > 0) {
        throw new SealError(
          'an earlier change of keys is not finished: a record cannot be read, or the medium takes no writes',
        );
      }
      const fresh = next();
      this.#others = [this.#primary];
      this.#primary = fresh;
    });
    await this.#sealAnew();
  }

  /** Resolves when all that was asked of it has been done. */
  async settled(): Promise<void> {
    await this.#queue;
  }

  /** In parts, each in its turn, so that neither memory nor others' writes have to wait for all of it. */
  async #sealAnew(): Promise<void> {
    const names = this.#medium.names(PREFIX);
    while (names.length > 0) {
      await this.#turn(async () => {
        const changes: StateEntry[] = [];
        let bytes = 0;
        while (bytes < RESEAL_BYTES) {
          const name = names.shift();
          if (name === undefined) break;
          const record = this.#medium.bytes(name);
          // Deleted meanwhile, or written with the new key already.
          if (record === null || keyIdOf(record).equals(this.#primary.id)) continue;
          const own = name.slice(PREFIX.length);
          try {
            changes.push([name, this.#sealed(own, this.#unsealed(own, record))]);
            bytes += record.length;
          } catch (error) {
            if (!(error instanceof SealError)) throw error;
          }
        }
        if (changes.length > 0) await this.#medium.putBytes(changes);
      });
    }
    await this.#turn(async () => {
      // What cannot be read stays as it is, and with it the key that it was sealed with.
      const left = this.#medium.names(PREFIX).map((name) => this.#medium.bytes(name));
      if (!left.every((record) => record === null || keyIdOf(record).equals(this.#primary.id))) return;
      this.#keyring.settle();
      this.#others = [];
    });
  }

  /** One record may be damaged; that our keys open none of them means that they are not the right ones. */
  #mustKnowSome(names: readonly string[]): void {
    const records = names.map((name) => this.#medium.bytes(name)).filter((record) => record !== null);
    if (records.length === 0 || records.some((record) => this.#keyOf(record) !== undefined)) return;
    const places = [this.#primary, ...this.#others].map(({ place }) => place).join(', ');
    throw new SealError(
      `what is kept of the children was sealed with another key than that in ${places}: nothing was changed; bring the right key back`,
    );
  }

  #keyOf(record: Buffer): SealKey | undefined {
    return [this.#primary, ...this.#others].find(({ id }) => id.equals(keyIdOf(record)));
  }

  #sealed(name: string, value: Buffer): Buffer {
    const head = Buffer.concat([Buffer.of(FORMAT), this.#primary.id]);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#primary.bytes, nonce);
    cipher.setAAD(Buffer.concat([head, Buffer.from(name, 'utf8')]));
    return Buffer.concat([head, nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
  }

  #unsealed(name: string, record: Buffer): Buffer {
    const key = this.#keyOf(record);
    if (record.length < HEAD_BYTES + NONCE_BYTES + TAG_BYTES || record[0] !== FORMAT || key === undefined) {
      throw new SealError(
        `the sealed record ${JSON.stringify(name)} cannot be read: it has another format or another key`,
      );
    }
    const nonce = record.subarray(HEAD_BYTES, HEAD_BYTES + NONCE_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', key.bytes, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.concat([record.subarray(0, HEAD_BYTES), Buffer.from(name, 'utf8')]));
    decipher.setAuthTag(record.subarray(record.length - TAG_BYTES));
    try {
      const text = record.subarray(HEAD_BYTES + NONCE_BYTES, record.length - TAG_BYTES);
      return Buffer.concat([decipher.update(text), decipher.final()]);
    } catch {
      throw new SealError(`the sealed record ${JSON.stringify(name)} is damaged or was put there by somebody else`);
    }
  }

  /** One thing at a time: sealing anew must not undo what is written meanwhile. */
  #turn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(act);
    this.#queue = done.catch(() => undefined);
    return done;
  }
}

function keyIdOf(record: Buffer): Buffer {
  return record.subarray(1, HEAD_BYTES);
}
