import { shownLetter, type ShownLetter } from '../health/shown.ts';
import { timesIn } from '../spool/boot-table.ts';
import { lettersIn } from '../spool/dead-letters.ts';
import { lookAtSpool } from '../spool/files.ts';
import { orderLetters, type LetterOrder, type LettersDone } from '../spool/letter-orders.ts';
import { configured, type CommonOptions, type Configured } from './configured.ts';
import { ask, askOne } from './control-client.ts';
import { CliError, FINE, FOUND_A_PROBLEM, print, printable, printJson, say, USED_WRONGLY } from './output.ts';
import { fromFiles, gatewayRuns, runningOrStopped, type Answer } from './spool-source.ts';
import { storedLine } from './spool-text.ts';
import { inStoppedSpool, mustHaveSpool } from './stopped-spool.ts';

/** A slow card with much to do takes its time to make a thousand of them durable, ms. */
const ORDER_MS_MAX = 120_000;

export interface OrderOptions extends CommonOptions {
  readonly all?: boolean;
}

/** `holdfast spool dead-letters list`: what the upstream will never take, oldest first, and why. */
export async function listDeadLetters(options: CommonOptions): Promise<number> {
  const where = configured(options.config);
  const { found, whole } = await runningOrStopped(
    async (): Promise<Answer<ShownLetter[]>> => ({ found: await fromRunning(where), whole: true }),
    () =>
      fromFiles(where, (complain) =>
        lookAtSpool(
          where.dataDir,
          (reader, books) => lettersIn(reader, 0, Infinity).map((each) => shownLetter(each, timesIn(books.boots))),
          complain,
        ),
      ),
  );
  if (options.json === true) printJson(found);
  else if (found.length === 0) say('there are no dead letters');
  else for (const letter of found) print(lineOf(letter));
  return whole ? FINE : FOUND_A_PROBLEM;
}

/** In parts, so that the gateway need not hold all of them in memory. */
async function fromRunning(where: Configured): Promise<ShownLetter[]> {
  const found: ShownLetter[] = [];
  for (;;) {
    const before = found.length;
    const after = found.at(-1)?.number ?? 0;
    for await (const letter of ask<ShownLetter>(where, 'spool dead-letters', { after })) found.push(letter);
    if (found.length === before) return found;
  }
}

function lineOf({ number, reason, message }: ShownLetter): string {
  return `${number}  ${printable(reason)}  ${message === null ? '' : storedLine(message)}`.trimEnd();
}

/** What was done, in one word. */
const DONE: Readonly<Record<LetterOrder, string>> = { retry: 'retried', drop: 'dropped' };

/**
 * `holdfast spool dead-letters retry|drop [number...]`: sends them again as new messages, or lets them go. Nothing is asked
 * back, and nothing is done to all of them without `--all`. Ends with 1 when one of the numbers could not be followed.
 */
export async function orderDeadLetters(
  order: LetterOrder,
  numbers: readonly number[],
  options: OrderOptions,
): Promise<number> {
  if (options.all === true && numbers.length > 0) {
    throw new CliError('numbers and --all are two different things; say one of them', USED_WRONGLY);
  }
  if (options.all !== true && numbers.length === 0) {
    throw new CliError(
      `say which by their numbers (\`holdfast spool dead-letters list\` shows them), or --all`,
      USED_WRONGLY,
    );
  }
  const where = configured(options.config);
  const named = options.all === true ? null : numbers;
  const { done, failed } = (await gatewayRuns(where))
    ? await askOne<LettersDone>(
        where,
        'spool dead-letters order',
        { order, numbers: named },
        { silenceMsMax: ORDER_MS_MAX },
      )
    : await inStopped(where, order, named);
  if (options.json === true) printJson({ [DONE[order]]: done, failed });
  const why = order === 'retry' ? 'there is no such dead letter, or it cannot be read' : 'there is no such dead letter';
  for (const number of failed) say(`${number}: ${why}`);
  say(`${done.length} dead letters ${DONE[order]}`);
  return failed.length === 0 ? FINE : FOUND_A_PROBLEM;
}

function inStopped(where: Configured, order: LetterOrder, numbers: readonly number[] | null): Promise<LettersDone> {
  mustHaveSpool(where);
  say('no gateway is running; it is done in its files');
  return inStoppedSpool(where, (spool) => orderLetters(spool, order, numbers));
}
