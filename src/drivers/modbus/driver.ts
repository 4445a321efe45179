import type { CommandResult } from '../../commands/commands.ts';
import { jsonObject } from '../decoders/decoder.ts';
import type { Driver, DriverContext } from '../driver.ts';
import type { LineSeat, PortSettings, SerialPorts } from '../serial-ports.ts';
import { ModbusLineError, type Patience } from './line.ts';
import { type Answer, bitOf, DEVICE_BUSY, exceptionText, ILLEGAL_ADDRESS, ILLEGAL_VALUE, readRequest } from './pdu.ts';
import { type Group, groupText, pollGroups } from './plan.ts';
import { decodeWords, isBits, type Register, type RegisterValue, span } from './register.ts';
import { writeRequests } from './write.ts';

/** How often a device that says it is busy is asked again, and after what time, ms. */
const BUSY_RETRIES = 3;
const BUSY_MS = 100;

export interface ModbusDecoderOptions extends Patience {
  readonly kind: 'modbus';
  /** The device's address on the line, 1 to 247. */
  readonly unit: number;
  readonly everyMs: number;
  /** Most addresses that are read along to save a request. */
  readonly gapMax: number;
  /** The device takes functions 15 and 16 only. */
  readonly writeMultiple: boolean;
  readonly registers: readonly Register[];
}

export interface ModbusOptions extends PortSettings {
  readonly decoder: ModbusDecoderOptions;
}

/** A device's answer was an exception. */
class ModbusException extends Error {
  readonly code: number;
  constructor(code: number) {
    super(exceptionText(code));
    this.code = code;
  }
}

/** A group with what it last failed with. */
interface Polled {
  readonly group: Group;
  failures: number;
}

/**
 * Polls one device on a Modbus RTU line. Each poll becomes one JSON reading, name to value, of the registers that could be
 * read; where none could there is no reading. A group of registers that cannot be read is counted at each poll, said once,
 * and keeps no other. Commands `write` and `read`.
 */
export class ModbusDriver implements Driver {
  readonly #options: ModbusOptions;
  readonly #context: DriverContext;
  readonly #ports: SerialPorts;
  readonly #units: string | undefined;
  #groups: Polled[];
  #seat: LineSeat | undefined;
  #polling = false;
  #slow = false;
  #late = false;
  /** Counts starts and stops, so that what was begun before a stop has no effect after it. */
  #turn = 0;

  constructor(options: ModbusOptions, context: DriverContext, ports: SerialPorts) {
    this.#options = options;
    this.#context = context;
    this.#ports = ports;
    const { registers, gapMax } = options.decoder;
    this.#groups = pollGroups(registers, gapMax).map((group) => ({ group, failures: 0 }));
    const units = registers.flatMap(({ name, unit }) => (unit === undefined ? [] : [[name, unit] as const]));
    this.#units = units.length === 0 ? undefined : jsonObject(units).toString();
  }

