/** A timer that was asked for; cancelling one that has fired does nothing. */
export interface Timer {
  cancel(): void;
}

/**
 * Time, passed in. Nothing below `gateway.ts` asks the platform for it directly, so that a test can hold the clock still
 * and a board without a real-time clock cannot fool one part while another knows better.
 */
export interface Clock {
  /** Wall time, milliseconds since 1970-01-01T00:00Z. May be wrong, may jump either way. */
  wall(): number;
  /** Milliseconds since this machine booted; never jumps, never runs backwards, means nothing after a reboot. */
  monotonic(): number;
  /** Whether the kernel says that wall time is synchronised with the world. */
  known(): boolean;
  /** Names this boot of the machine: monotonic stamps of two messages compare only when it is equal. */
  readonly bootId: string;
  /** Calls `fn` once the events that are at hand have been dealt with: sooner than any timer. */
  soon(fn: () => void): void;
  /** Calls `fn` once after `ms`; does not keep the process alive. */
  after(ms: number, fn: () => void): Timer;
  /** Calls `fn` each `ms`; does not keep the process alive. */
  every(ms: number, fn: () => void): Timer;
}
