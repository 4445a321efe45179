/** Longest line that may be configured, bytes without its delimiter: a decoded line must fit into one message. */
const LINE_BYTES_MAX = 262_144;
/** A chunk is worked on in slices of this many bytes, so that the buffer's size does not depend on how much was read. */
const SLICE_BYTES = 4_096;
/** Bytes of an over-long line that are kept to show what it was. */
const SAMPLE_BYTES = 80;

const CR = 0x0d;

/** Where a line goes, and where input goes that never became one. */
export interface LineSink {
  /** One line without its delimiter, never empty. The bytes are the splitter's own and change after the call: copy them. */
  line(bytes: Buffer): void;
  malformed(why: string, sample: Buffer): void;
}

/**
 * Cuts a stream of bytes into lines, whatever the chunks it arrives in.
 *
 * A line longer than `lineBytesMax` is dropped up to the next delimiter and reported once, as soon as it is known to be too
 * long: a device that never sends a delimiter is reported, and costs no memory. With the delimiter LF, a CR before it is
 * dropped. Empty lines are ignored.
 */
export class LineSplitter {
  readonly #delimiter: Buffer;
  readonly #lineBytesMax: number;
  readonly #sink: LineSink;
  /** 1 when a CR before the delimiter does not count as part of the line. */
  readonly #crBytes: number;
  readonly #held: Buffer;
  #used = 0;
  /** Inside an over-long line: everything up to the next delimiter is dropped. */
  #skipping = false;

  constructor(options: { readonly delimiter: string; readonly lineBytesMax: number }, sink: LineSink) {
    this.#delimiter = Buffer.from(options.delimiter, 'utf8');
    if (this.#delimiter.length === 0) throw new RangeError('a line delimiter needs at least one byte');
    if (!(options.lineBytesMax >= 1 && options.lineBytesMax <= LINE_BYTES_MAX)) {
      throw new RangeError(`lineBytesMax ${options.lineBytesMax} is not between 1 and ${LINE_BYTES_MAX}`);
    }
    this.#lineBytesMax = options.lineBytesMax;
    this.#sink = sink;
    this.#crBytes = options.delimiter === '\n' ? 1 : 0;
    // Not from Node's shared pool: held for the life of the port, and untouched pages of a large one cost nothing.
    this.#held = Buffer.allocUnsafeSlow(this.#undecidedMax() + SLICE_BYTES);
  }

  push(chunk: Buffer): void {
    for (let from = 0; from < chunk.length; from += SLICE_BYTES) {
      this.#take(chunk.subarray(from, from + SLICE_BYTES));
    }
  }

  /** The stream ended here: what is held of a line cannot be trusted to be whole, and is reported as malformed. */
  cutOff(why: string): void {
    const partial = this.#skipping ? Buffer.alloc(0) : this.#withoutCr(0, this.#used);
    this.reset();
    if (partial.length > 0) this.#sink.malformed(why, partial);
  }

  /** Forgets what is held. */
  reset(): void {
    this.#used = 0;
    this.#skipping = false;
  }

  #take(slice: Buffer): void {
    // A delimiter may begin in what was held before, but is not wholly in there.
    let scan = Math.max(0, this.#used - (this.#delimiter.length - 1));
    slice.copy(this.#held, this.#used);
    this.#used += slice.length;
    let start = 0;
    for (;;) {
      const end = this.#held.subarray(0, this.#used).indexOf(this.#delimiter, scan);
      if (end < 0) break;
      if (this.#skipping) this.#skipping = false;
      else this.#deliver(this.#withoutCr(start, end));
      start = scan = end + this.#delimiter.length;
    }
    this.#keepFrom(start);
  }

  #deliver(line: Buffer): void {
    if (line.length === 0) return;
    if (line.length > this.#lineBytesMax) this.#tooLong(line);
    else this.#sink.line(line);
  }

  /** Holds the bytes from `start` on, or, inside an over-long line, only what may be the beginning of a delimiter. */
  #keepFrom(start: number): void {
    if (!this.#skipping && this.#used - start > this.#undecidedMax()) {
      this.#tooLong(this.#held.subarray(start, this.#used));
      this.#skipping = true;
    }
    const from = this.#skipping ? Math.max(start, this.#used - (this.#delimiter.length - 1)) : start;
    this.#held.copyWithin(0, from, this.#used);
    this.#used -= from;
  }

  /** Bytes without a delimiter that may still turn out to be a line of allowed length followed by part of a delimiter. */
  #undecidedMax(): number {
    return this.#lineBytesMax + this.#crBytes + this.#delimiter.length - 1;
  }

  #tooLong(line: Buffer): void {
    this.#sink.malformed(`line longer than ${this.#lineBytesMax} bytes`, line.subarray(0, SAMPLE_BYTES));
  }

  #withoutCr(start: number, end: number): Buffer {
    const crLast = this.#crBytes === 1 && end > start && this.#held[end - 1] === CR;
    return this.#held.subarray(start, crLast ? end - 1 : end);
  }
}
