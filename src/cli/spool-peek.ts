import { peeked, type Peeked } from '../health/shown.ts';
import { timesIn } from '../spool/boot-table.ts';
import { lookAtSpool } from '../spool/files.ts';
import { peek } from '../spool/inspection.ts';
import { configured, type CommonOptions } from './configured.ts';
import { ask } from './control-client.ts';
import { FINE, FOUND_A_PROBLEM, print, printJson, say } from './output.ts';
import { fromFiles, runningOrStopped, type Answer } from './spool-source.ts';
import { storedLine } from './spool-text.ts';

export interface PeekOptions extends CommonOptions {
  readonly number: number;
  readonly lane?: number;
}

/** `holdfast spool peek`: what waits, oldest first in each lane; nothing is taken out. */
export async function spoolPeek(options: PeekOptions): Promise<number> {
  const where = configured(options.config);
  const { number: count, lane } = options;
  const { found, whole } = await runningOrStopped(
    async (): Promise<Answer<Peeked[]>> => {
      const items: Peeked[] = [];
      for await (const item of ask<Peeked>(where, 'spool peek', { count, ...(lane !== undefined && { lane }) })) {
        items.push(item);
      }
      return { found: items, whole: true };
    },
    () =>
      fromFiles(where, (complain) =>
        lookAtSpool(
          where.dataDir,
          (reader, books) => peek(reader, books, count, lane).map((each) => peeked(each, timesIn(books.boots))),
          complain,
        ),
      ),
  );
  if (options.json === true) printJson(found);
  else if (found.length === 0) say('nothing waits');
  else for (const message of found) print(storedLine(message));
  return whole ? FINE : FOUND_A_PROBLEM;
}
