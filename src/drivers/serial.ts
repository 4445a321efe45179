import { streamDecoder, type StreamDecoder, type StreamDecoderOptions } from './decoders/stream.ts';
import type { Timer } from '../clock/clock.ts';
import type { CommandResult } from '../commands/commands.ts';
import type { Driver, DriverContext } from './driver.ts';
import { SerialWriteError, WRITE_BYTES_MAX } from './serial-port.ts';
import { type PortSettings, type SerialPort, SerialPorts } from './serial-ports.ts';

/** How often silence is looked for in the time after which a silent port is opened again. */
const LOOKS_IN_SILENCE = 4;

export interface SerialOptions extends PortSettings {
  readonly decoder: StreamDecoderOptions;
}

/**
 * Reads a serial port; each good line, sentence or frame is one reading. When the port goes away the driver fails, and whoever
 * supervises it starts it again until the port is back. A port on which nothing comes for
 * `reopenAfterMs` counts as gone. Command `write` sends a line, or bytes.
 */
export class SerialDriver implements Driver {
  readonly #options: SerialOptions;
  readonly #context: DriverContext;
  readonly #decoder: StreamDecoder;
  readonly #ports: SerialPorts;
  #port: SerialPort | undefined;
  #watch: Timer | undefined;
  #heardAt = 0;
  /** Counts starts and stops, so that a start that was overtaken by a stop gives back what it opened. */
  #turn = 0;

  /** `ports`: those of all children; left out, this one is alone. */
  constructor(options: SerialOptions, context: DriverContext, ports = new SerialPorts(context.clock)) {
    this.#options = options;
    this.#context = context;
    this.#ports = ports;
    this.#decoder = streamDecoder(options.decoder, context.clock, {
      reading: (reading) => context.emit(reading),
      malformed: (why, sample) => context.malformed(why, sample),
    });
  }

  /** Rejects with an error that names the port when it is not there, not ours to open, or in use. */
  async start(): Promise<void> {
    const turn = ++this.#turn;
    const { clock } = this.#context;
    this.#decoder.reset();
    const port = await this.#ports.open(this.#options, this.#context.child, {
      bytes: (chunk) => {
        if (turn !== this.#turn) return;
        this.#heardAt = clock.monotonic();
        this.#decoder.push(chunk);
      },
      gone: (error) => {
        if (turn !== this.#turn) return;
        this.#decoder.cutOff('cut off by unplugging');
        this.#context.failed(error);
      },
    });
    if (turn !== this.#turn) {
      await port.close();
      return;
    }
    this.#port = port;
    this.#heardAt = clock.monotonic();
    const { reopenAfterMs } = this.#options;
    if (reopenAfterMs === undefined) return;
    this.#watch = clock.every(reopenAfterMs / LOOKS_IN_SILENCE, () => {
      if (turn !== this.#turn || clock.monotonic() - this.#heardAt < reopenAfterMs) return;
      this.#context.failed(new Error(`nothing came for ${reopenAfterMs / 1000} s: the port is opened again`));
    });
  }

  async stop(): Promise<void> {
    this.#turn++;
    this.#watch?.cancel();
    const port = this.#port;
    this.#port = undefined;
    this.#decoder.reset();
    await port?.close();
  }

  /**
   * `write`, payload a string, `{line: string}` or `{base64: string}`: sends it with the delimiter behind it (frames have none), and answers
   * when the last byte has left.
   */
  async command(name: string, payload: unknown): Promise<CommandResult> {
    if (name !== 'write')
      return { status: 404, payload: { error: `a serial child has no command '${name}'; it has write` } };
    const line = lineToWrite(payload);
    if (typeof line === 'string') return { status: 400, payload: { error: line } };
    if (this.#port === undefined) return { status: 503, payload: { error: 'the serial port is closed' } };
    const bytes = Buffer.concat([line, this.#decoder.delimiter]);
    try {
      await this.#port.write(bytes);
      return { status: 200, payload: { bytes: bytes.length } };
    } catch (error) {
      if (!(error instanceof SerialWriteError)) throw error;
      return { status: error.reason === 'timeout' ? 504 : 503, payload: { error: error.message } };
    }
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
