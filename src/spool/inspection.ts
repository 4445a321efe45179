import type { Stored } from '../message/message.ts';
import type { Reader } from '../store/environment.ts';
import { BlockDamaged, decodeBlock } from './block.ts';
import { pendingOf, type Books } from './books.ts';
import { blockKey, isDeadLetter, keyLane, keySeq } from './keys.ts';
import { LANES } from '../message/message.ts';
import { balanced } from './stats.ts';

/** Problems listed one by one; further ones are only counted. */
const PROBLEMS_MAX = 100;
/** Bodies after which a look at the head ends, bytes: it is held in memory whole, by a gateway that needs that for other things. */
const PEEK_BYTES_MAX = 4 * 2 ** 20;

/** What `holdfast spool verify` found. */
export interface Verification {
  readonly blocks: number;
  readonly messages: number;
  readonly deadLetters: number;
  readonly problems: readonly string[];
  readonly problemCount: number;
}

/** Reads every block and holds it against the books: checksums, order, counts. Takes as long as the spool is large. */
export function verify(reader: Reader, books: Books): Verification {
  const problems: string[] = [];
  let problemCount = 0;
  const complain = (problem: string) => {
    problemCount++;
    if (problems.length < PROBLEMS_MAX) problems.push(problem);
  };
  const pending = Array.from({ length: LANES }, () => 0);
  let blocks = 0;
  let deadLetters = 0;
  let before: { lane: number; lastSeq: number } | null = null;
  reader.scan(blockKey(0, 0), ({ key, value }) => {
    const lane = keyLane(key);
    if (lane >= LANES && !isDeadLetter(key)) return false;
    try {
      const { header, messages } = decodeBlock(value);
      if (isDeadLetter(key)) {
        deadLetters++;
        return true;
      }
      blocks++;
      const name = `block ${keySeq(key)} of lane ${lane}`;
      const { settledTo, nextSeq } = books.lanes[lane]!;
      if (header.lane !== lane || header.firstSeq !== keySeq(key)) complain(`${name} lies under another block's key`);
      if (before?.lane === lane && header.firstSeq <= before.lastSeq) complain(`${name} overlaps the one before it`);
      if (header.lastSeq >= nextSeq)
        complain(`${name} holds number ${header.lastSeq}, beyond the next one, ${nextSeq}`);
      if (header.lastSeq <= settledTo) complain(`${name} is settled and was not deleted`);
      before = { lane, lastSeq: header.lastSeq };
      for (const stored of messages) if (stored.seq > settledTo) pending[lane]!++;
    } catch (error) {
      if (!(error instanceof BlockDamaged)) throw error;
      complain(`${isDeadLetter(key) ? 'dead letter' : `block of lane ${lane}`} ${keySeq(key)}: ${error.message}`);
    }
    return true;
  });
  books.lanes.forEach((lane, number) => {
    if (lane.pending !== pending[number])
      complain(`lane ${number}: the books say ${lane.pending} pending, there are ${pending[number]}`);
  });
  if (deadLetters !== books.ledger.deadLetters) {
    complain(`the books say ${books.ledger.deadLetters} dead letters, there are ${deadLetters}`);
  }
  if (!balanced(books)) complain('the ledger is not even: accepted is not delivered + pending + deadLetters + dropped');
  return { blocks, messages: pendingOf(books), deadLetters, problems, problemCount };
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
