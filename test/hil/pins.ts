import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Bell } from '../parts/until.ts';

/** A change of voltage that the machine put out, and when it was seen, ms. */
export interface Put {
  readonly line: number;
  readonly voltage: 0 | 1;
  readonly at: number;
}

/**
 * The far ends of the machine's GPIO wires: sets the voltage at inputs and sees what outputs put out. Speaks QEMU's qtest
 * protocol (system/qtest.c in QEMU: `set_irq_in`, `irq_intercept_out`), which acts on the chip's pins from outside the
 * machine; nothing in the machine takes part.
 */
export class Pins {
  readonly #socket: Socket;
  readonly #chip: string;
  readonly #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  readonly #bell = new Bell();
  /** What outputs put out since {@link forget}. */
  readonly puts: Put[] = [];

  private constructor(socket: Socket, chip: string) {
    this.#socket = socket;
    this.#chip = chip;
    createInterface({ input: socket }).on('line', (line) => this.#heard(line));
    socket.on('error', () => {});
    socket.on('close', () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error('the machine ended'));
    });
  }

  /** `chip` is the chip's path in QEMU's tree of objects. */
  static async connect(socket: Socket, chip: string): Promise<Pins> {
    const pins = new Pins(socket, chip);
    await pins.#say(`irq_intercept_out ${chip}`);
    return pins;
  }

  /** Puts these voltages at a line, one after the other. Resolves when QEMU has done it; the machine may not know yet. */
  async drive(line: number, ...voltages: readonly (0 | 1)[]): Promise<void> {
    await Promise.all(
      voltages.map((voltage) => this.#say(`set_irq_in ${this.#chip} unnamed-gpio-in ${line} ${voltage}`)),
    );
  }

  forget(): void {
    this.puts.length = 0;
  }

  /** Resolves when so many changes of an output's voltage were seen since {@link forget}. */
  async untilPut(count: number): Promise<void> {
    await this.#bell.until(
      () => `${count} changes of outputs; seen: ${JSON.stringify(this.puts)}`,
      () => this.puts.length >= count,
    );
  }

  async end(): Promise<void> {
    if (this.#socket.destroyed) return;
    this.#socket.destroy();
    await once(this.#socket, 'close');
  }

  #say(line: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`${line}\n`);
    });
  }

  #heard(line: string): void {
    const put = /^IRQ (raise|lower) (\d+)$/.exec(line);
    if (put) {
      this.puts.push({ line: Number(put[2]), voltage: put[1] === 'raise' ? 1 : 0, at: performance.now() });
      this.#bell.ring();
      return;
    }
    const asked = this.#waiting.shift();
    if (line.startsWith('OK')) asked?.resolve();
    else asked?.reject(new Error(`qtest: ${line}`));
  }
}