  /** Rejects with an error that names the port when it is not there, not ours to open, or in use. */
  async start(): Promise<void> {
    const turn = ++this.#turn;
    const seat = await this.#ports.join(this.#options, this.#context.child, (error) => {
      if (turn === this.#turn) this.#context.failed(error);
    });
    if (turn !== this.#turn) {
      await seat.leave();
      return;
    }
    this.#seat = seat;
    const { clock } = this.#context;
    const poll = (): void => {
      this.#poll(turn).catch((error: unknown) => {
        if (turn === this.#turn) this.#context.failed(error as Error);
      });
    };
    clock.soon(poll);
    clock.every(this.#options.decoder.everyMs, poll);
  }

  async stop(): Promise<void> {
    this.#turn++;
    const seat = this.#seat;
    this.#seat = undefined;
    await seat?.leave();
  }

  /**
   * `write` with `{name, value}`, or a list of them, sets registers that are `writable`; with `readBack: true` the answer
   * has what the device then says. `read` polls now and answers with the values; where some cannot be read, with these as
   * `values` beside the error.
   */
  async command(name: string, payload: unknown): Promise<CommandResult> {
    if (name !== 'write' && name !== 'read') {
      return { status: 404, payload: { error: `a Modbus child has no command '${name}'; it has write and read` } };
    }
    try {
      return name === 'read' ? await this.#readAll() : await this.#write(payload);
    } catch (error) {
      return failed(error, (why) => why);
    }
  }

  async #write(payload: unknown): Promise<CommandResult> {
    const { registers, writeMultiple } = this.#options.decoder;
    const plan = writeRequests(registers, payload, writeMultiple);
    if ('error' in plan) return { status: 400, payload: { error: plan.error } };
    const written: string[] = [];
    for (const { pdu, names } of plan.requests) {
      try {
        await this.#ask(pdu, true);
      } catch (error) {
        // Some of a list may have been set: who asked must know.
        if (error instanceof Error && written.length > 0) error.message += `; set before it: ${written.join(', ')}`;
        throw error;
      }
      written.push(...names);
    }
    if (!plan.readBack) return { status: 200, payload: { written } };
    const wanted = registers.filter(({ name }) => written.includes(name));
    const values: [string, RegisterValue][] = [];
    for (const group of pollGroups(wanted, 0)) values.push(...(await this.#read(group, true)));
    return { status: 200, payload: { written, values: Object.fromEntries(values) } };
  }

  async #readAll(): Promise<CommandResult> {
    const values: [string, RegisterValue][] = [];
    const refused: [Group, ModbusException][] = [];
    for (const { group } of this.#groups.slice()) {
      try {
        values.push(...(await this.#read(group, true)));
      } catch (error) {
        // A device that refuses one register has the others; one that does not answer is not asked for them.
        if (!(error instanceof ModbusException)) {
          const { status, payload } = failed(error, (why) => `${groupText(group)}: ${why}`);
          return {
            status,
            payload: values.length === 0 ? payload : { ...payload, values: Object.fromEntries(values) },
          };
        }
        refused.push([group, error]);
      }
    }
    const [first] = refused;
    if (first === undefined) return { status: 200, payload: Object.fromEntries(values) };
    const error = refused.map(([group, { message }]) => `${groupText(group)}: ${message}`).join('; ');
    return { status: 502, payload: { error, exception: first[1].code, values: Object.fromEntries(values) } };
  }

  async #poll(turn: number): Promise<void> {
    const { clock } = this.#context;
    if (turn !== this.#turn) return;
    if (this.#polling) return;
    this.#polling = true;
    const wellBefore = this.#groups.every(({ failures }) => failures === 0);
    const begunAt = clock.monotonic();
    let measuredAt: number | undefined;
    const values: (readonly [string, RegisterValue])[] = [];
    try {
      for (let at = 0; at < this.#groups.length;) {
        const polled = this.#groups[at]!;
        const read = await this.#tryGroup(polled, turn);
        if (turn !== this.#turn) return;
        // Replaced by its parts, which are read now.
        if (this.#groups[at] !== polled) continue;
        at++;
        if (read !== undefined) measuredAt ??= clock.monotonic();
        values.push(...(read ?? []));
      }
    } finally {
      this.#polling = false;
    }
    if (wellBefore) this.#lookWhetherSlow(clock.monotonic() - begunAt);
    this.#lookWhetherLate();
    if (measuredAt === undefined) return;
    this.#context.emit({
      body: jsonObject(values),
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      measuredAt,
      ...(this.#units === undefined ? {} : { properties: { units: this.#units } }),
    });
  }

  /** Says once that the line has no time for what is asked of it; not while time goes into waiting for a device that is off. */
  #lookWhetherSlow(tookMs: number): void {
    const { everyMs } = this.#options.decoder;
    if (this.#slow || tookMs <= everyMs || this.#groups.some(({ failures }) => failures > 0)) return;
    this.#slow = true;
    this.#context.log.warn(`a poll took ${Math.round(tookMs)} ms, longer than the ${everyMs} ms from one to the next`);
  }

  /** Says once that the device is not waited for long enough: nothing wrong is read, but it takes its time. */
  #lookWhetherLate(): void {
    const { unit, timeoutMs } = this.#options.decoder;
    const lateMs = this.#seat?.line.lateMs(unit) ?? 0;
    if (this.#late || lateMs === 0) return;
    this.#late = true;
    this.#context.log.warn(
      `unit ${unit} answers up to ${Math.round(lateMs)} ms after it is asked: the timeoutMs of ${timeoutMs} is too short`,
    );
  }

  /** The values of a group, or undefined after its failure has been counted. */
  async #tryGroup(polled: Polled, turn: number): Promise<[string, RegisterValue][] | undefined> {
    const { log } = this.#context;
    const what = groupText(polled.group);
    try {
      const values = await this.#read(polled.group, false);
      if (polled.failures > 0) log.info(`${what}: read again, after ${polled.failures} failures`);
      polled.failures = 0;
      return values;
    } catch (error) {
      if (turn !== this.#turn || !(error instanceof Error)) return undefined;
      if (this.#splits(polled, error)) return undefined;
      if (!(error instanceof ModbusException || error instanceof ModbusLineError)) throw error;
      if (error instanceof ModbusLineError && error.reason === 'closed') return undefined;
      const sample = error instanceof ModbusLineError ? error.sample : Buffer.alloc(0);
      if (polled.failures === 0)
        log.warn(sample.length === 0 ? {} : { sample: sample.toString('hex') }, `${what}: ${error.message}`);
      polled.failures++;
      this.#context.malformed(`${what}: ${error.message}`, sample, true);
      return undefined;
    }
  }

  /**
   * A device may refuse the addresses between its registers: then they are not read along any more. Or one of the registers: then
   * each half is asked for by itself, until that one stands alone.
   */
  #splits(polled: Polled, error: Error): boolean {
    if (!(error instanceof ModbusException)) return false;
    if (error.code !== ILLEGAL_ADDRESS && error.code !== ILLEGAL_VALUE) return false;
    const { registers } = polled.group;
    if (registers.length === 1) return false;
    const withoutGaps = pollGroups(registers, 0);
    const middle = Math.ceil(registers.length / 2);
    const halves = [registers.slice(0, middle), registers.slice(middle)];
    const parts = withoutGaps.length > 1 ? withoutGaps : halves.flatMap((half) => pollGroups(half, 0));
    const what = groupText(polled.group);
    this.#context.log.info(`${what}: ${error.message}; read in ${parts.length} parts from now on`);
    this.#groups = this.#groups.flatMap((each) =>
      each === polled ? parts.map((group) => ({ group, failures: 0 })) : [each],
    );
    return true;
  }

  async #read(group: Group, urgent: boolean): Promise<[string, RegisterValue][]> {
    const data = await this.#ask(readRequest(group.type, group.address, group.count), urgent);
    return group.registers.map((register) => {
      const at = register.address - group.address;
      if (isBits(group.type)) return [register.name, bitOf(data, at)];
      return [register.name, decodeWords(register, data.subarray(at * 2, (at + span(register)) * 2))];
    });
  }

  async #ask(pdu: Buffer, urgent: boolean): Promise<Buffer> {
    const { unit } = this.#options.decoder;
    for (let attempt = 0; ; attempt++) {
      const { line } = this.#seat ?? {};
      if (line === undefined) throw new ModbusLineError('closed', 'the serial port is closed');
      const answer: Answer = await line.request(unit, pdu, this.#options.decoder, urgent);
      if ('data' in answer) return answer.data;
      if (answer.exception !== DEVICE_BUSY || attempt >= BUSY_RETRIES) throw new ModbusException(answer.exception);
      await new Promise<void>((resolve) => {
        this.#context.clock.after(BUSY_MS, resolve);
      });
    }
  }
}

/** What a command answers that came to nothing. */
function failed(
  error: unknown,
  told: (why: string) => string,
): { status: number; payload: { error: string; exception?: number } } {
  if (error instanceof ModbusException) {
    return { status: 502, payload: { error: told(error.message), exception: error.code } };
  }
  if (!(error instanceof ModbusLineError)) throw error;
  return {
    status: error.reason === 'closed' || error.reason === 'busy' ? 503 : 504,
    payload: { error: told(error.message) },
  };
}
