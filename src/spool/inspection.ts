import { LANES, type Stored } from '../message/message.ts';
import { Complaints } from '../store/complaints.ts';
import type { Entry, Reader } from '../store/environment.ts';
import { checkPages } from '../store/page-check.ts';
import type { PageFile } from '../store/page-file.ts';
import { StoreError } from '../store/store-error.ts';
import { Account } from './account.ts';
import { BLOCK_HEADER_BYTES, BlockDamaged, decodeBlock, headerAsItStands } from './block.ts';
import { pendingOf, type Books } from './books.ts';
import { liesInPlace } from './dead-letters.ts';
import { booksIn, SpoolFiles } from './files.ts';
import {
  blockKey,
  companionPlace,
  isCompanion,
  isDeadLetter,
  isReserved,
  keyLane,
  keySeq,
  KEY_BYTES,
  LOSSES_KEY,
  RECORDS,
} from './keys.ts';
import { sealed, unseal } from './seal.ts';

/** What is read in one look: so many entries, bytes or ms. An open look keeps freed pages from reuse. */
const LOOK_ENTRIES_MAX = 200;
const LOOK_BYTES_MAX = 2 ** 20;
const LOOK_MS_MAX = 50;
/** Bodies after which a look at the head ends, bytes: it is held in memory whole, by a gateway that needs that for other things. */
const PEEK_BYTES_MAX = 4 * 2 ** 20;

/** What `holdfast spool verify` found; at most 100 problems are listed. */
export interface Verification {
  readonly blocks: number;
  readonly messages: number;
  readonly deadLetters: number;
  readonly problems: readonly string[];
  readonly problemCount: number;
}

/** Reads every entry and holds it against the books: checksums, keys, order, counts. Takes as long as the spool is large. */
export function verify(reader: Reader, books: Books): Verification {
  const complaints = new Complaints();
  const account = new Account(books, (complaint) => complaints.add(complaint));
  reader.scan(Buffer.of(0), ({ key, value }) => {
    const wrong = flawOf(key, value);
    if (wrong !== null) complaints.add(wrong);
    // A block that is not what was written holds nothing that could be counted.
    else account.entry(key, () => decodeBlock(value));
    return true;
  });
  account.close();
  return verification(complaints, account, books);
}

/**
 * The same for a whole file: first, in one short look, all its pages and the heads of all blocks against the books; then
 * every entry against its checksum, in looks of about 50 ms at most, between which the process does other things. What goes meanwhile is not missed.
 * `complaints` are those that `files` tells its own to.
 */
export async function verifyFiles(
  files: SpoolFiles,
  complaints: Complaints,
  monotonic: () => number,
): Promise<Verification> {
  const { account, books } = await files.look((file) => {
    checkPages(file, complaints);
    return accountOf(file, complaints);
  });
  for await (const entries of inLooks(files, monotonic)) {
    for (const { key, value } of entries.found) {
      const wrong = flawOf(key, value);
      if (wrong !== null) complaints.add(wrong);
    }
  }
  return verification(complaints, account, books);
}

/** {@link verifyFiles} for a file that nobody writes to. Throws StoreError `absent` when there is none. */
export async function verifyStopped(path: string, monotonic: () => number): Promise<Verification> {
  const complaints = new Complaints();
  try {
    const files = SpoolFiles.stopped(path, (error) => complaints.add(error.message));
    try {
      return await verifyFiles(files, complaints, monotonic);
    } finally {
      files.close();
    }
  } catch (error) {
    if (!(error instanceof StoreError) || error.fault === 'absent') throw error;
    complaints.add(error.message);
    return verification(complaints, null, null);
  }
}

/** Some entries of one commit, with the file that they are in. */
export interface Looked {
  readonly found: readonly Entry[];
  /** Null when they cannot be read. */
  readonly books: Books | null;
}

/**
 * All entries from `from` on and before `until`, in the order of their keys, in looks that are short. Each look begins with the
 * key that `beginning` makes of the least one after those that were seen.
 */
