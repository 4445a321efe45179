import { createReadStream } from 'node:fs';
import { parseBody, printBody } from '../query/body-json.ts';
import { getField } from '../query/field.ts';
import { isRecord, toNumber, ValueError, type Fields, type Value } from '../query/value.ts';
import type { Engine, OutputEvent } from '../rules/engine.ts';
import { MICROS_MAX, momentOf } from '../rules/timeline.ts';
import { engineOf, ruleSources } from './rules-source.ts';
import { referencesOf } from './rules-tables.ts';
import { CliError, FINE, FOUND_A_PROBLEM, print, printable, say, USED_WRONGLY } from './output.ts';
import { textLines } from './text-lines.ts';

export interface RulesTestOptions {
  readonly query: string;
  readonly input?: readonly string[];
  readonly reference?: readonly string[];
  readonly module?: string;
  readonly timestampBy?: string;
}

/** An event to be replayed. */
interface Replayed {
  readonly input: string;
  readonly fields: Fields;
  /** By its own time, whole microseconds; where it has none, that of the event before it. */
  readonly time: number;
  readonly file: string;
  readonly line: number;
}

/** What was read of the inputs, and what was not. */
interface Reading {
  readonly events: Replayed[];
  /** Lines that are no JSON objects, the first of them with their places. */
  readonly unreadable: string[];
  unread: number;
  /** Events that no query could take: a number beyond 64 bits, no time where `--timestamp-by` says. */
  dropped: number;
  firstFault: string | null;
}

/** In the place of an event that has been replayed. */
const SPENT: Replayed = { input: '', fields: {}, time: 0, file: '', line: 0 };
/** Bad lines that are named; the others are counted. */
const NAMED_MAX = 20;
/** How much is put together before it is written: a system call for each line would take longer than the query. */
const WRITE_CHARS = 65_536;

/**
 * `holdfast rules test`: replays each input by its events' own time, all inputs as one stream, up to the end of it, where all windows
 * close. Prints a JSON object for each event that comes out, by time and then in the order of the script.
 */
export async function rulesTest(options: RulesTestOptions): Promise<number> {
  const sources = ruleSources(options.query, options.module);
  if (sources.length > 1) {
    const ids = sources.map(({ module }) => module).join(', ');
    throw new CliError(`${options.query} has several modules (${ids}): choose one with --module`, USED_WRONGLY);
  }
  const source = sources[0]!;
  const { timestampBy } = options;
  const engine = engineOf(source, referencesOf(options.reference ?? [], source, 'rows'));
  const reading: Reading = { events: [], unreadable: [], unread: 0, dropped: 0, firstFault: null };
  for (const { input, file } of filesOf(engine, options.input ?? [])) {
    await read(reading, engine, input, file, timestampBy);
  }
  const { events } = reading;
  // Stable, so that what has equal time stays in the order of its file, and files in the order of the options.
  events.sort((a, b) => a.time - b.time);

  const out: OutputEvent[] = [];
  for (const [index, { input, fields, time, file, line }] of events.entries()) {
    // What comes out of a long file needs the room.
    events[index] = SPENT;
    for (const event of engine.feed(input, { fields, arrival: time, arrivalKnown: true })) out.push(event);
    // One that a module's outOfOrder made wait is not found any more.
    if (engine.firstFaulty === fields) reading.firstFault ??= `${file}:${line}: ${engine.firstFault}`;
  }
  for (const event of engine.end()) out.push(event);
  out.sort((a, b) => a.time.ms - b.time.ms || a.time.ticks - b.time.ticks || a.select - b.select);
  const timed = engine.usesTime || timestampBy !== undefined || engine.inputs.every((name) => engine.timestamped(name));
  let lines = '';
  for (const { output, window, body } of out) {
    const time = timed ? `"${window}"` : 'null';
    lines += `${lines === '' ? '' : '\n'}{"output":${JSON.stringify(output)},"time":${time},"body":${printBody(body)}}`;
    if (lines.length < WRITE_CHARS) continue;
    print(lines);
    lines = '';
  }
  if (lines !== '') print(lines);
  return report(engine, reading);
}

function report(engine: Engine, { unreadable, unread, dropped, firstFault }: Reading): number {
  const { counters } = engine;
  const all = dropped + counters.dropped;
  if (all > 0) say(`${all} dropped, the first because ${printable(firstFault ?? engine.firstFault ?? '')}`);
  if (counters.bounded > 0) say(`${counters.bounded} found no room within the limits of a module`);
  if (unread === 0) return FINE;
  for (const problem of unreadable) say(problem);
  const more = unread > unreadable.length ? ` (${unread - unreadable.length} more like them)` : '';
  say(`${unread} ${unread === 1 ? 'line was' : 'lines were'} left out${more}`);
  return FOUND_A_PROBLEM;
}

