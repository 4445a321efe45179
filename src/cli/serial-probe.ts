import { SystemClock } from '../clock/system-clock.ts';
import { ConfigError, loadConfig, type LoadedConfig } from '../config/load.ts';
import { serialDevice } from '../config/profile.ts';
import { CERTAIN, guessLine, type LineGuess } from '../drivers/line-guess.ts';
import { exceptionText, readRequest } from '../drivers/modbus/pdu.ts';
import { type PortSettings, SerialPorts } from '../drivers/serial-ports.ts';
import type { CommonOptions } from './configured.ts';
import { CliError, FINE, FOUND_A_PROBLEM, print, printJson, say, USED_WRONGLY } from './output.ts';
import { listPorts } from './serial-ports-list.ts';

/** Speeds in the order in which they are tried: the usual ones first. */
const RATES = [9600, 115_200, 19_200, 38_400, 57_600, 4800, 2400, 1200, 230_400, 460_800];
/** Most bytes that are kept of what comes at one speed, and shown. */
const HEARD_BYTES_MAX = 4096;
const SHOWN_BYTES_MAX = 128;
/** With this much at hand a guess that is certain stays so. */
const ENOUGH_BYTES = 64;
const DUMP_BYTES = 16;

interface ProbeOptions extends CommonOptions {
  readonly baud?: number;
  readonly parity?: 'none' | 'even' | 'odd';
  readonly listen: number;
  readonly modbus?: readonly number[];
  readonly timeout: number;
}

type Line = Omit<PortSettings, 'port'>;

interface Heard {
  readonly line: Line;
  readonly bytes: Buffer;
  readonly guess: LineGuess;
}

interface Units {
  readonly line: Line;
  readonly units: { readonly unit: number; readonly answer: string }[];
}

/** `holdfast serial probe`: the ports there are, or what is on one of them. */
export async function serialProbe(port: string | undefined, options: ProbeOptions): Promise<number> {
  const loaded = configuration(options.config, port);
  if (port === undefined) {
    if (options.modbus !== undefined) throw new CliError('--modbus needs a port', USED_WRONGLY);
    return listPorts(loaded, options.json === true);
  }
  const path = port.startsWith('/') ? port : loaded && serialDevice(loaded.profile, port);
  if (path === undefined)
    throw new CliError(`the profile has no serial port "${port}"; write a path such as /dev/ttyUSB0`);
  const probe = new Probe(path, options);
  try {
    return options.modbus === undefined ? await probe.listen() : await probe.askUnits(options.modbus);
  } catch (error) {
    throw new CliError((error as Error).message);
  }
}

