import { pino, type DestinationStream, type Level, type Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { LogLevel } from './log-level.ts';

/** Lines kept in memory for `holdfast logs`; on a board whose journal is in RAM too this is a second look, not an archive. */
const LINES_MAX = 2000;
/** Their length, characters: what a child answers may stand in a line. Usual ones come to a quarter of it. */
const LENGTH_MAX = 2 * 2 ** 20;

/** Within so long, ms, a line that comes again right after itself is counted instead ... */
const FOLD_MS = 60_000;
/** ... and so is one that has come so often with others between: what comes and goes is told, a storm is not. */
const AMONG_OTHERS_MAX = 10;
/** Different lines that are kept in mind for that. */
const RECENT_MAX = 200;

/** One line of the log. */
export interface LogLine {
  /** ms since 1970. */
  readonly time: number;
  readonly level: Level;
  readonly child?: string;
  readonly message: string;
  /** Whatever else was logged with it. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** How lines leave the process: `journald` begins each with `<N>`, its syslog level. */
export type LogFormat = 'text' | 'json' | 'journald';

const SYSLOG_LEVEL: Readonly<Record<Level, number>> = { trace: 7, debug: 7, info: 6, warn: 4, error: 3, fatal: 2 };

/** Where pino writes: keeps the last lines, and hands them to the terminal, the journal and whoever follows. */
export class LogRing implements DestinationStream {
  readonly #format: LogFormat;
  readonly #out: (text: string) => void;
  readonly #lines: LogLine[] = [];
  readonly #lengths: number[] = [];
  #length = 0;
  readonly #followers = new Set<(line: LogLine) => void>();
  /** The last minute's lines, in the order in which they were said, and how often each has come again since. */
  readonly #recent = new Map<string, Recent>();
  /** Of each child, and of the gateway itself, which line was the last. */
  readonly #lastOf = new Map<string, string>();

  constructor(format: LogFormat, out: (text: string) => void) {
    this.#format = format;
    this.#out = out;
  }

  /** A logger that writes here, and with those that are made from it follows `level`. */
  logger(level: LogLevel, clock: Clock): Logger {
    // pino's own serializer repeats the message of every cause behind the error's.
    const serializers = { err: pino.stdSerializers.errWithCause };
    const timestamp = () => `,"time":${clock.wall()}`;
    const onChild = (child: Logger) => level.adopt(child);
    const logger = pino({ base: null, timestamp, serializers, onChild }, this);
    level.adopt(logger);
    return logger;
  }

  write(json: string): void {
    const line = parse(json);
    this.#unfold(line.time);
    // Who asked for those wants them all.
    if (line.level === 'trace' || line.level === 'debug') return this.#say(line, json);
    // Of a warning the figures may differ; whom it is of may not.
    const { module, gateway } = line.fields;
    const fields = line.level === 'info' ? line.fields : { module, gateway };
    const key = `${line.level}\n${line.child ?? ''}\n${line.message}\n${JSON.stringify(fields)}`;
    const source = line.child ?? '';
    const recent = this.#recent.get(key);
    if (recent !== undefined && (this.#lastOf.get(source) === key || recent.said >= AMONG_OTHERS_MAX)) {
      recent.again++;
      recent.last = line;
      return;
    }
    if (recent !== undefined) recent.said++;
    else if (this.#recent.size < RECENT_MAX) this.#recent.set(key, { since: line.time, said: 1, again: 0, last: line });
    if (this.#lastOf.size >= RECENT_MAX) this.#lastOf.clear();
    this.#lastOf.set(source, key);
    this.#say(line, json);
  }

  /** Nothing more will be said: how often lines came again is, also of those whose minute is not over. */
  end(): void {
    this.#unfold(null);
  }

  /** Says how often lines came again whose minute is over by `now`; null: all that did. */
  #unfold(now: number | null): void {
    for (const [key, { since, again, last }] of this.#recent) {
      // A clock that was set back must not keep a line silent.
      if (now !== null && now >= since && now < since + FOLD_MS) return;
      this.#recent.delete(key);
      if (again > 0)
        this.#say({ ...last, message: `${last.message} (repeated ${again === 1 ? 'once' : `${again} times`})` });
    }
  }

  #say(line: LogLine, json = jsonText(line)): void {
    this.#keep(line, json.length);
    if (this.#format === 'json') this.#out(json);
    else if (this.#format === 'journald') this.#out(`<${SYSLOG_LEVEL[line.level]}>${bodyText(line)}\n`);
    else this.#out(`${lineText(line)}\n`);
    for (const follower of this.#followers) follower(line);
  }

  #keep(line: LogLine, length: number): void {
    this.#lines.push(line);
    this.#lengths.push(length);
    this.#length += length;
    while (this.#lines.length > LINES_MAX || (this.#length > LENGTH_MAX && this.#lines.length > 1)) {
      this.#lines.shift();
      this.#length -= this.#lengths.shift()!;
    }
  }

  /** The last `count` lines, oldest first; of one child if it is named. */
  tail(count: number, child?: string): LogLine[] {
    this.#unfold(null);
    const lines = child === undefined ? this.#lines : this.#lines.filter((line) => line.child === child);
    return count >= lines.length ? lines.slice() : lines.slice(lines.length - count);
  }

  /** Calls `each` with every further line, until the returned function is called. */
  follow(each: (line: LogLine) => void): () => void {
    this.#followers.add(each);
    return () => this.#followers.delete(each);
  }
}

interface Recent {
  /** When it was first said, ms since 1970. */
  readonly since: number;
  said: number;
  again: number;
  last: LogLine;
}

/** As pino would have written it. */
function jsonText({ time, level, child, message, fields }: LogLine): string {
  return `${JSON.stringify({ level: pino.levels.values[level], time, child, ...fields, msg: message })}\n`;
}

/** A line for people. */
export function lineText(line: LogLine): string {
  return `${new Date(line.time).toISOString()} ${line.level.toUpperCase().padEnd(5)} ${bodyText(line)}`;
}

function bodyText(line: LogLine): string {
  const child = line.child === undefined ? '' : `[${line.child}] `;
  const fields = Object.entries(line.fields)
    .map(([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('');
  // One entry is one line, whatever a sensor or a broker put into it.
  return `${child}${line.message}${fields}`.replaceAll(/[\n\r]+/g, ' | ');
}

function parse(json: string): LogLine {
  const { time, level, child, msg, err, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const error = err as { message?: string; stack?: string } | undefined;
  const named = pino.levels.labels[level as number] as Level | undefined;
  return {
    time: time as number,
    level: named ?? 'info',
    ...(typeof child === 'string' ? { child } : {}),
    message: [msg, error?.message].filter((part) => typeof part === 'string').join(': '),
    fields: error?.stack === undefined || named === 'warn' ? fields : { ...fields, stack: error.stack },
  };
}
