/** So much a second, and what was not used up to a second's worth (or `burst`) at once. Time is monotonic ms. */
export class Allowance {
  #perMs: number;
  #burst: number;
  #left: number;
  #at: number;

  constructor(perSec: number, now: number, burst = perSec) {
    this.#perMs = perSec / 1000;
    this.#burst = burst;
    this.#left = burst;
    this.#at = now;
  }

  /** From now on so much a second; what is owed stays owed. */
  change(perSec: number, now: number, burst = perSec): void {
    this.#refill(now);
    this.#perMs = perSec / 1000;
    this.#burst = burst;
    this.#left = Math.min(this.#left, burst);
  }

  /** Takes so much, on credit if need be; gives the ms until nothing is owed. */
  take(amount: number, now: number): number {
    this.#refill(now);
    this.#left -= amount;
    return this.#left >= 0 ? 0 : Math.ceil(-this.#left / this.#perMs);
  }

  /** Takes so much if it is there. */
  takeIfThere(amount: number, now: number): boolean {
    this.#refill(now);
    if (this.#left < amount) return false;
    this.#left -= amount;
    return true;
  }

  /** Nothing is used: forgetting it forgets nothing. */
  full(now: number): boolean {
    this.#refill(now);
    return this.#left >= this.#burst;
  }

  #refill(now: number): void {
    this.#left = Math.min(this.#burst, this.#left + (now - this.#at) * this.#perMs);
    this.#at = now;
  }
}
