import { lineText, type LogLine } from '../health/log-ring.ts';
import { whereabouts, type CommonOptions } from './configured.ts';
import { ask, NoGateway } from './control-client.ts';
import { untilInterrupted } from './ending.ts';
import { journal } from './journal.ts';
import { coloured, FINE, print, printable, printJsonLine, say, type Colour } from './output.ts';

/** Lines that a follower is shown of what was before, unless it says how many. */
const TAIL_FOLLOWING = 10;

export interface LogsOptions extends CommonOptions {
  readonly follow?: boolean;
  readonly tail?: number;
  readonly journal?: boolean;
}

const COLOURS: Partial<Record<LogLine['level'], Colour>> = {
  warn: 'yellow',
  error: 'red',
  fatal: 'red',
  debug: 'gray',
};

/** `holdfast logs`: what the running gateway has said, from its own memory; from systemd's journal when none runs, or on demand. */
export async function logs(child: string | undefined, options: LogsOptions): Promise<number> {
  const follow = options.follow === true;
  const tail = options.tail ?? (follow ? TAIL_FOLLOWING : undefined);
  const asked = { follow, ...(child !== undefined && { child }), ...(tail !== undefined && { tail }) };
  const how = follow ? { silenceMsMax: Infinity, signal: untilInterrupted() } : {};
  if (options.journal === true) await show(journal({ ...asked, ...how }), options);
  else {
    try {
      await show(ask<LogLine>(whereabouts(options.config), 'logs', asked, how), options);
    } catch (error) {
      // Nothing says that it will ever start: who wants to wait for that asks for the journal.
      if (!(error instanceof NoGateway) || follow) throw error;
      // Where systemd has no journal of it, what matters is that none runs.
      const had = await show(announced(journal({ ...asked, ...how })), options).catch(() => 0);
      if (had === 0) throw error;
    }
  }
  return FINE;
}

async function* announced(lines: AsyncIterable<LogLine>): AsyncGenerator<LogLine, void, void> {
  let said = false;
  for await (const line of lines) {
    if (!said) say('no gateway is running; this is what the journal has of it');
    said = true;
    yield line;
  }
}

/** Resolves with the number of lines. */
async function show(lines: AsyncIterable<LogLine>, options: LogsOptions): Promise<number> {
  let count = 0;
  for await (const line of lines) {
    count++;
    if (options.json === true) printJsonLine({ ...line, time: new Date(line.time).toISOString() });
    else {
      const text = printable(lineText(line));
      const colour = COLOURS[line.level];
      print(colour === undefined ? text : coloured(colour, text));
    }
  }
  return count;
}
