import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { LossRow } from '../../src/message/loss.ts';
import { LANES, type Stored } from '../../src/message/message.ts';
import { decodeBlock, type BlockHeader } from '../../src/spool/block.ts';
import type { Books } from '../../src/spool/books.ts';
import { booksIn } from '../../src/spool/files.ts';
import { verify } from '../../src/spool/inspection.ts';
import { isDeadLetter, keyLane, LOSSES_KEY } from '../../src/spool/keys.ts';
import { droppedOf, restOf, type Account } from '../../src/spool/ledger.ts';
import { unseal } from '../../src/spool/seal.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { DATA_FILE } from '../../src/store/data-file.ts';
import type { Change, Environment } from '../../src/store/environment.ts';
import type { Reader } from '../../src/store/reader.ts';
import { StoreError } from '../../src/store/store-error.ts';
import type { SpoolRig } from './spool-rig.ts';

const PAGE_BYTES = 4096;

/** What lies on the medium after the last commit. */
export interface Seen {
  readonly books: Books;
  /** By lane, by number: what is neither settled nor gone. */
  readonly pending: readonly ReadonlyMap<number, Stored>[];
  readonly blocks: readonly (readonly BlockHeader[])[];
  readonly letters: readonly Stored[];
  readonly rows: readonly LossRow[];
}

/**
 * Throws unless `verify` finds nothing, and the account is even: of the whole, of each lane, of each child, and the lanes' and
 * the children's summed up.
 */
function sound(reader: Reader): Books {
  const books = booksIn(reader);
  const { problems } = verify(reader, books);
  assert.deepEqual(problems, [], 'verify found something');
  even(books);
  return books;
}

/** Holds what the last commit left against itself ({@link sound}), unless it is the commit that has passed already. */
export class SoundCheck {
  #passed: Buffer = Buffer.of();

  run({ spool: { environment }, dataDir }: SpoolRig): void {
    const metas = metaPages(join(dataDir, 'spool', DATA_FILE));
    if (metas.equals(this.#passed)) return;
    environment.read(sound);
    this.#passed = metas;
  }
}

/** Each commit writes its number into one of the file's first two pages, and nothing else changes those. */
function metaPages(file: string): Buffer {
  const bytes = Buffer.alloc(2 * PAGE_BYTES);
  const handle = openSync(file, 'r');
  readSync(handle, bytes, 0, bytes.length, 0);
  closeSync(handle);
  return bytes;
}

/** The same, and reads all of it. */
export function lookAt(environment: Environment): Seen {
  return environment.read((reader) => {
    const books = sound(reader);
    const pending = Array.from({ length: LANES }, () => new Map<number, Stored>());
    const blocks: BlockHeader[][] = Array.from({ length: LANES }, () => []);
    const letters: Stored[] = [];
    reader.scan(Buffer.of(0), ({ key, value }) => {
      if (isDeadLetter(key)) letters.push(...decodeBlock(value).messages);
      const lane = keyLane(key);
      if (lane >= LANES) return true;
      const { header, messages } = decodeBlock(value);
      blocks[lane]!.push(header);
      for (const stored of messages) {
        if (stored.seq > books.lanes[lane]!.settledTo) pending[lane]!.set(stored.seq, stored);
      }
      return true;
    });
    const rows = reader.get(LOSSES_KEY);
    return { books, pending, blocks, letters, rows: rows === null ? [] : (unseal(rows, 'losses') as LossRow[]) };
  });
}

function even({ ledger, lanes, children }: Books): void {
  const pending = lanes.reduce((sum, lane) => sum + lane.pending, 0);
  assert.equal(restOf(ledger), pending, 'the ledger is not even');
  lanes.forEach((lane, number) => {
    assert.equal(restOf(lane), lane.pending, `the account of lane ${number} is not even`);
    assert.ok(lane.pending >= 0, `lane ${number} has ${lane.pending} pending`);
    assert.ok(lane.settledTo < lane.nextSeq, `lane ${number}: ${lane.settledTo} settled, ${lane.nextSeq} comes next`);
  });
  const kids = [...children.entries()];
  for (const [child, account] of kids) {
    assert.ok(restOf(account) >= 0, `the account of ${child} owes ${restOf(account)} messages`);
  }
  sameSum(
    ledger,
    kids.map(([, account]) => account),
    'children',
  );
  sameSum(ledger, lanes, 'lanes');
}

function sameSum(ledger: Account, parts: readonly Account[], whose: string): void {
  const sum = (of: (account: Account) => number) => parts.reduce((all, part) => all + of(part), 0);
  for (const [what, of] of [
    ['accepted', (account: Account) => account.accepted],
    ['delivered', (account: Account) => account.delivered],
    ['dead letters', (account: Account) => account.deadLetters],
    ['dropped', droppedOf],
    ['expired', (account: Account) => account.dropped.expired ?? 0],
    ['evicted', (account: Account) => account.dropped.evicted ?? 0],
    ['thinned', (account: Account) => account.dropped.thinned ?? 0],
  ] as const) {
    assert.equal(sum(of), of(ledger), `${what} of all ${whose}`);
  }
}

/** Waits until no commit is under way and none is about to begin by itself. */
export async function idle(spool: Spool): Promise<void> {
  for (let turns = 0; turns < 3; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (spool.snapshot().commitUnderWay) turns = -1;
  }
}

/** A medium that can be told to refuse what is written to it. */
export class Medium {
  readonly #environment: Environment;
  readonly #write: (changes: readonly Change[]) => Promise<void>;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#write = environment.write.bind(environment);
  }

  refuse(fault: 'io' | 'full'): void {
    this.#environment.write = () => Promise.reject(new StoreError(fault, 'the medium refuses'));
  }

  heal(): void {
    this.#environment.write = this.#write;
  }
}

/** Bytes of all files under a folder. */
export function bytesUnder(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}
