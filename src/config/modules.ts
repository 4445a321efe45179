import * as z from 'zod';
import {
  ALONGSIDE_LIST,
  choice,
  complain,
  duration,
  identifier,
  integer,
  list,
  misfit,
  section,
  show,
  size,
  text,
} from './values.ts';

/** Most modules that a configuration may name. */
export const MODULES_MAX = 1000;
/** Longest query, characters. */
const QUERY_LENGTH_MAX = 65_536;
const DAY_MS = 86_400_000;
/** As the language's reference has them: late tolerance up to 21 days less a second, out-of-order up to an hour. */
const LATE_MS_MAX = 21 * DAY_MS - 1000;
const HOUR_MS = 3_600_000;
const MIB = 2 ** 20;

const queryWrong = misfit('a query', 'for example SELECT * INTO output FROM input WHERE temperature > 30');

/** What is done with what a module puts out, besides its routes. */
const ActionSchema = section({
  command: identifier('press-1').describe(
    "The child that is told: the body's field `command` names what it is to do, the whole body is the payload.",
  ),
});

const LimitsSchema = section({
  windows: integer(1, 1_000_000).describe('Windows that may be open at once.').default(100_000),
  groups: integer(1, 1_000_000).describe('Groups that may be open at once, in all windows together.').default(100_000),
  bytes: size(64 * 1024, 256 * MIB, '8MiB')
    .describe('What all of it may take in memory, about.')
    .prefault('8MiB'),
}).describe('What a module may hold. Beyond it new groups are refused, counted, and shown in `status`.');

export const ModuleSchema = section({
  id: identifier('cooldown').describe('Its name: unique among modules.'),
  query: z
    .string({ error: queryWrong })
    .min(1, { error: queryWrong })
    .max(QUERY_LENGTH_MAX, { error: misfit(`a query of at most ${QUERY_LENGTH_MAX} characters`) })
    .describe('What it does with its inputs, in the language of docs/query-language.md.'),
  outOfOrder: duration(0, HOUR_MS, 'from 0s to 1h, with its unit', '2s')
    .describe('How much earlier than the latest event another one may be and still be put in its place.')
    .prefault('0s'),
  lateArrival: duration(0, LATE_MS_MAX, 'from 0s to 20d, with its unit', '5s')
    .describe('How much later than it happened an event may arrive.')
    .prefault('5s'),
  onLate: choice(['adjust', 'drop'])
    .describe(
      'What becomes of events that are later than that, or out of order by more than `outOfOrder`: `adjust` moves their time, `drop` leaves them out. Both are counted: `late` and `unordered` in `holdfast list` and in metrics.',
    )
    .default('adjust'),
  idle: duration(100, DAY_MS, 'from 100ms to 1d, with its unit', '5s')
    .describe('After so long without an event on an input, the others do not wait for it any more.')
    .prefault('5s'),
  reference: z
    .record(identifier('machines'), text('a path', 'machines.csv'), {
      error: misfit('a mapping', 'for example "machines: machines.csv"'),
    })
    .describe(
      'Tables that the query may join, by the name that it has for them: files of JSON lines, a JSON array or CSV. A relative path starts at the folder of this file; a file that changes is read again.',
    )
    .default({}),
  outputs: z
    .record(identifier('output'), list(ActionSchema, '[ { command: press-1 } ]'), {
      error: misfit('a mapping', 'for example "output: [ { command: press-1 } ]"'),
    })
    .describe('Actions on what an output gives, besides its routes.')
    .default({}),
  limits: LimitsSchema.prefault({}),
});

export const ModulesSchema = list(ModuleSchema)
  .max(MODULES_MAX, { error: `more than ${MODULES_MAX} modules` })
  .superRefine((modules, context) => {
    const seen = new Set<string>();
    modules.forEach((module, index) => {
      const id: unknown = module?.id;
      if (typeof id !== 'string') return;
      if (seen.has(id)) complain(context, `${show(id)} is the id of an earlier module; ids are unique`, [index, 'id']);
      seen.add(id);
    });
  }, ALONGSIDE_LIST)
  .describe('Local rules: each reads what routes bring to its inputs, and puts out what its query says.');
