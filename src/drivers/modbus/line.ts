import type { Clock, Timer } from '../../clock/clock.ts';
import type { OpenSerialPort, SerialLine, SerialPortEvents } from '../serial-port.ts';
import { type Answer, answerBytes, type FoundAnswer, findAnswer, FRAME_BYTES_MAX, framed } from './pdu.ts';
import { Unanswered } from './unanswered.ts';

/** Most requests that wait at one line. */
const WAITING_MAX = 256;
/** Silence between frames in characters, and above 19200 baud in ms ("MODBUS over serial line" V1.02, section 2.5.1.1). */
const SILENCE_CHARACTERS = 3.5;
const SILENCE_FAST_MS = 1.75;
const FAST_BAUD = 19_200;
/** How often a unit is asked again whose answers could be to something else. */
const DOUBTS_MAX = 5;
/** Bytes kept while an answer is awaited: one frame, its echo, and noise. */
const HELD_BYTES_MAX = 4 * FRAME_BYTES_MAX;
/** A line on which every request for so long got not a byte is opened again where nothing else is said, ms. */
const STUCK_MS = 120_000;

/** Why there is no answer. `garbled`: something came, but no frame with a right CRC. */
export class ModbusLineError extends Error {
  readonly reason: 'timeout' | 'garbled' | 'closed' | 'busy';
  /** What came instead. */
  readonly sample: Buffer;
  constructor(reason: ModbusLineError['reason'], message: string, sample: Buffer = Buffer.alloc(0)) {
    super(message);
    this.reason = reason;
    this.sample = sample;
  }
}

export interface Patience {
  /** How long an answer may take to begin, ms, from the end of the request. */
  readonly timeoutMs: number;
  /** How often a request that got no answer is sent again. */
  readonly retries: number;
}

/** What of a line's settings its timing depends on, and after how much silence the port is opened again, ms. */
export interface LineSettings extends Pick<SerialLine, 'baudRate' | 'dataBits' | 'parity' | 'stopBits'> {
  readonly reopenAfterMs?: number | undefined;
}

interface Waiting {
  /** Where it waits: commands go before polls. */
  readonly queue: Waiting[];
  readonly unit: number;
  readonly pdu: Buffer;
  readonly patience: Patience;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  attempts: number;
  doubts: number;
}

interface Awaited {
  readonly unit: number;
  readonly pdu: Buffer;
  readonly resolve: (answer: FoundAnswer | undefined) => void;
}

type LinePort = Pick<OpenSerialPort, 'write' | 'close'>;

/**
 * The master of one Modbus RTU line: one request at a time, with the silence between frames that tells a slave where
 * one begins.
 */
export class ModbusLine {
  readonly #clock: Clock;
  readonly #characterMs: number;
  readonly #silenceMs: number;
  readonly #stuckMs: number;
  readonly #gone: (error: Error) => void;
  #port: LinePort | undefined;
  readonly #urgent: Waiting[] = [];
  readonly #waiting: Waiting[] = [];
  #busy = false;
  #awaited: Awaited | undefined;
  /** By unit: the next answer may be to what it was asked before. */
  readonly #unanswered = new Map<number, Unanswered>();
  #restTimer: Timer | undefined;
  #held: Buffer = Buffer.alloc(0);
  /** When the line was last in use, and when a byte last came, monotonic ms. */
  #usedAt: number;
  #heardAt: number;
  /** When the last request was sent. */
  #sentAt = 0;
  #closed = false;

  private constructor(line: LineSettings, clock: Clock, gone: (error: Error) => void) {
    this.#clock = clock;
    this.#gone = gone;
    this.#stuckMs = line.reopenAfterMs ?? STUCK_MS;
    const bits = 1 + line.dataBits + (line.parity === 'none' ? 0 : 1) + line.stopBits;
    this.#characterMs = (bits * 1000) / line.baudRate;
    this.#silenceMs = line.baudRate > FAST_BAUD ? SILENCE_FAST_MS : SILENCE_CHARACTERS * this.#characterMs;
    this.#usedAt = this.#heardAt = clock.monotonic();
  }

