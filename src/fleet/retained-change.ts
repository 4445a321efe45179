import type { Clock } from '../clock/clock.ts';
import type { Broker } from './broker.ts';
import { FleetError } from './fleet-error.ts';

/** How often a change is made anew because another's came between. */
const TRIES_MAX = 20;
/** How long the broker may take to hand out what it has acknowledged, ms. */
const ECHO_MS_MAX = 10_000;
/** So long after ours, and two round trips, ms, another's that was on its way may still come. */
const LINGER_MS = 200;
/** Whoever has to begin again waits up to so long before that, ms, so that not all do at once. */
const AGAIN_MS_MAX = 400;

export interface RetainedChange<T> {
  readonly topic: string;
  /**
   * Makes what shall be retained of what is (null: nothing). `again`: the change has been published before, and may be in that:
   * then only a later version of it.
   */
  readonly make: (before: Buffer | null, again: boolean) => Promise<{ readonly body: Buffer; readonly result: T }>;
  /** Whether the change is in what is retained. */
  readonly holds: (body: Buffer) => Promise<boolean>;
}

/**
 * Changes what is retained at a topic, so that nobody undoes another's change. MQTT has no lock and no compare-and-swap, but
 * all that subscribe see a topic's messages in one order: so each publishes only what is made of the last that it saw, and
 * stays until it is quiet. Whoever finds then that the change is not in the last one, since somebody's came who had not seen it
 * yet, makes it anew.
 * Rejects with what `make` and `holds` throw, and with a {@link FleetError}.
 */
export async function changeRetained<T>(broker: Broker, clock: Clock, change: RetainedChange<T>): Promise<T> {
  const { topic, make, holds } = change;
  const seen: Buffer[] = [];
  const last = () => seen.at(-1) ?? null;
  const stop = await broker.follow([topic], ({ body }) => seen.push(body));
  try {
    await broker.settled(() => seen.length);
    let again = false;
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const base = last();
      const { body, result } = await make(base === null || base.length === 0 ? null : base, again);
      if (base !== last()) continue;
      again = true;
      const alone = await published(body);
      const now = last();
      if (now !== null && (now.equals(body) ? alone : now.length > 0 && (await holds(now)))) return result;
      await broker.pause(Math.random() * AGAIN_MS_MAX);
    }
    throw new FleetError(`others change ${topic} all the time: tried ${TRIES_MAX} times; try again`);
  } finally {
    if (!broker.ended.aborted) await stop();
  }

  /** Resolves when it is quiet; with false when another's, not seen before, came right before ours: who reads may have that. */
  async function published(body: Buffer): Promise<boolean> {
    const from = seen.length;
    const began = clock.monotonic();
    await broker.publish(topic, body, { retain: true });
    const at = await broker.until(() => {
      const index = seen.findIndex((each, number) => number >= from && each.equals(body));
      return index < 0 ? null : index;
    }, ECHO_MS_MAX);
    if (at === null)
      throw new FleetError(`${broker.url} does not hand out what we published to ${topic}: may we publish there?`);
    const linger = LINGER_MS + 2 * (clock.monotonic() - began);
    for (let count = -1; count !== seen.length;) {
      count = seen.length;
      await broker.pause(linger);
    }
    return at === from;
  }
}
