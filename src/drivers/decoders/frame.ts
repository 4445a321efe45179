import type { Clock, Timer } from '../../clock/clock.ts';
import { type Checksum, checksum, CHECKSUM_BYTES } from '../checksum.ts';
import { NUMBER_BYTES, type NumberFormat, readScaled } from '../number.ts';
import { jsonObject } from './decoder.ts';

/** A frame whose bytes stop coming for so long will not be finished, ms. */
const PAUSE_MS_MAX = 1_000;
/** Bytes of a malformed frame that are kept to show what it was. */
const SAMPLE_BYTES = 80;

export interface FrameField {
  readonly name: string;
  /** Position of its first byte in the frame: 0 is the first of `start`. */
  readonly at: number;
  readonly format: NumberFormat | 'bool' | 'hex' | 'string';
  /** Bytes of `hex` and `string`. */
  readonly length?: number | undefined;
  readonly bit?: number | undefined;
  readonly byteOrder: 'big' | 'little';
  readonly scale: number;
  readonly offset: number;
}

export interface FrameOptions {
  /** What every frame begins with; may be empty. */
  readonly start: Buffer;
  /** What every frame ends with. Exactly one of `end`, `length` and `size` is there. */
  readonly end?: Buffer | undefined;
  /** With `end`: stands before a byte that would mean something else, which is XORed with `xor`. */
  readonly escape?: { readonly byte: number; readonly xor: number } | undefined;
  /** A number in the frame says how long it is: the whole frame has that many bytes and `adds` more. */
  readonly length?:
    | {
        readonly at: number;
        readonly format: NumberFormat;
        readonly byteOrder: 'big' | 'little';
        readonly adds: number;
      }
    | undefined;
  /** All frames have this many bytes. */
  readonly size?: number | undefined;
  /** Longest frame, bytes. */
  readonly frameBytesMax: number;
  /** The last bytes before `end`, over all before it from `from` on. */
  readonly checksum?:
    | { readonly kind: Checksum; readonly from: number; readonly byteOrder: 'big' | 'little' }
    | undefined;
  /** Left out: the frame's own bytes are the body. */
  readonly fields?: readonly FrameField[] | undefined;
}

export interface FrameSink {
  body(bytes: Buffer, contentType: string): void;
  malformed(why: string, sample: Buffer): void;
}

/**
 * What stands at the front of the bytes held: too little to know, none (`upToEnd`: nor in any of the bytes up to the next
 * end), or a frame of so many bytes on the wire.
 */
type Front =
  | 'more'
  | { readonly malformed: string; readonly upToEnd?: boolean }
  | { readonly wire: number; readonly frame: Buffer };

/**
 * Cuts a stream of bytes into binary frames, whatever the chunks it arrives in. Where a frame turns out not to be one, the next is
 * looked for one byte further on, so that a start that is only data, a cut frame or a wrong length costs as little as can
 * be; each stretch of such bytes is reported once. What was waited for in vain is searched in the same way. Only where an end
 * is all that tells frames apart, one that is too long is passed over up to its end: its tail would look like a frame.
 */
export class FrameReader {
  readonly #options: FrameOptions;
  readonly #clock: Clock;
  readonly #sink: FrameSink;
  #held: Buffer = Buffer.alloc(0);
  /** A stretch that is no frame, its length and its beginning; reported when it is over. */
  #garbage: Buffer = Buffer.alloc(0);
  #garbageBytes = 0;
  #why = '';
  /** Inside a frame that is too long: everything up to the next end is dropped. */
  #passing = false;
  /** Runs while something is held that may become a frame. */
  #pause: Timer | undefined;

  constructor(options: FrameOptions, clock: Clock, sink: FrameSink) {
    this.#options = options;
    this.#clock = clock;
    this.#sink = sink;
  }