/** Which file feeds which input: `name=file`, or a file alone for the only input or the one that is called `input`. */
function filesOf(engine: Engine, given: readonly string[]): { readonly input: string; readonly file: string }[] {
  const known = (name: string) => engine.inputs.find((input) => input.toLowerCase() === name.toLowerCase());
  if (given.length === 0) {
    const forms =
      engine.inputs.length === 1 ? '--input FILE' : engine.inputs.map((name) => `--input ${name}=FILE`).join(' ');
    throw new CliError(`there are no events: give them with ${forms}`, USED_WRONGLY);
  }
  return given.map((text) => {
    const equals = text.indexOf('=');
    const named = equals > 0 ? known(text.slice(0, equals)) : undefined;
    if (named !== undefined) return { input: named, file: text.slice(equals + 1) };
    const input = engine.inputs.length === 1 ? engine.inputs[0] : known('input');
    const inputs = engine.inputs.join(', ');
    if (equals > 0 && /^[\w-]+$/.test(text.slice(0, equals))) {
      throw new CliError(`the query has no input ${text.slice(0, equals)}; it reads ${inputs}`, USED_WRONGLY);
    }
    if (input === undefined)
      throw new CliError(`which input is ${text} for? the query reads ${inputs}: --input name=${text}`, USED_WRONGLY);
    return { input, file: text };
  });
}

async function read(
  reading: Reading,
  engine: Engine,
  input: string,
  file: string,
  timestampBy: string | undefined,
): Promise<void> {
  if (!engine.timestamped(input) && timestampBy === undefined && engine.usesTime) {
    throw new CliError(
      `events of ${input} have no time to be replayed by: write TIMESTAMP BY in the query, or name the field with --timestamp-by`,
      USED_WRONGLY,
    );
  }
  const events: { fields: Fields; time: number | null; line: number }[] = [];
  const lines = textLines(file === '-' ? process.stdin : createReadStream(file));
  let untimed: string | null = null;
  try {
    for await (const { number, text } of lines) {
      if (text?.trim() === '') continue;
      const fields = fieldsOf(reading, `${file}:${number}`, text);
      if (fields === null) continue;
      try {
        events.push({ fields, time: timeOf(engine, input, fields, timestampBy), line: number });
      } catch (error) {
        if (!(error instanceof ValueError)) throw error;
        untimed ??= `${file}:${number}: ${error.message}`;
        drop(reading, `${file}:${number}: ${error.message}`);
      }
    }
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    throw new CliError(`cannot read ${file}: ${(error as Error).message}`);
  }
  if (events.length === 0 && untimed !== null) throw new CliError(printable(untimed));
  let last = events.find(({ time }) => time !== null)?.time ?? 0;
  for (const { fields, time, line } of events) {
    reading.events.push({ input, fields, time: (last = time ?? last), file, line });
  }
}

function drop(reading: Reading, why: string): void {
  reading.dropped++;
  reading.firstFault ??= why;
}

/** The event of a line; null when there is none, which is then kept in mind. */
function fieldsOf(reading: Reading, place: string, text: string | null): Fields | null {
  let problem = 'the line is too long, or not UTF-8';
  try {
    const value = text === null ? null : parseBody(Buffer.from(text));
    if (isRecord(value)) return value;
    if (text !== null) problem = 'an event is a JSON object';
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    problem = error.message;
    if (isJson(text!)) {
      drop(reading, `${place}: ${problem}`);
      return null;
    }
  }
  reading.unread++;
  if (reading.unreadable.length < NAMED_MAX) reading.unreadable.push(`${place}: ${printable(problem)}`);
  return null;
}

/** Whether it is JSON, though it may hold what the language does not, such as an integer beyond 64 bits. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Whole microseconds. Null for an event without a time that its input's TIMESTAMP BY asks for: the query drops it, and counts it.
 * Throws ValueError when there is none where `--timestamp-by` says.
 */
function timeOf(engine: Engine, input: string, fields: Fields, timestampBy: string | undefined): number | null {
  try {
    const time = engine.timeOf(input, fields);
    if (time !== null) return time;
  } catch (error) {
    if (error instanceof ValueError) return null;
    throw error;
  }
  if (timestampBy === undefined) return null;
  // A field may have the dot in its name.
  const value =
    getField(fields, timestampBy) ?? timestampBy.split('.').reduce<Value>((from, name) => getField(from, name), fields);
  const time = epochMicros(value);
  if (time !== null) return time;
  try {
    return momentOf(value);
  } catch {
    throw new ValueError(
      value === null
        ? `there is no ${timestampBy}`
        : `${timestampBy} is no datetime, no ISO 8601 text and no time since 1970: ${printBody(value).slice(0, 50)}`,
    );
  }
}

/** A number as time since 1970: seconds, or milliseconds or microseconds where seconds would lead beyond the year 5000. */
function epochMicros(value: Value): number | null {
  const number = toNumber(value);
  if (number === null) return null;
  const size = Math.abs(number);
  const micros = Math.round(number * (size < 1e11 ? 1e6 : size < 1e14 ? 1e3 : 1));
  return Math.abs(micros) <= MICROS_MAX ? micros : null;
}