export async function* inLooks(
  files: SpoolFiles,
  monotonic: () => number,
  from: Buffer = Buffer.of(0),
  until: Buffer | null = null,
  beginning: (file: PageFile, key: Buffer) => Buffer = (_, key) => key,
): AsyncGenerator<Looked, void, void> {
  for (let next: Buffer | null = from; next !== null;) {
    const begin: Buffer = next;
    next = null;
    const found: Entry[] = [];
    const books = await files.look((file) => {
      const began = monotonic();
      let bytes = 0;
      file.scan(beginning(file, begin), (entry) => {
        if (until !== null && Buffer.compare(entry.key, until) >= 0) return false;
        found.push(entry);
        bytes += entry.value.length;
        // What was to be seen next is seen in every look, however large what comes before it is.
        if (Buffer.compare(entry.key, begin) < 0) return true;
        if (found.length < LOOK_ENTRIES_MAX && bytes < LOOK_BYTES_MAX && monotonic() - began < LOOK_MS_MAX) return true;
        // The least key after this one.
        next = Buffer.concat([entry.key, Buffer.of(0)]);
        return false;
      });
      return booksOrNull(file);
    });
    yield { found, books };
    // Whoever else has something to do in this process comes first.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function booksOrNull(file: PageFile): Books | null {
  try {
    return booksIn(file);
  } catch {
    return null;
  }
}

/** The account of one commit from the heads of its blocks; none where there are no books. */
function accountOf(file: PageFile, complaints: Complaints): { account: Account | null; books: Books | null } {
  let books: Books;
  try {
    books = booksIn(file);
  } catch (error) {
    // Where pages are damaged, that is why.
    complaints.add(complaints.count > 0 ? 'the books cannot be read' : (error as Error).message);
    return { account: null, books: null };
  }
  const account = new Account(books, (complaint) => complaints.add(complaint));
  file.scanHeads(Buffer.of(0), BLOCK_HEADER_BYTES, ({ key, value }) => {
    if (key.length !== KEY_BYTES || isReserved(key) || value.length < BLOCK_HEADER_BYTES) return true;
    account.entry(key, () => {
      const header = headerAsItStands(value);
      // Which of its messages are settled a block's head does not say: the few that lie across the mark are read.
      if (!account.needsMessages(key, header)) return { header, messages: [] };
      return decodeBlock(file.get(key) ?? value);
    });
    return true;
  });
  account.close();
  return { account, books };
}

/** What is wrong with an entry by itself: its bytes against their checksum, its key against what it holds; null if nothing is. */
function flawOf(key: Buffer, value: Buffer): string | null {
  const name = nameOf(key);
  if (name === null) return `there is something under a key that the spool does not have: ${key.toString('hex')}`;
  try {
    if (isCompanion(key)) return sealed(value) ? null : `${name} does not match its checksum`;
    if (isReserved(key)) {
      const content = key.equals(LOSSES_KEY) ? unseal(value, name) : null;
      if (key.equals(LOSSES_KEY) && !Array.isArray(content)) return `${name} are no list`;
      if (!sealed(value)) return `${name} does not match its checksum`;
      return null;
    }
    const { header, messages } = decodeBlock(value);
    if (isDeadLetter(key)) {
      if (messages.length !== 1) return `${name} holds ${messages.length} messages`;
      return liesInPlace(keySeq(key), messages[0]!) ? null : `${name} lies under another one's number`;
    }
    if (header.lane !== keyLane(key) || header.firstSeq !== keySeq(key))
      return `${name} lies under another block's key`;
    return null;
  } catch (error) {
    if (error instanceof BlockDamaged) return `${name}: ${error.message}`;
    if (error instanceof StoreError || error instanceof SyntaxError) return error.message;
    throw error;
  }
}

/** What the key is for; null when it is none of ours. */
function nameOf(key: Buffer): string | null {
  if (key.length !== KEY_BYTES) return null;
  if (isReserved(key))
    return key[1]! < RECORDS && key.readUIntBE(2, 6) === 0 ? `the record ${key.toString('hex', 0, 2)}` : null;
  if (isDeadLetter(key)) return `dead letter ${keySeq(key)}`;
  if (isCompanion(key)) {
    const { kind, number } = companionPlace(key);
    return `the rules' record ${number} of kind ${kind}`;
  }
  return keyLane(key) < LANES ? `block of lane ${keyLane(key)} ${keySeq(key)}` : null;
}

function verification(complaints: Complaints, account: Account | null, books: Books | null): Verification {
  return {
    blocks: account?.blocks ?? 0,
    messages: books === null ? 0 : pendingOf(books),
    deadLetters: account?.deadLetters ?? 0,
    problems: complaints.listed,
    problemCount: complaints.count,
  };
}

/** The first `count` pending messages, lane by lane, oldest first; fewer when their bodies are large. */
export function peek(reader: Reader, books: Books, count: number, onlyLane?: number): Stored[] {
  const found: Stored[] = [];
  let bytes = 0;
  reader.scan(blockKey(onlyLane ?? 0, 0), ({ key, value }) => {
    const lane = keyLane(key);
    if (lane >= LANES || (onlyLane !== undefined && lane !== onlyLane) || found.length >= count) return false;
    if (bytes >= PEEK_BYTES_MAX) return false;
    try {
      for (const stored of decodeBlock(value).messages) {
        if (stored.seq <= books.lanes[lane]!.settledTo || found.length >= count) continue;
        found.push(stored);
        bytes += stored.message.body.length;
      }
    } catch (error) {
      // What cannot be read is `verify`'s to report.
      if (!(error instanceof BlockDamaged)) throw error;
    }
    return true;
  });
  return found;
}
