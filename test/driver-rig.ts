import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Clock } from '../src/clock/clock.ts';
import { SystemClock } from '../src/clock/system-clock.ts';
import type { DriverContext } from '../src/drivers/driver.ts';
import type { Reading } from '../src/message/message.ts';
import { WAIT_MS_MAX } from './parts/until.ts';

export const systemClock = new SystemClock(() => true);

/** What a driver says, kept, and waited for. */
export class Recorder {
  readonly readings: Reading[] = [];
  readonly malformed: { why: string; sample: string }[] = [];
  readonly failures: Error[] = [];
  readonly finished: string[] = [];
  readonly log: { level: number; msg: string; [key: string]: unknown }[] = [];
  readonly logger = pino(
    { level: 'debug', base: null },
    { write: (line: string) => void this.log.push(JSON.parse(line)) },
  );

  context(clock: Clock): DriverContext {
    return {
      child: 'child',
      clock,
      log: this.logger,
      emit: (reading) => void this.readings.push(reading),
      malformed: (why, sample) => {
        this.malformed.push({ why, sample: Buffer.from(sample as string).toString('latin1') });
      },
      failed: (error) => void this.failures.push(error),
      finished: (why) => void this.finished.push(why),
    };
  }

  bodies(): unknown[] {
    return this.readings.map(({ body }) => JSON.parse(body.toString('utf8')));
  }

  /** Resolves when `condition` holds. Rejects with what was said when it never does. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const said = (): string => {
      const { readings, malformed, failures } = this;
      return JSON.stringify({
        readings: readings.length,
        malformed: malformed.slice(-3),
        failures: failures.map(String),
      });
    };
    await until(condition, () => `waited in vain for ${what}; ${said()}`);
  }
}

async function until(condition: () => boolean | Promise<boolean>, complaint: () => string): Promise<void> {
  const deadline = performance.now() + WAIT_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(complaint());
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}

/** Why tests with a pseudo terminal cannot run here, or false. */
export const NO_SOCAT: string | false = (() => {
  try {
    execFileSync('socat', ['-V'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'socat is not installed (apt-get install socat)';
  }
})();

/** A cable: what is written to the device's end comes out of the gateway's port, and the other way round. */
export class SerialCable {
  readonly folder = mkdtempSync(join(tmpdir(), 'holdfast-serial-'));
  /** The path that the gateway opens. */
  readonly port = join(this.folder, 'gateway');
  /** The path that a device in another process opens. */
  readonly device = join(this.folder, 'device');
  #socat: ChildProcess | undefined;
  #handle: FileHandle | undefined;

  async plugIn(): Promise<void> {
    const end = (link: string): string => `pty,raw,echo=0,link=${link}`;
    this.#socat = spawn('socat', [end(this.device), end(this.port)], { stdio: 'ignore' });
    await existing(this.device);
    await existing(this.port);
    this.#handle = await open(this.device, 'r+');
  }

  /** Resolves when the cable is out, and the port's path with it. */
  async unplug(): Promise<void> {
    const socat = this.#socat;
    this.#socat = undefined;
    if (socat === undefined) return;
    const ended = new Promise<void>((resolve) => {
      socat.once('exit', () => resolve());
    });
    socat.kill('SIGTERM');
    await ended;
    await this.#handle?.close();
    this.#handle = undefined;
  }

  /** The device says something. */
  async say(bytes: Buffer | string): Promise<void> {
    const chunk = Buffer.from(bytes as string);
    for (let at = 0; at < chunk.length;) at += (await this.#open().write(chunk, at)).bytesWritten;
  }

  /** The next bytes that the device hears, at least one. */
  async hear(bytesMax = 4_096): Promise<Buffer> {
    const { bytesRead, buffer } = await this.#open().read(Buffer.alloc(bytesMax), 0, bytesMax, null);
    return buffer.subarray(0, bytesRead);
  }

  async discard(): Promise<void> {
    await this.unplug();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #open(): FileHandle {
    if (this.#handle === undefined) throw new Error('the cable is not plugged in');
    return this.#handle;
  }
}

/** socat gives no sign of being ready but its links: they are looked at until they are there. */
async function existing(path: string): Promise<void> {
  const there = (): Promise<boolean> =>
    stat(path).then(
      () => true,
      () => false,
    );
  await until(there, () => `socat did not make ${path}`);
}
