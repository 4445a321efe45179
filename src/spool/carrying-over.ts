import { statfsSync } from 'node:fs';
import type { Logger } from 'pino';
import type { Loss } from '../message/loss.ts';
import type { Message, Stored } from '../message/message.ts';
import { Environment, type Change } from '../store/environment.ts';
import { openRemnants, type Remnants } from '../store/page-salvage.ts';
import { StoreError } from '../store/store-error.ts';
import { BlockDamaged, decodeBlock, pack } from './block.ts';
import { encodeBooks, pendingOf, readBooks, type Books } from './books.ts';
import { NOBODY } from './child-accounts.ts';
import { regain, reportLost, type Totals } from './fresh-books.ts';
import { blockKey, BOOKS_KEY, BOOTS_KEY, CHILDREN_KEY, deadLetterKey, LOSSES_KEY, PLAN_KEY } from './keys.ts';
import { Losses } from './losses.ts';
import type { Quarantine } from './quarantine.ts';
import { mapBytesFor, bytesUnder } from './quota.ts';
import { findsIn, type Find } from './salvage.ts';
import { seal, unseal } from './seal.ts';
import { survivorsIn, type Plan } from './survivors.ts';

/** What one commit carries over: this part of the quota ... */
const COMMIT_SHARE = 1 / 64;
/** ... within these bounds, bytes. */
const COMMIT_BYTES_MIN = 64 * 1024;
const COMMIT_BYTES_MAX = 2 * 2 ** 20;
/** Share of the quota that the old and the new spool may fill together, while both are there. */
const TOGETHER_SHARE = 0.95;

export interface CarryingOverOptions {
  readonly quarantine: Quarantine;
  readonly dataDir: string;
  readonly quotaBytes: number;
  readonly totals: Totals | undefined;
  /** How long a message may live, ms: where a block is made anew. */
  readonly lifeMs: (message: Message) => number;
  readonly log: Logger;
  /** Called again and again while it goes on. */
  readonly progress: () => void;
}

/** What became of a spool that was set aside. */
export interface CarriedOver {
  readonly carried: number;
  readonly lost: number;
  /** Parts of the old file had to make room. */
  readonly used: boolean;
  /** The disk had no room for the rest: it is in the old file still. */
  readonly rest: boolean;
}

/** A block or a dead letter that is still to be carried over. */
interface Piece {
  readonly find: Find;
  /** Where it ends in the old file, bytes. */
  readonly end: number;
  readonly after: number;
  readonly cut: boolean;
  /** Of a dead letter. */
  readonly letter: number | null;
}

/**
 * Carries what can be read of a spool that was set aside over into a fresh one, under the numbers and in the epochs that it has.
 * Each commit of the fresh one has even books, in which all that is not there yet is `quarantined`; one that ends in between goes on
 * from there at the next start. It goes from the old file's end to its beginning: where both have no room in the quota, the old one
 * is cut off behind what is still to come.
 */
export async function carryOver(options: CarryingOverOptions): Promise<CarriedOver> {
  const { quarantine, quotaBytes } = options;
  quarantine.trim();
  const open = () =>
    Environment.open({ directory: quarantine.fresh, mapBytes: mapBytesFor(quotaBytes), durability: 'strict' });
  let environment: Environment;
  try {
    environment = open();
  } catch (error) {
    if (!(error instanceof StoreError) || error.fault !== 'damaged') throw error;
    quarantine.beginAnew();
    environment = open();
  }
  const remnants = openRemnants(quarantine.file, options.progress);
  try {
    return await new CarryingOver(options, environment, remnants).run();
  } finally {
    remnants.close();
    await environment.close();
  }
}

class CarryingOver {
  readonly #options: CarryingOverOptions;
  readonly #environment: Environment;
  readonly #remnants: Remnants;
  readonly #commitBytes: number;
  #used = false;
  #rest = false;

  constructor(options: CarryingOverOptions, environment: Environment, remnants: Remnants) {
    this.#options = options;
    this.#environment = environment;
    this.#remnants = remnants;
    const share = options.quotaBytes * COMMIT_SHARE;
    this.#commitBytes = Math.min(Math.max(share, COMMIT_BYTES_MIN), COMMIT_BYTES_MAX);
  }

