import { RecordBuffer, RecordReader } from '../message/binary.ts';
import { DROP_REASONS } from '../message/loss.ts';
import { StoreError } from '../store/store-error.ts';
import type { ChildCounts } from './block.ts';
import { crc32c } from '../store/crc32c.ts';
import { sealed } from './seal.ts';
import { droppedOf, emptyAccount, type Account } from './ledger.ts';

/** Children with an account of their own; those that come later share one. */
const CHILDREN_MAX = 512;
/** The account of all those beyond it. No child can be called that. */
export const OTHERS = '*';
/** The account that takes what cannot be put down to anybody: messages of blocks that nobody can read. */
export const NOBODY = '?';

const VERSION = 1;

/**
 * The account of each child. Kept in binary: a hundred children take 2 KB of every commit, where JSON would take 10.
 *
 *   CRC-32C u32 of the rest | version u8 | children varint, each:
 *   id (varint length, UTF-8) | accepted, delivered, dead letters varint | reasons varint, each: place in DROP_REASONS, count
 */
export class ChildAccounts {
  readonly #accounts = new Map<string, Account>();

  /** The account of a child; may be changed in place. */
  of(child: string): Account {
    const known = this.#accounts.get(child);
    if (known !== undefined) return known;
    if (this.#accounts.size >= CHILDREN_MAX && child !== OTHERS && child !== NOBODY) return this.of(OTHERS);
    const account = emptyAccount();
    this.#accounts.set(child, account);
    return account;
  }

  /** Forgets an account in which nothing stands. */
  forgetEmpty(child: string): void {
    const account = this.#accounts.get(child);
    if (account !== undefined && droppedOf(account) + account.accepted + account.delivered + account.deadLetters === 0)
      this.#accounts.delete(child);
  }

  /** May be changed in place. */
  accounts(): Iterable<Account> {
    return this.#accounts.values();
  }

  entries(): Iterable<readonly [string, Readonly<Account>]> {
    return this.#accounts;
  }

  /** The record, with so many accepted messages of each child left out. */
  encode(without: ChildCounts): Buffer {
    const record = new RecordBuffer(64 * (this.#accounts.size + 1));
    record.bytes(Buffer.from([0, 0, 0, 0, VERSION]));
    record.varint(this.#accounts.size);
    for (const [child, account] of this.#accounts) {
      record.text(child);
      record.varint(account.accepted - (without.get(child) ?? 0));
      record.varint(account.delivered);
      record.varint(account.deadLetters);
      const reasons = DROP_REASONS.flatMap((reason, place) => {
        const count = account.dropped[reason] ?? 0;
        return count === 0 ? [] : [[place, count] as const];
      });
      record.varint(reasons.length);
      for (const [place, count] of reasons) {
        record.varint(place);
        record.varint(count);
      }
    }
    // A copy of its own: the buffer must stay as it is until the commit has ended.
    const bytes = Buffer.from(record.view());
    bytes.writeUInt32BE(crc32c(bytes, 4), 0);
    return bytes;
  }

  /** Throws StoreError `damaged` when the record is not what was written. */
  static decode(bytes: Buffer): ChildAccounts {
    if (bytes.length < 5 || !sealed(bytes)) {
      throw new StoreError('damaged', 'the accounts of the children do not match their checksum');
    }
    if (bytes[4] !== VERSION) throw new Error(`the accounts of the children have format ${bytes[4]}`);
    const accounts = new ChildAccounts();
    const record = new RecordReader(bytes.subarray(5));
    for (let children = record.varint(); children > 0; children--) {
      const account = accounts.of(record.text());
      account.accepted = record.varint();
      account.delivered = record.varint();
      account.deadLetters = record.varint();
      for (let reasons = record.varint(); reasons > 0; reasons--) {
        const reason = DROP_REASONS[record.varint()];
        const count = record.varint();
        if (reason !== undefined) account.dropped[reason] = count;
      }
    }
    return accounts;
  }
}