  /** Rejects as `open` does. `gone` is called at most once, and not for a close that was asked for. */
  static async open(
    line: LineSettings,
    clock: Clock,
    open: (events: SerialPortEvents) => Promise<LinePort>,
    gone: (error: Error) => void,
  ): Promise<ModbusLine> {
    const made = new ModbusLine(line, clock, gone);
    made.#port = await open({ bytes: (chunk) => made.#hear(chunk), gone: (error) => made.#lost(error) });
    made.#heardAt = clock.monotonic();
    return made;
  }

  /**
   * Asks one unit, and again where no answer comes; resolves with its answer, which may be an exception. Rejects with
   * {@link ModbusLineError}.
   */
  async request(unit: number, pdu: Buffer, patience: Patience, urgent = false): Promise<Answer> {
    if (this.#closed) throw new ModbusLineError('closed', 'the serial port is closed');
    const queue = urgent ? this.#urgent : this.#waiting;
    if (queue.length >= WAITING_MAX) {
      throw new ModbusLineError('busy', `${WAITING_MAX} requests wait at this line already`);
    }
    return new Promise((resolve, reject) => {
      queue.push({ queue, unit, pdu, patience, resolve, reject, attempts: 0, doubts: 0 });
      if (!this.#busy) void this.#work();
    });
  }

  async close(): Promise<void> {
    this.#end();
    await this.#port?.close();
  }

  /** How late a unit's answers were at the most, ms, where it is certain that they were; else 0. */
  lateMs(unit: number): number {
    return this.#unanswered.get(unit)?.lateMs ?? 0;
  }

  async #work(): Promise<void> {
    this.#busy = true;
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      try {
        const answer = await this.#ask(next);
        if (answer !== undefined) next.resolve(answer);
        // The first again when its unit has rested; others go meanwhile.
        else next.queue.unshift(next);
      } catch (error) {
        next.reject(error as Error);
      }
    }
    this.#busy = false;
    this.#workAfterRest();
  }

  /** The next request to a unit that does not rest. */
  #next(): Waiting | undefined {
    const now = this.#clock.monotonic();
    for (const queue of [this.#urgent, this.#waiting]) {
      const at = queue.findIndex((waiting) => this.#mayBeAsked(waiting, now));
      if (at >= 0) return queue.splice(at, 1)[0];
    }
    return undefined;
  }

  #mayBeAsked(waiting: Waiting, now: number): boolean {
    const unanswered = this.#unanswered.get(waiting.unit);
    if (unanswered === undefined) return true;
    unanswered.expect(waiting.pdu, now);
    if (!unanswered.resting) return true;
    if (now < unanswered.restsUntil) return false;
    // One that does not come to rest is asked for the last time.
    if (!unanswered.rested(now)) waiting.doubts = DOUBTS_MAX - 1;
    return true;
  }

