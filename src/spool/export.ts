import { LANES, type Stored } from '../message/message.ts';
import { BlockDamaged, decodeBlock } from './block.ts';
import type { Books } from './books.ts';
import type { PageFile } from '../store/page-file.ts';
import type { SpoolFiles } from './files.ts';
import { inLooks } from './inspection.ts';
import { blockKey, deadLetterKey, isDeadLetter, KEY_BYTES, keyLane, keySeq, laneEnd, RECORDS_FROM } from './keys.ts';

/** Some messages, oldest first, with the books of the commit that they were read from; null where those cannot be read. */
export interface Batch {
  readonly stored: readonly Stored[];
  readonly books: Books | null;
}

/**
 * All pending messages of a spool (of one lane), lane by lane and oldest first; or its dead letters. What is accepted
 * while it goes on comes too, what is delivered meanwhile may not. `complain` hears of blocks that cannot be read.
 */
export async function* messagesIn(
  files: SpoolFiles,
  which: { readonly lane?: number | undefined; readonly deadLetters?: boolean | undefined },
  monotonic: () => number,
  complain: (problem: string) => void,
): AsyncGenerator<Batch, void, void> {
  const { lane, deadLetters = false } = which;
  const from = deadLetters ? deadLetterKey(0) : blockKey(lane ?? 0, 0);
  const until = deadLetters ? RECORDS_FROM : laneEnd(lane ?? LANES - 1);
  // The last number of each lane that was looked at, and the block that was complained of last.
  const past = new Map<number, number>();
  let unreadable = '';
  for await (const { found, books } of inLooks(files, monotonic, from, until, blockBefore)) {
    for (const { key, value } of found) {
      if (key.length !== KEY_BYTES) {
        complain(`there is something under a key that the spool does not have: ${key.toString('hex')}`);
        continue;
      }
      try {
        const { messages } = decodeBlock(value);
        if (isDeadLetter(key)) {
          yield { stored: lane === undefined ? messages : messages.filter((stored) => stored.lane === lane), books };
          continue;
        }
        const seen = past.get(keyLane(key)) ?? 0;
        const settledTo = books?.lanes[keyLane(key)]?.settledTo ?? 0;
        past.set(keyLane(key), Math.max(seen, messages.at(-1)?.seq ?? 0));
        yield { stored: messages.filter(({ seq }) => seq > settledTo && seq > seen), books };
      } catch (error) {
        if (!(error instanceof BlockDamaged)) throw error;
        if (unreadable === key.toString('hex')) continue;
        unreadable = key.toString('hex');
        complain(
          `${isDeadLetter(key) ? 'dead letter' : `block of lane ${keyLane(key)}`} ${keySeq(key)}: ${error.message}`,
        );
      }
    }
  }
}

/** Where the block before `key` begins: merged meanwhile, it may hold what follows. */
function blockBefore(file: PageFile, key: Buffer): Buffer {
  if (isDeadLetter(key)) return key;
  const before = file.below(key)?.key;
  return before !== undefined && keyLane(before) === keyLane(key) ? before : key;
}
