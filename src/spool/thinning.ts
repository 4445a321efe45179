import type { Message, Stored } from '../message/message.ts';

/** Of each stream every so many messages stay, at each step: over the steps every 2nd, 4th, 8th ... */
const KEEP_EVERY = 2;
/** Numbers in a body whose least and greatest are kept. */
const NUMBERS_MAX = 8;
/** How deep they may lie. */
const DEPTH_MAX = 4;
/** Larger bodies are not looked into, bytes. */
const BODY_BYTES_MAX = 4096;

/** Least and greatest of one number of a stream, and where they stand. */
interface Range {
  min: number;
  minAt: number;
  max: number;
  maxAt: number;
}

interface Stream {
  readonly places: number[];
  readonly ranges: Map<string, Range>;
}

/**
 * Which messages of a window stay when it is thinned by one step: of each child and output every second, and always the
 * window's first and last, and those with the least and the greatest of each number where bodies are numeric JSON.
 */
export function thinned(window: readonly Stored[]): { readonly kept: Stored[]; readonly gone: Stored[] } {
  const streams = new Map<string, Stream>();
  window.forEach(({ message }, place) => {
    const { child, module = '', output = '' } = message.source;
    const name = `${child}\0${module}\0${output}`;
    let stream = streams.get(name);
    if (stream === undefined) streams.set(name, (stream = { places: [], ranges: new Map() }));
    stream.places.push(place);
    note(stream.ranges, message, place);
  });
  const stays = new Uint8Array(window.length);
  for (const { places, ranges } of streams.values()) {
    for (let n = 0; n < places.length; n += KEEP_EVERY) stays[places[n]!] = 1;
    stays[places.at(-1)!] = 1;
    for (const { minAt, maxAt } of ranges.values()) stays[minAt] = stays[maxAt] = 1;
  }
  const kept: Stored[] = [];
  const gone: Stored[] = [];
  window.forEach((stored, place) => (stays[place] === 1 ? kept : gone).push(stored));
  return { kept, gone };
}

function note(ranges: Map<string, Range>, message: Message, place: number): void {
  for (const [name, value] of numbersIn(message)) {
    const range = ranges.get(name);
    if (range === undefined) {
      if (ranges.size < NUMBERS_MAX) ranges.set(name, { min: value, minAt: place, max: value, maxAt: place });
      continue;
    }
    if (value < range.min) {
      range.min = value;
      range.minAt = place;
    }
    if (value > range.max) {
      range.max = value;
      range.maxAt = place;
    }
  }
}

/** The numbers of a body, by their path: of `{"machine": {"temperature": 21.5}}` it is `.machine.temperature`. */
function numbersIn({ body, contentEncoding }: Message): [string, number][] {
  if (body.length === 0 || body.length > BODY_BYTES_MAX || contentEncoding !== undefined) return [];
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    return [];
  }
  const found: [string, number][] = [];
  collect(value, '', 0, found);
  return found;
}

function collect(value: unknown, path: string, depth: number, found: [string, number][]): void {
  if (found.length >= NUMBERS_MAX) return;
  if (typeof value === 'number') found.push([path, value]);
  else if (typeof value === 'object' && value !== null && depth < DEPTH_MAX) {
    for (const [name, part] of Object.entries(value)) collect(part, `${path}.${name}`, depth + 1, found);
  }
}
