import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Clock } from '../../src/clock/clock.ts';
import { SystemClock } from '../../src/clock/system-clock.ts';
import { LANE_UNSPECIFIED, type Message, type Stored } from '../../src/message/message.ts';
import { ulid } from '../../src/message/ulid.ts';
import { pendingOf, type Books } from '../../src/spool/books.ts';
import { booksIn } from '../../src/spool/files.ts';
import { verify, type Verification } from '../../src/spool/inspection.ts';
import { droppedOf } from '../../src/spool/ledger.ts';
import { openSpool } from '../../src/spool/opening.ts';
import type { SpoolSettings } from '../../src/spool/settings.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { State } from '../../src/store/state.ts';
import { scratch } from './scratch.ts';
import { until } from './until.ts';

export const systemClock: Clock = new SystemClock(() => true);

export interface RigOptions extends Partial<Omit<SpoolSettings, 'dataDir'>> {
  /** An existing data directory; a new one when left out. */
  readonly dataDir?: string;
  readonly clock?: Clock;
}

/** A real spool on real LMDB in a folder of its own. */
export class SpoolRig {
  readonly dataDir: string;
  readonly spool: Spool;
  readonly state: State;
  readonly log: { level: number; msg: string; [key: string]: unknown }[];
  readonly #options: RigOptions;
  /** The clock's own timers do not keep a process alive: something must, while the spool is waited for. */
  readonly #hold = setTimeout(() => undefined, 60_000);

  private constructor(dataDir: string, spool: Spool, state: State, log: SpoolRig['log'], options: RigOptions) {
    this.dataDir = dataDir;
    this.spool = spool;
    this.state = state;
    this.log = log;
    this.#options = options;
  }

  static async open(options: RigOptions = {}): Promise<SpoolRig> {
    const { dataDir = join(scratch(), 'data'), clock = systemClock, ...given } = options;
    mkdirSync(dataDir, { recursive: true });
    const log: SpoolRig['log'] = [];
    const logger = pino({ level: 'debug', base: null }, { write: (line: string) => void log.push(JSON.parse(line)) });
    const state = new State(join(dataDir, 'state'));
    const settings: SpoolSettings = {
      dataDir,
      quota: { bytes: 64 * 2 ** 20 },
      keepFree: { bytes: 0 },
      whenFull: 'drop-oldest',
      durability: 'strict',
      commitEveryMs: 20,
      timeToLiveSecs: 7200,
      write: 'always',
      prefill: false,
      ...given,
    };
    try {
      return new SpoolRig(dataDir, await openSpool(settings, state, clock, logger), state, log, options);
    } catch (error) {
      await state.close();
      throw error;
    }
  }

  /** Closes as a gateway does when it stops. */
  async close(): Promise<void> {
    await this.spool.close();
    await this.state.close();
    clearTimeout(this.#hold);
  }

  /** Stops and starts on the same directory. */
  async restart(options: RigOptions = {}): Promise<SpoolRig> {
    await this.close();
    return SpoolRig.open({ ...this.#options, ...options, dataDir: this.dataDir });
  }

  /**
   * As after a SIGKILL now: what the files hold at this moment, opened anew from a copy. Waits for the commit under way,
   * since a copy takes longer than a kill; then no other begins until it is made.
   */
  async crash(options: RigOptions = {}): Promise<SpoolRig> {
    await until('the commit under way to end', () => !this.spool.snapshot().commitUnderWay);
    const dataDir = this.copy();
    await this.close();
    return SpoolRig.open({ ...this.#options, ...options, dataDir });
  }

  /** The files as they are now, in a new place. Sound only while no commit is under way. */
  copy(): string {
    const dataDir = join(scratch(), 'data');
    cpSync(this.dataDir, dataDir, { recursive: true });
    return dataDir;
  }

  /** A message as a driver's reading becomes one. */
  message(body: string | Buffer, priority: number = LANE_UNSPECIFIED): Message {
    const acceptedAt = this.spool.stamp();
    return {
      id: ulid(acceptedAt.wall),
      source: { child: 'child' },
      body: typeof body === 'string' ? Buffer.from(body) : body,
      eventTime: acceptedAt.wall,
      acceptedAt,
      priority,
      hops: 0,
    };
  }

  accept(body: string | Buffer, priority: number = LANE_UNSPECIFIED, senderWaits = true): Promise<void> {
    return this.spool.accept(this.message(body, priority), senderWaits);
  }

  /** Everything that can be read now, without settling it. */
  take(count = Infinity): Stored[] {
    const taken: Stored[] = [];
    while (taken.length < count) {
      const stored = this.spool.next();
      if (stored === null) break;
      taken.push(stored);
    }
    return taken;
  }

  /** The books as they lie on the medium. */
  books(): Books {
    return this.spool.environment.read(booksIn);
  }

  /** Makes everything durable, reads every block and holds it against the books. Throws unless all is as it should be. */
  async audit(): Promise<Verification> {
    await this.spool.flush();
    const found = this.spool.environment.read((reader) => verify(reader, booksIn(reader)));
    if (found.problemCount > 0) throw new Error(`verify found:\n${found.problems.join('\n')}`);
    const books = this.books();
    const { accepted, delivered, deadLetters } = books.ledger;
    const sum = delivered + deadLetters + droppedOf(books.ledger) + pendingOf(books);
    if (accepted !== sum) throw new Error(`the ledger is not even: ${JSON.stringify(books.ledger)}`);
    return found;
  }
}

/** The text of a stored message's body. */
export function text(stored: Stored): string {
  return stored.message.body.toString('utf8');
}

/** Bytes that no codec makes smaller. */
export function noise(bytes: number): Buffer {
  return randomBytes(bytes);
}
