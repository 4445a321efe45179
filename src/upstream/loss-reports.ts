import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { UpPublication, UpstreamDialect } from '../dialects/upstream-dialect.ts';
import type { Outbox } from './outbox.ts';
import { FIRST_FAILURE } from './session.ts';

/** After the broker has refused a report, none is sent for this long, ms; messages go on meanwhile. */
const REFUSED_WAIT_MS = 60_000;
/** So many connections in a row that the broker closed with a report unanswered are a refusal as well: some refuse that way. */
const CLOSES_MAX = 3;

export interface LossReportsOptions {
  readonly dialect: UpstreamDialect;
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly log: Logger;
  /** Publishes; calls back with PUBACK's reason, or never. */
  readonly publish: (publication: UpPublication, done: (reason: number) => void) => void;
  /** Called when reports may be sent again. */
  readonly again: () => void;
}

/** Reports losses, one round at a time: what is lost while one is on its way goes with the next. */
export class LossReports {
  readonly #options: LossReportsOptions;
  /** Reports of this round without an answer. */
  #open = 0;
  /** The next round waits for the medium. */
  #held = false;
  /** Set while the broker's refusal counts. */
  #refused: Timer | null = null;
  #closes = 0;
  #said = false;

  constructor(options: LossReportsOptions) {
    this.#options = options;
  }

  /** Whether a message may follow a loss that has not been reported, and so must wait. */
  get holdsMessages(): boolean {
    return this.#refused === null && (this.#held || this.#options.outbox.lossesUnreported);
  }

  /** Begins the next round if there is one to begin. */
  send(): void {
    const { dialect, outbox, publish } = this.#options;
    if (this.#open > 0 || this.#refused !== null) return;
    const rows = outbox.lossesToReport();
    this.#held = rows.length > 0 && !outbox.lossesDurable;
    if (this.#held) return;
    this.#open = rows.length;
    let refusal: string | null = null;
    for (const row of rows) {
      publish(dialect.loss(row), (reason) => {
        this.#closes = 0;
        if (reason < FIRST_FAILURE) outbox.lossesReported([row]);
        else refusal = `with reason 0x${reason.toString(16)}`;
        if (--this.#open > 0) return;
        if (refusal === null) this.#said = false;
        else this.#pause(refusal);
      });
    }
  }

  /** The session is over, and what was sent without an answer goes again in the next. True: it may be what ended it. */
  sessionEnded(byPeer: boolean): boolean {
    const blamed = byPeer && this.#open > 0;
    this.#open = 0;
    this.#held = false;
    if (blamed && ++this.#closes >= CLOSES_MAX) this.#pause('by closing the connection');
    return blamed;
  }

  /** They are kept. Whoever may not publish reports may still publish messages, so those do not wait. */
  #pause(how: string): void {
    const { clock, log, again } = this.#options;
    this.#refused = clock.after(REFUSED_WAIT_MS, () => {
      this.#refused = null;
      again();
    });
    if (this.#said) return;
    this.#said = true;
    log.warn(
      `the upstream refuses loss reports ${how}: they are kept and tried again each minute; may we publish them?`,
    );
  }
}