  push(chunk: Buffer): void {
    this.#pause?.cancel();
    this.#pause = undefined;
    this.#held = Buffer.concat([this.#held, chunk]);
    this.#search();
    if (this.#held.length === 0 && !this.#passing) return;
    // Not when the next bytes come: whole frames may be held behind a false start, and be the last for a long time.
    this.#pause = this.#clock.after(PAUSE_MS_MAX, () => this.#giveUp('a frame was cut off'));
  }

  /** The stream ended here: what is held and no frame is reported as malformed. */
  cutOff(why: string): void {
    this.#giveUp(why);
    this.reset();
  }

  /** Forgets what is held. */
  reset(): void {
    this.#pause?.cancel();
    this.#pause = undefined;
    this.#held = Buffer.alloc(0);
    this.#passing = false;
    this.#forgetGarbage();
  }

  /** Takes the frames out of what is held. `over`: nothing more will come, for this reason; so what may have become a frame is none. */
  #search(over?: string): void {
    let at = 0;
    for (;;) {
      if (this.#passing) at = this.#behindEnd(at);
      if (this.#passing) break;
      at = this.#toStart(at);
      const front = this.#front(this.#held.subarray(at));
      if (front === 'more') {
        if (over === undefined || this.#isEmptyFrom(at)) break;
        // Without a start only an end makes a frame, and there is none.
        const bytes = this.#isOnlyEnded() ? this.#held.length - at : 1;
        this.#note(over, this.#held.subarray(at, at + bytes));
        at += bytes;
      } else if ('wire' in front) {
        this.#report();
        if (front.frame.length > 0) this.#deliver(front.frame);
        at += front.wire;
      } else if (front.upToEnd === true) {
        this.#report();
        this.#passing = true;
        const behind = this.#behindEnd(at);
        this.#sink.malformed(front.malformed, this.#held.subarray(at, Math.min(behind, at + SAMPLE_BYTES)));
        at = behind;
      } else {
        this.#note(front.malformed, this.#held.subarray(at, at + 1));
        at++;
      }
    }
    if (over !== undefined || at >= this.#held.length) this.#report();
    // A copy: what is held must not keep a whole read of the port alive.
    this.#held = Buffer.from(this.#held.subarray(at));
  }

  /** Searches what is held for the last time. */
  #giveUp(why: string): void {
    if (this.#passing) this.reset();
    else this.#search(why);
  }

  /** Whether nothing is left, or only a flag, which is the end of the frame before and may begin the next. */
  #isEmptyFrom(at: number): boolean {
    const { start, end } = this.#options;
    const rest = this.#held.subarray(at);
    return rest.length === 0 || (end !== undefined && start.equals(end) && rest.equals(start));
  }

  #isOnlyEnded(): boolean {
    return this.#options.end !== undefined && this.#options.start.length === 0;
  }

  /** Position behind the end of what is passed over, which is over then; or of the bytes that may be the beginning of that end. */
  #behindEnd(from: number): number {
    const { end, escape } = this.#options;
    if (end === undefined) throw new Error('only frames with an end are passed over');
    for (let at = from; ;) {
      if (isAt(this.#held, at, end)) {
        this.#passing = false;
        return at + end.length;
      }
      const step = escape !== undefined && this.#held[at] === escape.byte ? 2 : 1;
      if (at + Math.max(step, end.length) > this.#held.length) return at;
      at += step;
    }
  }

  /** Position of the next start, or of what may become one; bytes before it are no frame. */
  #toStart(from: number): number {
    const { start } = this.#options;
    if (start.length === 0) return from;
    let at = this.#held.indexOf(start, from);
    if (at < 0) {
      at = Math.max(from, this.#held.length - start.length + 1);
      while (at < this.#held.length && !start.subarray(0, this.#held.length - at).equals(this.#held.subarray(at))) at++;
    }
    if (at > from) this.#note('bytes outside of a frame', this.#held.subarray(from, at));
    return at;
  }

  #front(bytes: Buffer): Front {
    const { start, end, size, length, frameBytesMax } = this.#options;
    if (bytes.length === 0 || bytes.length < start.length) return 'more';
    if (end !== undefined) return this.#upToEnd(bytes, end);
    let whole = size;
    if (length !== undefined) {
      const until = length.at + NUMBER_BYTES[length.format];
      if (bytes.length < until) return 'more';
      whole = Number(numberAt(bytes, { ...length, scale: 1, offset: 0 })) + length.adds;
      if (whole < until || whole > frameBytesMax) return { malformed: `a frame of ${whole} bytes` };
    }
    if (whole === undefined) throw new Error('a frame needs end, length or size');
    if (bytes.length < whole) return 'more';
    return this.#checked(bytes.subarray(0, whole), whole);
  }

  #upToEnd(bytes: Buffer, end: Buffer): Front {
    const { start, escape, frameBytesMax } = this.#options;
    const isFlag = start.equals(end);
    const tooLong = { malformed: `longer than ${frameBytesMax} bytes`, upToEnd: this.#isOnlyEnded() };
    // Most often the answer without a look at each byte; escapes make a frame at most twice as long.
    if (bytes.indexOf(end, start.length) < 0) {
      const wireMax = escape === undefined ? frameBytesMax : 2 * frameBytesMax;
      return bytes.length < wireMax ? 'more' : tooLong;
    }
    const plain: number[] = [...start];
    for (let at = start.length; at < bytes.length; at++) {
      if (isAt(bytes, at, end)) {
        // One flag may end a frame and begin the next (HDLC, ISO/IEC 13239); two with nothing between are no frame.
        if (isFlag && plain.length === start.length) return { wire: start.length, frame: Buffer.alloc(0) };
        return this.#checked(Buffer.from(plain), isFlag ? at : at + end.length);
      }
      if (plain.length + end.length >= frameBytesMax) return tooLong;
      if (escape !== undefined && bytes[at] === escape.byte) {
        if (at + 1 >= bytes.length) return 'more';
        plain.push(bytes[++at]! ^ escape.xor);
      } else plain.push(bytes[at]!);
    }
    return 'more';
  }

  #checked(frame: Buffer, wire: number): Front {
    const { checksum: sum } = this.#options;
    if (sum === undefined) return { wire, frame };
    const place = frame.length - CHECKSUM_BYTES[sum.kind];
    // Of nothing many a sum is 0, and zeros are what a break on the line sounds like.
    if (place <= sum.from) return { malformed: 'too short for its checksum' };
    const said =
      sum.byteOrder === 'big'
        ? frame.readUIntBE(place, frame.length - place)
        : frame.readUIntLE(place, frame.length - place);
    if (checksum(sum.kind, frame.subarray(sum.from, place)) !== said) return { malformed: 'wrong checksum' };
    return { wire, frame };
  }

  #deliver(frame: Buffer): void {
    const { fields } = this.#options;
    if (fields === undefined) {
      this.#sink.body(Buffer.from(frame), 'application/octet-stream');
      return;
    }
    const values: [string, unknown][] = [];
    for (const field of fields) {
      if (field.at + fieldBytes(field) > frame.length) {
        this.#sink.malformed(`${frame.length} bytes are too short for ${field.name}`, frame.subarray(0, SAMPLE_BYTES));
        return;
      }
      values.push([field.name, valueAt(frame, field)]);
    }
    this.#sink.body(jsonObject(values), 'application/json');
  }

  /** Adds to the stretch that is no frame; the first reason is the one that is reported. */
  #note(why: string, bytes: Buffer): void {
    if (this.#garbageBytes === 0) this.#why = why;
    if (this.#garbageBytes >= this.#options.frameBytesMax) this.#report();
    if (this.#garbage.length < SAMPLE_BYTES) {
      this.#garbage = Buffer.concat([this.#garbage, bytes.subarray(0, SAMPLE_BYTES - this.#garbage.length)]);
    }
    this.#garbageBytes += bytes.length;
  }

  #report(): void {
    if (this.#garbageBytes === 0) return;
    this.#sink.malformed(this.#why, this.#garbage);
    this.#forgetGarbage();
  }

  #forgetGarbage(): void {
    this.#garbage = Buffer.alloc(0);
    this.#garbageBytes = 0;
  }
}

function isAt(bytes: Buffer, at: number, wanted: Buffer): boolean {
  return bytes[at] === wanted[0] && bytes.subarray(at, at + wanted.length).equals(wanted);
}

function fieldBytes({ format, length = 1 }: FrameField): number {
  if (format === 'hex' || format === 'string') return length;
  return format === 'bool' ? 1 : NUMBER_BYTES[format];
}

function valueAt(frame: Buffer, field: FrameField): unknown {
  const { at, format, bit } = field;
  const bytes = frame.subarray(at, at + fieldBytes(field));
  switch (format) {
    case 'bool':
      return bit === undefined ? bytes[0] !== 0 : ((bytes[0]! >> bit) & 1) === 1;
    case 'hex':
      return bytes.toString('hex');
    case 'string':
      return bytes.toString('latin1').replace(/\0.*$/s, '').trimEnd();
    default:
      return numberAt(frame, { ...field, format });
  }
}

function numberAt(
  bytes: Buffer,
  number: Pick<FrameField, 'at' | 'byteOrder' | 'scale' | 'offset'> & { readonly format: NumberFormat },
): number | string | null {
  const own = Buffer.from(bytes.subarray(number.at, number.at + NUMBER_BYTES[number.format]));
  return readScaled(number.format, number.byteOrder === 'big' ? own : own.reverse(), number);
}
