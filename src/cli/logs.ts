import { lineText, type LogLine } from '../health/log-ring.ts';
import { configured, type CommonOptions } from './configured.ts';
import { ask } from './control-client.ts';
import { untilInterrupted } from './ending.ts';
import { coloured, FINE, print, printable, printJsonLine, type Colour } from './output.ts';

/** Lines that a follower is shown of what was before, unless it says how many. */
const TAIL_FOLLOWING = 10;

export interface LogsOptions extends CommonOptions {
  readonly follow?: boolean;
  readonly tail?: number;
}

const COLOURS: Partial<Record<LogLine['level'], Colour>> = {
  warn: 'yellow',
  error: 'red',
  fatal: 'red',
  debug: 'gray',
};

/** `holdfast logs`: what the running gateway has said, from its own memory. */
export async function logs(child: string | undefined, options: LogsOptions): Promise<number> {
  const follow = options.follow === true;
  const tail = options.tail ?? (follow ? TAIL_FOLLOWING : undefined);
  const asked = { follow, ...(child !== undefined && { child }), ...(tail !== undefined && { tail }) };
  const how = follow ? { silenceMsMax: Infinity, signal: untilInterrupted() } : {};
  for await (const line of ask<LogLine>(configured(options.config), 'logs', asked, how)) {
    if (options.json === true) printJsonLine({ ...line, time: new Date(line.time).toISOString() });
    else {
      const text = printable(lineText(line));
      const colour = COLOURS[line.level];
      print(colour === undefined ? text : coloured(colour, text));
    }
  }
  return FINE;
}
