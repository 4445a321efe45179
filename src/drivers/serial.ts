import { CsvLineDecoder } from './decoders/csv.ts';
import type { LineDecoder } from './decoders/decoder.ts';
import { JsonLineDecoder } from './decoders/json.ts';
import { LineSplitter } from './decoders/lines.ts';
import { RegexLineDecoder } from './decoders/regex.ts';
import type { CommandResult } from '../commands/commands.ts';
import type { Driver, DriverContext } from './driver.ts';
import { SerialWriteError, WRITE_BYTES_MAX } from './serial-port.ts';
import { type PortSettings, type SerialPort, SerialPorts } from './serial-ports.ts';

/** How lines are told apart: the delimiter's text, and the most bytes a line may have before it. */
export interface LineOptions {
  readonly lineBytesMax: number;
  readonly delimiter: string;
}

export type SerialDecoderOptions = LineOptions &
  (
    | { readonly kind: 'json' }
    | { readonly kind: 'csv'; readonly columns: readonly string[]; readonly separator: string }
    | { readonly kind: 'regex'; readonly pattern: string }
  );

export interface SerialOptions extends PortSettings {
  readonly decoder: SerialDecoderOptions;
}

/**
 * Reads lines from a serial port; each good line is one JSON reading. When the port goes away the driver fails, and whoever
 * supervises it starts it again until the port is back. Command `write` sends a line.
 */
export class SerialDriver implements Driver {
  readonly #options: SerialOptions;
  readonly #context: DriverContext;
  readonly #splitter: LineSplitter;
  readonly #ports: SerialPorts;
  #port: SerialPort | undefined;
  /** Counts starts and stops, so that a start that was overtaken by a stop gives back what it opened. */
  #turn = 0;

  /** `ports`: those of all children; left out, this one is alone. */
  constructor(options: SerialOptions, context: DriverContext, ports = new SerialPorts(context.clock)) {
    this.#options = options;
    this.#context = context;
    this.#ports = ports;
    const decoder = lineDecoder(options.decoder);
    this.#splitter = new LineSplitter(options.decoder, {
      line: (line) => this.#read(decoder, line),
      malformed: (why, sample) => context.malformed(why, sample),
    });
  }

  /** Rejects with an error that names the port when it is not there, not ours to open, or in use. */
  async start(): Promise<void> {
    const turn = ++this.#turn;
    this.#splitter.reset();
    const port = await this.#ports.open(this.#options, this.#context.child, {
      bytes: (chunk) => {
        if (turn === this.#turn) this.#splitter.push(chunk);
      },
      gone: (error) => {
        if (turn !== this.#turn) return;
        this.#splitter.cutOff('cut off by unplugging');
        this.#context.failed(error);
      },
    });
    if (turn === this.#turn) this.#port = port;
    else await port.close();
  }

  async stop(): Promise<void> {
    this.#turn++;
    const port = this.#port;
    this.#port = undefined;
    this.#splitter.reset();
    await port?.close();
  }

  /**
   * `write`, payload a string, `{line: string}` or `{base64: string}`: sends it with the delimiter behind it, and answers
   * when the last byte has left.
   */
  async command(name: string, payload: unknown): Promise<CommandResult> {
    if (name !== 'write')
      return { status: 404, payload: { error: `a serial child has no command '${name}'; it has write` } };
    const line = lineToWrite(payload);
    if (typeof line === 'string') return { status: 400, payload: { error: line } };
    if (this.#port === undefined) return { status: 503, payload: { error: 'the serial port is closed' } };
    const bytes = Buffer.concat([line, Buffer.from(this.#options.decoder.delimiter, 'utf8')]);
    try {
      await this.#port.write(bytes);
      return { status: 200, payload: { bytes: bytes.length } };
    } catch (error) {
      if (!(error instanceof SerialWriteError)) throw error;
      return { status: error.reason === 'timeout' ? 504 : 503, payload: { error: error.message } };
    }
  }

  #read(decoder: LineDecoder, line: Buffer): void {
    const decoded = decoder.decode(line);
    if ('malformed' in decoded) this.#context.malformed(decoded.malformed, line);
    else this.#context.emit({ body: decoded.body, contentType: 'application/json', contentEncoding: 'utf-8' });
  }
}

function lineDecoder(options: SerialDecoderOptions): LineDecoder {
  switch (options.kind) {
    case 'json':
      return new JsonLineDecoder();
    case 'csv':
      return new CsvLineDecoder(options);
    case 'regex':
      return new RegexLineDecoder(options);
  }
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** The bytes that a `write` payload asks for, or what is wrong with it. */
function lineToWrite(payload: unknown): Buffer | string {
  let line: Buffer | undefined;
  if (typeof payload === 'string') line = Buffer.from(payload, 'utf8');
  else if (typeof payload === 'object' && payload !== null) {
    const { line: text, base64 } = payload as { line?: unknown; base64?: unknown };
    if (typeof text === 'string' && base64 === undefined) line = Buffer.from(text, 'utf8');
    if (typeof base64 === 'string' && text === undefined && BASE64.test(base64)) line = Buffer.from(base64, 'base64');
  }
  if (line === undefined) return 'write needs a string, {"line": "..."} or {"base64": "..."}';
  if (line.length > WRITE_BYTES_MAX) return `write takes at most ${WRITE_BYTES_MAX} bytes`;
  return line;
}
