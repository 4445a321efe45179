import { stat } from 'node:fs/promises';
import type { SerialPort as SerialPortStream } from 'serialport';
import type { Clock, Timer } from '../clock/clock.ts';
import { type Rs485, setRs485 } from './rs485.ts';
import { keepPollers } from './serial-poller.ts';
import { endReadsAtHangup } from './serial-read.ts';

/** How often an open port is compared with what its path names now, ms. */
const PRESENT_EVERY_MS = 2_000;
/** Longest write, bytes, and most writes that wait at one port. */
export const WRITE_BYTES_MAX = 8_192;
const WRITES_WAITING_MAX = 16;
/** What a write may take beyond its own time on the wire, ms. */
const WRITE_SLACK_MS = 2_000;
/** A write has its time in so many parts: a machine that stands still for a while costs it one of them, and not its port. */
const WRITE_PARTS = 8;
/** What serialport reads at once and keeps a pool of, bytes, per port; its own 64 KiB is more than a tty ever returns. */
const READ_POOL_BYTES = 16_384;
/** Longest frame on the wire per byte: start, 8 data, parity, 2 stop. */
const BITS_PER_BYTE_MAX = 12;

const ABSENT = 'does not exist: unplugged, or the name is wrong';

export interface SerialLine {
  /** Path of the device, already resolved from the profile. */
  readonly port: string;
  readonly baudRate: number;
  readonly dataBits: 5 | 6 | 7 | 8;
  readonly parity: 'none' | 'even' | 'odd';
  readonly stopBits: 1 | 2;
  /** Switches the direction of an RS-485 transceiver by RTS. */
  readonly rs485?: Rs485 | undefined;
}

export interface SerialPortEvents {
  /** Bytes in the order of arrival. They belong to a pool: copy what is kept. */
  bytes(chunk: Buffer): void;
  /** The port is of no more use; called at most once, and not for a close that was asked for. */
  gone(error: Error): void;
}

