import type { Clock } from '../../clock/clock.ts';
import type { Reading } from '../../message/message.ts';
import { type CsvColumn, CsvLineDecoder } from './csv.ts';
import type { LineDecoder } from './decoder.ts';
import { type FrameOptions, FrameReader } from './frame.ts';
import { JsonLineDecoder } from './json.ts';
import { LineSplitter } from './lines.ts';
import { NmeaLineDecoder, type NmeaOptions } from './nmea.ts';
import { RegexLineDecoder, type RegexOptions } from './regex.ts';

/** A sentence has at most 82 characters (NMEA 0183 section 5.3); some devices send more. */
const NMEA_LINES: LineOptions = { lineBytesMax: 1_024, delimiter: '\n' };

/** How lines are told apart: the delimiter's text, and the most bytes a line may have before it. */
export interface LineOptions {
  readonly lineBytesMax: number;
  readonly delimiter: string;
}

type LineDecoderOptions =
  | (LineOptions & { readonly kind: 'json' })
  | (LineOptions & { readonly kind: 'csv'; readonly columns: readonly CsvColumn[]; readonly separator: string })
  | (LineOptions & RegexOptions & { readonly kind: 'regex' })
  | (NmeaOptions & { readonly kind: 'nmea' });

export type StreamDecoderOptions = LineDecoderOptions | (FrameOptions & { readonly kind: 'frame' });

/** Where readings go, and input that became none. */
export interface StreamSink {
  reading(reading: Reading): void;
  malformed(why: string, sample: Buffer): void;
}

/** Makes readings of a stream of bytes, whatever the chunks it arrives in. */
export interface StreamDecoder {
  /** Stands behind what is written to the device. */
  readonly delimiter: Buffer;
  push(chunk: Buffer): void;
  /** The stream ended here: what is held cannot be trusted to be whole, and is reported as malformed. */
  cutOff(why: string): void;
  /** Forgets what is held. */
  reset(): void;
}

export function streamDecoder(options: StreamDecoderOptions, clock: Clock, sink: StreamSink): StreamDecoder {
  if (options.kind === 'frame') return frames(options, clock, sink);
  const decoder = lineDecoder(options, clock);
  const lines = options.kind === 'nmea' ? NMEA_LINES : options;
  const splitter = new LineSplitter(lines, {
    line: (line) => {
      const decoded = decoder.decode(line);
      if ('malformed' in decoded) sink.malformed(decoded.malformed, line);
      else if ('body' in decoded)
        sink.reading({ ...decoded, contentType: 'application/json', contentEncoding: 'utf-8' });
    },
    malformed: (why, sample) => sink.malformed(why, sample),
  });
  return {
    // NMEA 0183 section 5.3.1.
    delimiter: Buffer.from(options.kind === 'nmea' ? '\r\n' : options.delimiter, 'utf8'),
    push: (chunk) => splitter.push(chunk),
    cutOff: (why) => splitter.cutOff(why),
    reset: () => splitter.reset(),
  };
}

function frames(options: FrameOptions, clock: Clock, sink: StreamSink): StreamDecoder {
  const reader = new FrameReader(options, clock, {
    body: (body, contentType) => {
      const text = contentType === 'application/json';
      sink.reading({ body, contentType, ...(text && { contentEncoding: 'utf-8' }) });
    },
    malformed: (why, sample) => sink.malformed(why, sample),
  });
  return {
    delimiter: Buffer.alloc(0),
    push: (chunk) => reader.push(chunk),
    cutOff: (why) => reader.cutOff(why),
    reset: () => reader.reset(),
  };
}

function lineDecoder(options: LineDecoderOptions, clock: Clock): LineDecoder {
  switch (options.kind) {
    case 'json':
      return new JsonLineDecoder();
    case 'csv':
      return new CsvLineDecoder(options);
    case 'regex':
      return new RegexLineDecoder(options);
    case 'nmea':
      return new NmeaLineDecoder(options, clock);
  }
}
