import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { scratch } from './scratch.ts';

const SOURCES = import.meta.dirname;
const PYTHON = '/usr/bin/python3';

/** Why slaves of other people's making cannot run here, or false. */
export const NO_SLAVES: string | false = (() => {
  if (!existsSync('/usr/include/modbus/modbus.h')) return 'libmodbus is not installed (apt-get install libmodbus-dev)';
  try {
    execFileSync(PYTHON, ['-c', 'import pymodbus, serial_asyncio'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'pymodbus is not installed (apt-get install python3-pymodbus python3-serial-asyncio)';
  }
})();

/** A Modbus slave at the device's end of a cable: a process of its own, on a library that is not ours. */
export class ModbusSlave {
  /** Requests that it was sent, `function address count`. */
  readonly requests: string[] = [];
  readonly #process: ChildProcessByStdio<null, Readable, null>;

  private constructor(command: string, args: readonly string[]) {
    this.#process = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  }

  static async libmodbus(device: string): Promise<ModbusSlave> {
    const program = join(scratch(), 'modbus-slave');
    execFileSync('gcc', ['-o', program, join(SOURCES, 'modbus-slave.c'), '-I/usr/include/modbus', '-lmodbus']);
    return ModbusSlave.#started(new ModbusSlave(program, [device]));
  }

  static async pymodbus(device: string): Promise<ModbusSlave> {
    return ModbusSlave.#started(new ModbusSlave(PYTHON, [join(SOURCES, 'modbus-slave.py'), device]));
  }

  static async #started(slave: ModbusSlave): Promise<ModbusSlave> {
    const lines = createInterface(slave.#process.stdout);
    const ended = once(slave.#process, 'exit').then(() => {
      throw new Error('the slave did not start');
    });
    ended.catch(() => {});
    await Promise.race([once(lines, 'line'), ended]);
    lines.on('line', (line) => slave.requests.push(line));
    return slave;
  }

  /** Hears nothing until it is let go on; then it answers what came meanwhile. */
  pause(): void {
    this.#process.kill('SIGSTOP');
  }

  goOn(): void {
    this.#process.kill('SIGCONT');
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }
}