  async run(): Promise<CarriedOver> {
    const { log } = this.#options;
    const done = this.#done();
    if (done !== null) return done;
    const { plan, books } = this.#begun() ?? (await this.#begin());
    const pieces = this.#pieces(plan);
    if (pieces.length > 0) log.info({ blocks: pieces.length }, 'what can be read of the old spool is carried over');
    try {
      for (let next = 0; next < pieces.length;) next = await this.#commit(plan, books, pieces, next);
    } catch (error) {
      if (!(error instanceof StoreError) || error.fault !== 'full') throw error;
      this.#rest = true;
      log.error(`${error.message}: the rest of the old spool is not carried over`);
    }
    return this.#end(plan, this.#books());
  }

  /** What became of it, where an earlier start had done all but put it in its place. */
  #done(): CarriedOver | null {
    const books = this.#environment.read((reader) => (reader.get(PLAN_KEY) === null ? readBooks(reader) : null));
    if (books === null) return null;
    const lost = this.#losses().rows.filter(({ reason, epoch }) => reason === 'quarantined' && epoch < books.epoch);
    return {
      carried: pendingOf(books),
      lost: lost.reduce((sum, { count }) => sum + count, 0),
      used: false,
      rest: false,
    };
  }

  #losses(): Losses {
    const rows = this.#environment.read((reader) => reader.get(LOSSES_KEY));
    return new Losses(rows === null ? [] : (unseal(rows, 'the loss reports') as Loss[]));
  }

  /** What an earlier start has begun. */
  #begun(): { readonly plan: Plan; readonly books: Books } | null {
    const sealed = this.#environment.read((reader) => reader.get(PLAN_KEY));
    return sealed === null ? null : { plan: unseal(sealed, 'the plan') as Plan, books: this.#books() };
  }

  /** The books as they are on the medium. */
  #books(): Books {
    return this.#environment.read((reader) => readBooks(reader))!;
  }

  async #begin(): Promise<{ readonly plan: Plan; readonly books: Books }> {
    const { quarantine, totals, progress } = this.#options;
    const { plan, books, losses } = survivorsIn(quarantine.file, this.#remnants, totals, progress);
    await this.#environment.write([[PLAN_KEY, seal(plan)], [LOSSES_KEY, seal(losses)], ...recordsOf(books)]);
    return { plan, books };
  }

  /** What is still to come, the last in the file first. */
  #pieces(plan: Plan): Piece[] {
    const blocks = new Map(plan.blocks.map(([checksum, after, cut]) => [checksum, { after, cut, letter: null }]));
    const letters = new Map(plan.letters.map(([checksum, letter]) => [checksum, { after: 0, cut: false, letter }]));
    const pieces = new Map<number, Piece>();
    for (const find of findsIn(this.#remnants, () => undefined)) {
      const planned = letters.get(find.checksum) ?? blocks.get(find.checksum);
      if (planned === undefined) continue;
      const end = Math.max(...find.places.map(({ at, bytes }) => at + bytes));
      const piece = { find, end, ...planned };
      const before = pieces.get(find.checksum);
      if ((before === undefined || end < before.end) && !this.#isThere(piece)) pieces.set(find.checksum, piece);
    }
    return [...pieces.values()].toSorted((a, b) => b.end - a.end);
  }

  #isThere(piece: Piece): boolean {
    return this.#environment.read((reader) => reader.get(keyOf(piece))) !== null;
  }

  /** Carries over as many as one commit takes; returns where the next one begins. */
  async #commit(plan: Plan, books: Books, pieces: readonly Piece[], from: number): Promise<number> {
    const changes: Change[] = [];
    let next = from;
    for (let bytes = 0; next < pieces.length && bytes < this.#commitBytes; next++) {
      for (const change of this.#moved(plan, books, pieces[next]!)) {
        changes.push(change);
        bytes += change[1]!.length;
      }
    }
    this.#makeRoom(pieces[from]!.end);
    await this.#environment.write([...changes, ...recordsOf(books)]);
    return next;
  }

  #moved(plan: Plan, books: Books, piece: Piece): Change[] {
    const { find, after, cut, letter } = piece;
    let value: Buffer;
    let messages: Stored[];
    try {
      value = this.#remnants.read(find.places, find.bytes);
      ({ messages } = decodeBlock(value));
    } catch (error) {
      // It could be read a moment ago.
      if (error instanceof BlockDamaged || error instanceof StoreError) return [];
      throw error;
    }
    if (!plan.childrenKnown) noteBoots(books, messages);
    if (letter !== null) {
      bookLetter(books, messages[0]!);
      return [[deadLetterKey(letter), value]];
    }
    const waiting = messages.filter(({ seq }) => seq > after);
    if (waiting.length === 0) return [];
    bookWaiting(books, waiting, plan.childrenKnown);
    if (!cut) return [[keyOf(piece), value]];
    const { level, lastSeq, lane } = find.header;
    const place = { level, firstSeq: after + 1, lastSeq };
    return pack(waiting, place, this.#options.lifeMs).map((each) => [blockKey(lane, each.header.firstSeq), each.value]);
  }

  /** Cuts off the old file behind what is still to come, where the quota or the disk wants it. */
  #makeRoom(neededBytes: number): void {
    const { quarantine, dataDir, quotaBytes } = this.#options;
    const { bavail, bsize } = statfsSync(dataDir);
    const more = 2 * this.#commitBytes;
    if (bytesUnder(dataDir) + more <= quotaBytes * TOGETHER_SHARE && bavail * bsize > 2 * more) return;
    this.#used = true;
    quarantine.cut(neededBytes);
  }

  async #end(plan: Plan, books: Books): Promise<CarriedOver> {
    const carried = books.lanes.map(({ pending }) => pending);
    for (const lane of books.lanes) if (lane.pending === 0) lane.settledTo = lane.nextSeq - 1;
    const losses = this.#losses();
    reportLost(losses, plan.before, carried);
    books.children.forgetEmpty(NOBODY);
    // Nothing has happened yet that is not in here.
    books.clean = true;
    await this.#environment.write([[PLAN_KEY, null], [LOSSES_KEY, seal(losses.rows)], ...recordsOf(books)]);
    const lost = plan.before.lanes.reduce((sum, { pending }, lane) => sum + Math.max(0, pending - carried[lane]!), 0);
    return { carried: pendingOf(books), lost, used: this.#used, rest: this.#rest };
  }
}

