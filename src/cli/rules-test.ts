import { createReadStream } from 'node:fs';
import { parseBody, printBody } from '../query/body-json.ts';
import { getField } from '../query/field.ts';
import { isRecord, ValueError, type Fields, type Value } from '../query/value.ts';
import type { Engine, OutputEvent } from '../rules/engine.ts';
import { momentOf } from '../rules/timeline.ts';
import { engineOf, ruleSources } from './rules-source.ts';
import { referencesOf } from './rules-tables.ts';
import { CliError, FINE, print, printable, say, USED_WRONGLY } from './output.ts';
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
}

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
  const engine = engineOf(sources[0]!, referencesOf(options.reference ?? []));
  const events: Replayed[] = [];
  for (const { input, file } of filesOf(engine, options.input ?? [])) {
    const read = await eventsOf(engine, input, file, options.timestampBy);
    for (const event of read) events.push(event);
  }
  // Stable, so that what has equal time stays in the order of its file, and files in the order of the options.
  events.sort((a, b) => a.time - b.time);

  const out: OutputEvent[] = [];
  for (const { input, fields, time } of events) {
    for (const event of engine.feed(input, { fields, arrival: time, arrivalKnown: true })) out.push(event);
  }
  for (const event of engine.end()) out.push(event);
  out.sort((a, b) => a.time.ms - b.time.ms || a.time.ticks - b.time.ticks || a.select - b.select);
  const timed = engine.usesTime || options.timestampBy !== undefined;
  for (const { output, window, body } of out) {
    print(`{"output":${JSON.stringify(output)},"time":${timed ? `"${window}"` : 'null'},"body":${printBody(body)}}`);
  }
  report(engine);
  return FINE;
}

function report(engine: Engine): void {
  const { dropped, bounded } = engine.counters;
  if (dropped > 0) say(`${dropped} dropped, the first because ${printable(engine.firstFault ?? '')}`);
  if (bounded > 0) say(`${bounded} found no room within the limits of a module`);
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

async function eventsOf(
  engine: Engine,
  input: string,
  file: string,
  timestampBy: string | undefined,
): Promise<Replayed[]> {
  if (!engine.timestamped(input) && timestampBy === undefined && engine.usesTime) {
    throw new CliError(
      `events of ${input} have no time to be replayed by: write TIMESTAMP BY in the query, or name the field with --timestamp-by`,
      USED_WRONGLY,
    );
  }
  const events: { fields: Fields; time: number | null }[] = [];
  const problems: string[] = [];
  const lines = textLines(createReadStream(file));
  try {
    for await (const { number, text } of lines) {
      if (text?.trim() === '') continue;
      try {
        const fields = fieldsOf(text);
        events.push({ fields, time: timeOf(engine, input, fields, timestampBy) });
      } catch (error) {
        if (error instanceof TypeError || error instanceof RangeError) throw error;
        problems.push(`${file}:${number}: ${printable((error as Error).message)}`);
        if (problems.length === 20) break;
      }
    }
  } catch (error) {
    throw new CliError(`cannot read ${file}: ${(error as Error).message}`);
  }
  if (problems.length > 0) throw new CliError(problems.join('\n'));
  let last = events.find(({ time }) => time !== null)?.time ?? 0;
  return events.map(({ fields, time }) => ({ input, fields, time: (last = time ?? last) }));
}

function fieldsOf(text: string | null): Fields {
  if (text === null) throw new Error('the line is too long, or not UTF-8');
  const value = parseBody(Buffer.from(text));
  if (!isRecord(value)) throw new Error('an event is a JSON object');
  return value;
}

/** Null for an event without a time that its input's TIMESTAMP BY asks for: the query drops it, and counts it. */
function timeOf(engine: Engine, input: string, fields: Fields, timestampBy: string | undefined): number | null {
  try {
    const time = engine.timeOf(input, fields);
    if (time !== null) return time;
  } catch (error) {
    if (error instanceof ValueError) return null;
    throw error;
  }
  if (timestampBy === undefined) return null;
  const value = timestampBy.split('.').reduce<Value>((from, name) => getField(from, name), fields);
  try {
    return momentOf(value);
  } catch {
    throw new Error(`${timestampBy} is no datetime and no ISO 8601 text: ${printBody(value).slice(0, 50)}`);
  }
}
