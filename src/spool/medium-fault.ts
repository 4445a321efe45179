import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { StoreError } from '../store/store-error.ts';

/** Commits in a row that LMDB refused because its file is damaged, before the file is given up. */
const DAMAGED_MAX = 3;

export interface MediumFaultParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** The file is damaged, and trying again does not help. */
  readonly onDamaged: (fault: StoreError) => void;
}

/** Why the medium takes no writes, and for how long it has not; said when it begins and when it ends. */
export class MediumFault {
  readonly #parts: MediumFaultParts;
  #fault: StoreError | null = null;
  #since = 0;
  #damaged = 0;

  constructor(parts: MediumFaultParts) {
    this.#parts = parts;
  }

  /** Why the last commit failed; null when it did not. */
  get now(): StoreError | null {
    return this.#fault;
  }

  /** How long ago the first commit failed of those since the last one that did not, ms; 0 when there is none. */
  get ms(): number {
    return this.#fault === null ? 0 : this.#parts.clock.monotonic() - this.#since;
  }

  /** A commit failed. */
  failed(fault: StoreError): void {
    const { clock, log, onDamaged } = this.#parts;
    if (this.#fault === null) {
      this.#since = clock.monotonic();
      log.error({ fault: fault.fault }, `the spool cannot write: ${fault.message}; readings wait in memory`);
    }
    this.#fault = fault;
    this.#damaged = fault.fault === 'damaged' ? this.#damaged + 1 : 0;
    if (this.#damaged === DAMAGED_MAX) onDamaged(fault);
  }

  /** A commit is on the medium. */
  ended(): void {
    if (this.#fault !== null) this.#parts.log.warn('the spool takes writes again');
    this.#fault = null;
    this.#damaged = 0;
  }
}
