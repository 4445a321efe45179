import { createRequire } from 'node:module';
import type { Poller } from '@serialport/bindings-cpp/dist/poller.js';

type Pollers = typeof import('@serialport/bindings-cpp/dist/poller.js');

/** By the number of their descriptor: no more than there may be open files, in fact a few. */
let kept: Map<number, Poller> | null = null;

/**
 * Has the package `serialport` wait for each descriptor number by one poller as long as the process lives. It makes one with
 * each opening, and none of them ever goes (bindings-cpp 13, poller.cpp): to destroy one leaves its callback referenced and its
 * libuv handle in the loop. That is 430 bytes of the heap with each opening, and as much again outside it: some hundred megabytes
 * a year for a port that is opened again each minute. To free it later would be worse: libuv would take out of its loop
 * whatever has that number by then. So a poller only stops when its port is closed, while the number is its own, and starts again
 * for the next port that gets this number.
 */
export function keepPollers(): void {
  if (kept !== null) return;
  // Not imported: what an import gives cannot be changed.
  const pollers = createRequire(import.meta.url)('@serialport/bindings-cpp/dist/poller.js') as Pollers;
  const all = (kept = new Map<number, Poller>());
  class KeptPoller extends pollers.Poller {
    constructor(descriptor: number) {
      super(descriptor);
      all.set(descriptor, this);
    }

    override destroy(): void {
      this.emitCanceled();
    }
  }
  // Called with `new`, which gives what a function returns.
  Object.assign(pollers, {
    Poller: function pollerOf(descriptor: number): Poller {
      return all.get(descriptor) ?? new KeptPoller(descriptor);
    },
  });
}
