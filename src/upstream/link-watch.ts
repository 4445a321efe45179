import { networkInterfaces } from 'node:os';
import type { Clock, Timer } from '../clock/clock.ts';

/** How often the kernel is asked, ms. One question takes some 0.2 ms. */
const LOOK_EVERY_MS = 1000;

/**
 * Sees the network links of this machine come and go. The kernel lists the addresses of a link only while it is up and
 * running, that is, with a carrier: a pulled cable takes them away as surely as `ip address del`.
 */
export class LinkWatch {
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `gone` once when the link that has this address goes, or the address. */
  onGone(address: string, gone: () => void): Timer {
    // An address that is not among ours now, for whatever reason, says nothing by its absence later.
    if (!addresses()?.has(address)) return { cancel: () => undefined };
    const timer = this.#clock.every(LOOK_EVERY_MS, () => {
      if (addresses()?.has(address) !== false) return;
      timer.cancel();
      gone();
    });
    return timer;
  }

  /** Calls `back` each time that an address is there which was not a moment before. */
  onBack(back: () => void): Timer {
    let before = addresses();
    return this.#clock.every(LOOK_EVERY_MS, () => {
      const now = addresses();
      const news = now !== null && before !== null && [...now].some((each) => !before!.has(each));
      before = now ?? before;
      if (news) back();
    });
  }
}

/** The addresses of this machine on links that run; null when the kernel does not say. */
function addresses(): Set<string> | null {
  try {
    return new Set(
      Object.values(networkInterfaces())
        .flatMap((each) => each ?? [])
        .map(({ address }) => address),
    );
  } catch {
    return null;
  }
}