/** The configuration is only needed for names: without one, ports are named by path. */
function configuration(file: string, port: string | undefined): LoadedConfig | undefined {
  try {
    return loadConfig(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (port === undefined || port.startsWith('/')) return undefined;
    throw new CliError(`"${port}" is a name from a profile, and the configuration cannot be used:\n${error.message}`);
  }
}

class Probe {
  readonly #path: string;
  readonly #options: ProbeOptions;
  readonly #clock = new SystemClock(() => true);
  readonly #ports = new SerialPorts(this.#clock);

  constructor(path: string, options: ProbeOptions) {
    this.#path = path;
    this.#options = options;
  }

  /** Listens at one speed after the other, until what comes makes sense. */
  async listen(): Promise<number> {
    const heard: Heard[] = [];
    const rates = this.#options.baud === undefined ? RATES : [this.#options.baud];
    for (const baudRate of rates) {
      this.#say(`listening at ${baudRate} baud`);
      const line = this.#line(baudRate, this.#options.parity ?? 'none');
      const bytes = await this.#hear(line);
      const found = { line, bytes, guess: guessLine(bytes, this.#clock) };
      heard.push(found);
      if (found.guess.certainty >= CERTAIN) break;
    }
    const best = heard.reduce((a, b) => (b.guess.certainty > a.guess.certainty ? b : a));
    const found = best.guess.certainty > 0.5;
    if (this.#options.json === true) {
      printJson({ port: this.#path, heard: heard.map(heardJson), best: found ? heardJson(best) : null });
      return found ? FINE : FOUND_A_PROBLEM;
    }
    if (heard.every(({ bytes }) => bytes.length === 0)) {
      say(
        `nothing came at any speed: is it wired, powered, and does it speak unasked? Modbus devices do not: --modbus 1-247`,
      );
      return FOUND_A_PROBLEM;
    }
    print(`${found ? '' : 'nothing makes sense; the least unlikely is '}${lineText(best)}: ${best.guess.because}\n`);
    print(dump(best.bytes.subarray(0, SHOWN_BYTES_MAX)));
    if (found) print(`\n${configText(this.#path, best)}`);
    return found ? FINE : FOUND_A_PROBLEM;
  }

  /** Asks units for holding register 0, at one speed and parity after the other, until one answers. */
  async askUnits(units: readonly number[]): Promise<number> {
    let found: Units | undefined;
    const rates = this.#options.baud === undefined ? RATES : [this.#options.baud];
    const parities = this.#options.parity === undefined ? (['none', 'even'] as const) : [this.#options.parity];
    for (const baudRate of rates) {
      for (const parity of parities) {
        const line = this.#line(baudRate, parity);
        this.#say(`asking ${units.length} units at ${baudRate} baud, parity ${parity}`);
        const answers = await this.#ask(line, units);
        if (answers.length > 0) found ??= { line, units: answers };
        if (found !== undefined) break;
      }
      if (found !== undefined) break;
    }
    if (this.#options.json === true) {
      printJson({
        port: this.#path,
        modbus: found === undefined ? null : { ...lineJson(found.line), units: found.units },
      });
    } else if (found === undefined) {
      say('no unit answered: are A and B swapped, is the line terminated, is the device in another range?');
    } else {
      for (const { unit, answer } of found.units) print(`unit ${unit} at ${lineText(found)}: ${answer}`);
    }
    return found === undefined ? FOUND_A_PROBLEM : FINE;
  }

  async #ask(line: Line, units: readonly number[]): Promise<Units['units']> {
    const answers: Units['units'] = [];
    let lost: Error | undefined;
    const seat = await this.#ports.join({ ...line, port: this.#path }, 'probe', (error) => (lost = error));
    try {
      for (const unit of units) {
        const patience = { timeoutMs: this.#options.timeout, retries: 0 };
        const answer = await seat.line
          .request(unit, readRequest('holding', 0, 1), patience)
          .catch((error: Error) => error);
        if (lost !== undefined) throw lost;
        if (answer instanceof Error) continue;
        const text = 'data' in answer ? `holding 0 is ${answer.data.readUInt16BE()}` : exceptionText(answer.exception);
        answers.push({ unit, answer: text });
        this.#say(`unit ${unit} answers`);
      }
    } finally {
      await seat.leave();
    }
    return answers;
  }

  async #hear(line: Line): Promise<Buffer> {
    let heard: Buffer = Buffer.alloc(0);
    let done = (): void => {};
    let failed = (_error: Error): void => {};
    const over = new Promise<void>((resolve, reject) => {
      done = resolve;
      failed = reject;
    });
    const port = await this.#ports.open({ ...line, port: this.#path }, 'probe', {
      bytes: (chunk) => {
        heard = Buffer.concat([heard, chunk]).subarray(0, HEARD_BYTES_MAX);
        const certain = heard.length >= ENOUGH_BYTES && guessLine(heard, this.#clock).certainty >= CERTAIN;
        if (certain || heard.length === HEARD_BYTES_MAX) done();
      },
      gone: (error) => failed(error),
    });
    const timer = setTimeout(done, this.#options.listen * 1000);
    try {
      await over;
    } finally {
      clearTimeout(timer);
      await port.close();
    }
    return heard;
  }

  #line(baudRate: number, parity: Line['parity']): Line {
    return { baudRate, dataBits: 8, parity, stopBits: 1 };
  }

  #say(text: string): void {
    if (this.#options.json !== true) say(text);
  }
}

function lineJson({ baudRate, dataBits, parity, stopBits }: Line) {
  return { baudRate, dataBits, parity, stopBits };
}

function heardJson({ line, bytes, guess: { kind, because, parity7 } }: Heard) {
  const framing = parity7 === undefined ? {} : { dataBits: 7, parity: parity7 };
  return { ...lineJson(line), ...framing, kind, because, hex: bytes.toString('hex') };
}

/** `9600 baud, 8N1`. */
function lineText({ line, guess }: { readonly line: Line; readonly guess?: LineGuess }): string {
  const parity = guess?.parity7 ?? line.parity;
  return `${line.baudRate} baud, ${guess?.parity7 === undefined ? line.dataBits : 7}${parity[0]!.toUpperCase()}${line.stopBits}`;
}

/** What to write into gateway.yaml. */
function configText(path: string, { line, guess: { kind, parity7 } }: Heard): string {
  const framing = parity7 === undefined ? '' : `, dataBits: 7, parity: ${parity7}`;
  const start = `serial: { port: ${path}, baudRate: ${line.baudRate}${framing}`;
  if (kind === 'nmea' || kind === 'json') return `${start}, decoder: ${kind} }`;
  if (kind === 'modbus')
    return 'Another master asks here. A line has one: this port can be listened to, but not asked.';
  return `${start}, decoder: ... }   (csv or regex; docs/serial.md)`;
}

/** Hexadecimal and text side by side. */
function dump(bytes: Buffer): string {
  const rows: string[] = [];
  for (let at = 0; at < bytes.length; at += DUMP_BYTES) {
    const row = bytes.subarray(at, at + DUMP_BYTES);
    const hex = row.toString('hex').replaceAll(/..(?=.)/g, '$& ');
    const text = row.toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.');
    rows.push(`${at.toString(16).padStart(4, '0')}  ${hex.padEnd(DUMP_BYTES * 3)} ${text}`);
  }
  return rows.join('\n');
}
