import * as z from 'zod';
import { amount, choice, complain, milliseconds, misfit, seconds, section } from './values.ts';
import { parseSize, SIZE_PATTERN } from './units.ts';
import { WORD_BYTES } from '../store/page.ts';

const MIB = 1024 ** 2;
/** Below this the ledger, the reserve and one eviction step do not fit beside each other. */
export const QUOTA_BYTES_MIN = 8 * MIB;
/**
 * A 32-bit program has 3 GiB of addresses, of which V8 leaves half in one piece (seen in /proc/PID/maps), and the spool's file is
 * in them twice while it is made anew. With more the gateway would not start, or have a map that is smaller than the file.
 */
export const QUOTA_BYTES_MAX = WORD_BYTES === 4 ? 512 * MIB : Infinity;
/** Largest time to live, seconds: a signed 32-bit number, as in IoT Edge. */
export const TIME_TO_LIVE_SECS_MAX = 2_147_483_647;

/** As in IoT Edge. */
export const TIME_TO_LIVE_SECS_DEFAULT = 7200;

export const TimeToLiveSecs = seconds({ min: 1, max: TIME_TO_LIVE_SECS_MAX }, '7200 or 2h');

const ratedWrong = misfit('a number of terabytes', 'for example 40');

/** The storage settings that a board profile may suggest as well; no defaults here. */
export const storageKeys = {
  ratedTerabytesWritten: z
    .number({ error: ratedWrong })
    .positive({ error: ratedWrong })
    .describe('Endurance that the maker of the medium promises, terabytes written: what wear is measured by.'),
  quota: amount({ bytesMin: QUOTA_BYTES_MIN, percentMin: 1, percentMax: 95 }, '512MiB or 10%').describe(
    'The most that everything under `dataDir` takes: a size, or a part of the filesystem. On a 32-bit system never more than 512MiB.',
  ),
  commitEveryMs: milliseconds({ min: 10, max: 60_000 }, '250 or 250ms').describe(
    'Messages are made durable at least this often: the most that a power cut can take from wired sensors. Longer spares the card.',
  ),
  write: choice(['always', 'when-needed']).describe(
    '`always`: every message is written to the medium. `when-needed`: only what the upstream does not acknowledge soon.',
  ),
  durability: choice(['strict', 'relaxed']).describe(
    '`strict`: a commit is on the medium when it is done. `relaxed`: the operating system may write it later, and a power cut may take it.',
  ),
};

const wearWrong = misfit('a size per day', 'for example 2GiB/day');

/** Text such as `2GiB/day`, kept as bytes per day. */
const WearBudget = z
  .string({ error: wearWrong })
  .meta({ pattern: `${SIZE_PATTERN.slice(0, -1)}/day$` })
  .transform((input, context) => {
    const bytes = input.endsWith('/day') ? parseSize(input.slice(0, -'/day'.length)) : undefined;
    if (bytes !== undefined && bytes > 0) return bytes;
    complain(context, wearWrong({ input }));
    return z.NEVER;
  })
  .meta({ title: 'size per day' });

const WhenFull = choice(['thin', 'drop-oldest', 'reject-new']);

/** What differs for one priority's line. */
const LaneSchema = section({
  whenFull: WhenFull.describe('As `storeAndForward.whenFull`, for this lane alone.').exactOptional(),
});

/** Lanes by their number: priorities 0 to 9, and 10 for what names none. */
const LanesSchema = z.record(
  z.string().regex(/^(\d|10)$/, { error: misfit('the number of a lane, from 0 to 10', 'for example 0') }),
  LaneSchema,
  { error: misfit('a mapping', 'for example "0: { whenFull: reject-new }"') },
);

export const StoreAndForwardSchema = section({
  timeToLiveSecs: TimeToLiveSecs.describe(
    'How long a message is worth sending. Counted in age, not by the calendar: a wrong clock expires nothing.',
  ).prefault(TIME_TO_LIVE_SECS_DEFAULT),
  quota: storageKeys.quota.prefault('512MiB'),
  keepFree: amount({ bytesMin: 0, percentMin: 0, percentMax: 95 }, '512MiB or 10%')
    .describe('Part of the filesystem that is left to others: the spool stops growing there.')
    .prefault('10%'),
  whenFull: WhenFull.describe(
    'At the quota, lowest lane first: `thin` keeps every 2nd, 4th, 8th ... of the oldest messages, and drops the oldest when that does not help; `drop-oldest` drops from the front; `reject-new` refuses what comes.',
  ).default('thin'),
  lanes: LanesSchema.describe(
    'What differs for one lane, by its number: 0 to 9 as the priority, 10 for none.',
  ).exactOptional(),
  commitEveryMs: storageKeys.commitEveryMs.prefault(250),
  write: storageKeys.write.default('always'),
  durability: storageKeys.durability.default('strict'),
  ratedTerabytesWritten: storageKeys.ratedTerabytesWritten.exactOptional(),
  wearBudget: WearBudget.describe(
    'What may be written to the medium in a day: commits of messages that nobody waits for are put off to keep to it. Left out: no budget.',
  ).exactOptional(),
}).describe('The durable queue: how large, how long, how careful.');