  #workAfterRest(): void {
    this.#restTimer?.cancel();
    const waiting = [...this.#urgent, ...this.#waiting];
    if (waiting.length === 0 || this.#closed) return;
    const until = Math.min(...waiting.map(({ unit }) => this.#unanswered.get(unit)?.restsUntil ?? 0));
    this.#restTimer = this.#clock.after(Math.max(1, Math.ceil(until - this.#clock.monotonic())), () => {
      if (!this.#busy) void this.#work();
    });
  }

  /** Undefined: what came could be an answer to something else, and it is to be asked again. */
  async #ask(asked: Waiting): Promise<Answer | undefined> {
    const { unit, pdu, patience } = asked;
    const unanswered = this.#unanswered.get(unit) ?? new Unanswered();
    this.#unanswered.set(unit, unanswered);
    for (;;) {
      const found = await this.#exchange(unit, pdu, patience.timeoutMs);
      if (this.#closed) throw new ModbusLineError('closed', 'the serial port was closed');
      const now = this.#clock.monotonic();
      if (found !== undefined) {
        if (unanswered.believes(pdu, this.#sentAt, found.answer, now)) return found.answer;
        if (++asked.doubts < DOUBTS_MAX) return undefined;
        const why = 'may be late answers to something else, or more than one to each request';
        throw new ModbusLineError('garbled', `unit ${unit}: its answers ${why}: is timeoutMs long enough?`);
      }
      unanswered.missed(pdu, this.#sentAt, patience.timeoutMs);
      if (asked.attempts++ < patience.retries) continue;
      const sample = this.#held;
      this.#lookWhetherStuck();
      const times = patience.retries === 0 ? '' : ` after ${patience.retries + 1} requests`;
      throw sample.length === 0
        ? new ModbusLineError('timeout', `unit ${unit} does not answer${times}`)
        : new ModbusLineError('garbled', `unit ${unit}: what came is no sound answer${times}`, sample);
    }
  }

  /** One request and its answer; undefined when none came in time or the port is closed. */
  async #exchange(unit: number, pdu: Buffer, timeoutMs: number): Promise<FoundAnswer | undefined> {
    const frame = framed(unit, pdu);
    // Somebody who talks all the time must not have us wait for ever, and say nothing.
    const until = this.#clock.monotonic() + timeoutMs + FRAME_BYTES_MAX * this.#characterMs;
    for (;;) {
      const now = this.#clock.monotonic();
      const restMs = this.#usedAt + this.#silenceMs - now;
      if (restMs <= 0) break;
      if (now >= until) {
        throw new ModbusLineError('garbled', `unit ${unit} cannot be asked: the line is never quiet`, this.#held);
      }
      await this.#pause(Math.ceil(restMs));
    }
    const port = this.#port;
    if (this.#closed || port === undefined) return undefined;
    this.#held = Buffer.alloc(0);
    this.#sentAt = this.#clock.monotonic();
    let timer: Timer | undefined;
    try {
      return await new Promise<FoundAnswer | undefined>((resolve) => {
        this.#awaited = { unit, pdu, resolve };
        port.write(frame).then(
          () => {
            this.#usedAt = this.#sentAt = this.#clock.monotonic();
            // The answer's own time on the wire is not the device's fault.
            const wireMs = answerBytes(pdu) * this.#characterMs;
            timer = this.#clock.after(Math.ceil(timeoutMs + wireMs), () => resolve(undefined));
          },
          // The port tells by itself that it is gone.
          () => resolve(undefined),
        );
      });
    } finally {
      timer?.cancel();
      this.#awaited = undefined;
    }
  }

  #hear(chunk: Buffer): void {
    this.#usedAt = this.#heardAt = this.#clock.monotonic();
    const awaited = this.#awaited;
    this.#held = Buffer.concat([this.#held, chunk]).subarray(-HELD_BYTES_MAX);
    for (const [unit, unanswered] of this.#unanswered) {
      if (unit === awaited?.unit) continue;
      const rest = unanswered.hear(this.#held, unit, this.#heardAt);
      if (rest < this.#held.length) this.#held = this.#held.subarray(this.#held.length - rest);
    }
    if (awaited === undefined) return;
    const answer = findAnswer(this.#held, awaited.unit, awaited.pdu);
    if (answer !== undefined) awaited.resolve(answer);
  }

  #lookWhetherStuck(): void {
    const silentMs = this.#clock.monotonic() - this.#heardAt;
    if (silentMs < this.#stuckMs) return;
    this.#lost(new Error(`nobody at the line answers for ${this.#stuckMs / 1000} s: the port is opened again`));
  }

  #lost(error: Error): void {
    if (this.#closed) return;
    this.#end();
    void this.#port?.close();
    this.#gone(error);
  }

  #end(): void {
    this.#closed = true;
    this.#restTimer?.cancel();
    this.#awaited?.resolve(undefined);
    for (const { reject } of [...this.#urgent.splice(0), ...this.#waiting.splice(0)]) {
      reject(new ModbusLineError('closed', 'the serial port was closed'));
    }
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#clock.after(ms, resolve);
    });
  }
}