function keyOf({ find: { header }, after, cut, letter }: Piece): Buffer {
  return letter === null ? blockKey(header.lane, cut ? after + 1 : header.firstSeq) : deadLetterKey(letter);
}

function recordsOf(books: Books): Change[] {
  return [
    [BOOKS_KEY, encodeBooks(books)],
    [CHILDREN_KEY, books.children.encode(new Map())],
    [BOOTS_KEY, seal(books.boots)],
  ];
}

function bookWaiting(books: Books, messages: readonly Stored[], childrenKnown: boolean): void {
  const lane = books.lanes[messages[0]!.lane]!;
  lane.pending += messages.length;
  regain(lane, messages.length);
  regain(books.ledger, messages.length);
  const nobody = books.children.of(NOBODY);
  if (childrenKnown) {
    regain(nobody, messages.length);
    return;
  }
  for (const { message } of messages) books.children.of(message.source.child).accepted++;
  regain(nobody, Math.min(messages.length, nobody.dropped.quarantined ?? 0));
}

function bookLetter(books: Books, { lane, message }: Stored): void {
  for (const account of [books.ledger, books.lanes[lane]!, books.children.of(message.source.child)]) {
    account.deadLetters++;
    regain(account, 1);
  }
}

/** Which boot is meant by a number that a message has, only the lost table knew: this one's is to be another. */
function noteBoots(books: Books, messages: readonly Stored[]): void {
  const newest = Math.max(...messages.map(({ message }) => message.acceptedAt.boot));
  if (newest > (books.boots.at(-1)?.number ?? 0)) books.boots.push({ number: newest, id: '', offset: null });
  if (books.boots.length > 1 && books.boots.at(-2)!.id === '') books.boots.splice(-2, 1);
}
