import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import { STAGES, type Stage } from '../dialects/upstream-dialect.ts';

/** What could not be done is tried again after this, ms: a medium that takes nothing may take it soon. */
const AGAIN_MS = 5000;

interface Item {
  readonly act: () => Promise<void>;
  readonly stored: () => void;
}

/**
 * What comes from above, in the order of business: after a connection has come about, the registry first, then twins, then commands,
 * in whatever order the broker sends them. A stage opens when the broker has been asked for it, so that what it had kept of the
 * one before has come, and when all of that is done. Afterwards everything is done as it comes.
 */
export class Inbox {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #waiting: Record<Stage, Item[]> = { registry: [], twins: [], commands: [] };
  readonly #underWay: Record<Stage, number> = { registry: 0, twins: 0, commands: 0 };
  readonly #retries = new Set<Timer>();
  #asked = 0;
  #open = 0;
  /** Of which connection: what came over an earlier one comes again. */
  #connection = 0;
  #said = false;
  #stopped = false;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** A connection has come about, or ended: what was not done is forgotten, and comes again. */
  begin(): void {
    this.#connection++;
    this.#asked = 0;
    this.#open = 0;
    for (const stage of STAGES) {
      this.#waiting[stage] = [];
      this.#underWay[stage] = 0;
    }
    for (const retry of this.#retries) retry.cancel();
    this.#retries.clear();
  }

  /** The gateway is stopping: what fails from here on is no fault, and comes again with the next connection. */
  stop(): void {
    this.#stopped = true;
    for (const retry of this.#retries) retry.cancel();
    this.#retries.clear();
  }

  /** The broker has been asked for what belongs to this stage. */
  asked(stage: Stage): void {
    this.#asked = Math.max(this.#asked, STAGES.indexOf(stage));
    this.#advance();
  }

  /** Has something done when its stage has come, again and again until it does not reject; `stored` is called then. */
  put(stage: Stage, act: () => Promise<void>, stored: () => void): void {
    const item = { act, stored };
    if (STAGES.indexOf(stage) <= this.#open) this.#carryOut(stage, item);
    else this.#waiting[stage].push(item);
  }

  /** The stages behind this one wait for it, too. */
  hold(stage: Stage, until: Promise<unknown>): void {
    const connection = this.#connection;
    this.#underWay[stage]++;
    void until.catch(() => undefined).then(() => this.#done(stage, connection));
  }

  #carryOut(stage: Stage, item: Item): void {
    const connection = this.#connection;
    this.#underWay[stage]++;
    void this.#tried(item).finally(() => this.#done(stage, connection));
  }

  /** Nothing waits for what cannot be done now: a gateway whose medium fails still answers methods. */
  async #tried(item: Item): Promise<void> {
    const connection = this.#connection;
    try {
      await item.act();
      if (connection !== this.#connection) return;
      this.#said = false;
      item.stored();
    } catch (error) {
      if (this.#stopped || connection !== this.#connection) return;
      const again = `what comes from above is not taken, and tried again each ${AGAIN_MS / 1000} s`;
      if (!this.#said) this.#log.error(`${again}: ${(error as Error).message}`);
      this.#said = true;
      const retry = this.#clock.after(AGAIN_MS, () => {
        this.#retries.delete(retry);
        void this.#tried(item);
      });
      this.#retries.add(retry);
    }
  }

  #done(stage: Stage, connection: number): void {
    if (connection !== this.#connection) return;
    this.#underWay[stage]--;
    this.#advance();
  }

  #advance(): void {
    while (this.#open < STAGES.length - 1 && this.#asked > this.#open) {
      if (STAGES.slice(0, this.#open + 1).some((stage) => this.#underWay[stage] > 0)) return;
      this.#open++;
      const stage = STAGES[this.#open]!;
      for (const item of this.#waiting[stage].splice(0)) this.#carryOut(stage, item);
    }
  }
}