/** Why a write did not happen: the port is gone, or was too busy, or took longer than the line allows. */
export class SerialWriteError extends Error {
  readonly reason: 'closed' | 'busy' | 'timeout';
  constructor(reason: 'closed' | 'busy' | 'timeout', message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Somebody else has the port. */
export class PortInUseError extends Error {}

/**
 * One open serial port. All that is odd in the package `serialport` 13 stops in this file, in serial-read.ts and serial-poller.ts:
 * - not every way of going away is told, and a device may come back under its name before anybody noticed. So the path is
 *   looked at each 2 s.
 * - `drain()` and `write()` on a port that just closed wait for a next `open` that never comes: every write races the close.
 * - `drain()` is tcdrain(3) on one of libuv's four threads, which LMDB's commits need too; a line that takes nothing would
 *   hold it for ever. When a write is late the port is flushed, which ends the tcdrain, and given up.
 * - a write error arrives as callback, `error` and `close`, and `close` twice: only the first counts.
 * - it cannot do mark or space parity or 1.5 stop bits on Linux: the configuration does not offer them.
 * - its `open` errors lack a code, and ENOENT, EACCES and "in use" are told apart by text.
 */
export class OpenSerialPort {
  readonly #line: SerialLine;
  readonly #clock: Clock;
  readonly #port: SerialPortStream;
  readonly #events: SerialPortEvents;
  readonly #presence: Timer;
  /** Rejects the writes that wait when the port closes. */
  readonly #waiting = new Set<(error: SerialWriteError) => void>();
  #waitingBytes = 0;
  #closed = false;

  private constructor(
    line: SerialLine,
    clock: Clock,
    port: SerialPortStream,
    identity: string,
    events: SerialPortEvents,
  ) {
    this.#line = line;
    this.#clock = clock;
    this.#port = port;
    this.#events = events;
    port.on('error', (error) => this.#gone(error));
    port.on('close', (error?: Error | null) => this.#gone(error ?? new Error('closed')));
    port.on('data', (chunk: Buffer) => {
      if (!this.#closed) events.bytes(chunk);
    });
    this.#presence = clock.every(PRESENT_EVERY_MS, () => this.#lookAtPath(identity));
  }

  /** Opens the port; what the device said before is thrown away. Rejects with an error that names the port. */
  static async open(line: SerialLine, clock: Clock, events: SerialPortEvents): Promise<OpenSerialPort> {
    try {
      const identity = await deviceIdentity(line.port);
      const port = await openStream(line);
      return new OpenSerialPort(line, clock, port, identity, events);
    } catch (error) {
      throw new Error(`serial port ${line.port} ${(error as Error).message}`, { cause: error });
    }
  }

  /** Resolves when the last byte has left for the wire. Rejects with {@link SerialWriteError}. */
  async write(bytes: Buffer): Promise<void> {
    if (this.#closed || !this.#port.isOpen) throw this.#closedError();
    if (this.#waiting.size >= WRITES_WAITING_MAX) {
      throw new SerialWriteError(
        'busy',
        `serial port ${this.#line.port}: ${WRITES_WAITING_MAX} writes are waiting already`,
      );
    }
    this.#waitingBytes += bytes.length;
    const limitMs = WRITE_SLACK_MS + (this.#waitingBytes * BITS_PER_BYTE_MAX * 1000) / this.#line.baudRate;
    let giveUp = (_error: SerialWriteError): void => {};
    let timer: Timer | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        giveUp = reject;
        this.#waiting.add(giveUp);
        let parts = WRITE_PARTS;
        const wait = (): void => {
          timer = this.#clock.after(limitMs / WRITE_PARTS, () => (--parts > 0 ? wait() : late()));
        };
        const late = (): void => {
          const error = new SerialWriteError(
            'timeout',
            `${bytes.length} bytes were not taken in ${Math.round(limitMs)} ms`,
          );
          reject(error);
          // Given up as a whole: what serialport still holds of the write would leave in pieces, later.
          this.#port.flush(() => {});
          this.#gone(error);
        };
        wait();
        this.#port.write(bytes, (error) => {
          if (error) reject(this.#closedError());
          else if (!this.#closed && this.#port.isOpen) {
            this.#port.drain((drainError) => (drainError ? reject(this.#closedError()) : resolve()));
          }
        });
      });
    } finally {
      timer?.cancel();
      this.#waiting.delete(giveUp);
      this.#waitingBytes -= bytes.length;
    }
  }

  /** Closes the port; resolves when the device is free again. Never rejects: a port that cannot be closed is gone as well. */
  async close(): Promise<void> {
    const busy = this.#waiting.size > 0;
    this.#end();
    if (!this.#port.isOpen) return;
    if (busy) await called((done) => this.#port.flush(done));
    if (this.#port.isOpen) await called((done) => this.#port.close(done));
  }

  #gone(error: Error): void {
    if (this.#closed) return;
    this.#end();
    this.#events.gone(new Error(`serial port ${this.#line.port} went away: ${whyGone(error)}`));
  }

  #end(): void {
    this.#closed = true;
    this.#presence.cancel();
    for (const reject of this.#waiting) reject(this.#closedError());
  }

  #lookAtPath(identity: string): void {
    deviceIdentity(this.#line.port).then(
      (now) => {
        if (now !== identity) this.#gone(new Error('another device has its name now'));
      },
      (error: Error) => this.#gone(error),
    );
  }

  #closedError(): SerialWriteError {
    return new SerialWriteError('closed', `serial port ${this.#line.port} is closed`);
  }
}

/** Resolves when `act` calls back, with an error or without: there is nothing to be done about one. */
async function called(act: (done: () => void) => void): Promise<void> {
  await new Promise<void>((resolve) => {
    act(resolve);
  });
}

/** The kernel's and libuv's words for a pulled plug, in the user's. */
function whyGone(error: Error): string {
  return /bad file descriptor|hung up|\bEIO\b/.test(error.message) ? `unplugged (${error.message})` : error.message;
}

/** What a path names at this moment; differs after a replug even if the name is the same. */
async function deviceIdentity(path: string): Promise<string> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') throw new Error(ABSENT, { cause: error });
    throw error;
  });
  if (!found.isCharacterDevice()) throw new Error('is not a device');
  return `${found.dev}:${found.ino}:${found.rdev}`;
}

async function openStream(line: SerialLine): Promise<SerialPortStream> {
  const { port: path, baudRate, dataBits, parity, stopBits, rs485 } = line;
  // Imported here and not above: 15 MiB that a gateway without serial children does not pay.
  const { SerialPort } = await import('serialport');
  keepPollers();
  const framing = { baudRate, dataBits, parity, stopBits };
  const port = new SerialPort({ path, ...framing, autoOpen: false, highWaterMark: READ_POOL_BYTES });
  await new Promise<void>((resolve, reject) => {
    port.open((error) => (error ? reject(openError(error)) : resolve()));
  });
  endReadsAtHangup(port);
  if (rs485 === undefined) return port;
  try {
    setRs485((port.port as unknown as { fd: number }).fd, rs485);
    return port;
  } catch (error) {
    await called((done) => port.close(done));
    throw error;
  }
}

function openError(error: Error): Error {
  const what = error.message;
  if (/Permission denied/i.test(what))
    return new Error("may not be opened; the gateway's user must be in the group dialout");
  if (/Cannot lock port/i.test(what)) return new PortInUseError('is in use by another program');
  if (/No such file/i.test(what)) return new Error(ABSENT);
  if (/Inappropriate ioctl/i.test(what)) return new Error('is not a serial port');
  // The kernel keeps names like /dev/ttyS0 whether there is a UART or not: opening works, nothing else does.
  if (/Input\/output error/i.test(what)) return new Error('does not answer: there is no UART behind that name');
  return new Error(`cannot be opened: ${what}`);
}
