import type { Broker } from './broker.ts';
import { FleetError } from './fleet-error.ts';

/** How often a change is made anew because another's came between. */
const TRIES_MAX = 10;
/** How long the broker may take to hand out what it has acknowledged, ms. */
const ECHO_MS_MAX = 10_000;
const NOTHING = Buffer.alloc(0);

/**
 * Changes what is retained at a topic, so that no change of another's is lost. `make` is given what is there (null: nothing) and
 * makes what shall be; it is called again when another's change came between. All that subscribe see a topic's messages in
 * one order: if ours comes right after the one that it was made of, nobody was overwritten; else what came right before it
 * was, and is what ours is made of anew. What `make` throws is thrown, with the other's back in its place.
 */
export async function changeRetained<T>(
  broker: Broker,
  topic: string,
  make: (before: Buffer | null) => Promise<{ readonly body: Buffer; readonly result: T }>,
): Promise<T> {
  const seen: Buffer[] = [];
  const stop = await broker.follow([topic], ({ body }) => seen.push(body));
  try {
    await broker.settled(() => seen.length);
    let base = seen.at(-1) ?? NOTHING;
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const { body, result } = await made(base, tries > 0);
      const from = seen.length;
      await broker.publish(topic, body, { retain: true });
      const before = await beforeEcho(body, from);
      if (before.equals(base)) return result;
      base = before;
    }
    throw new FleetError(`others change ${topic} all the time: tried ${TRIES_MAX} times; try again`);
  } finally {
    if (!broker.ended.aborted) await stop();
  }

  async function made(base: Buffer, again: boolean) {
    try {
      return await make(base.length === 0 ? null : base);
    } catch (error) {
      if (again) await broker.publish(topic, base, { retain: true });
      throw error;
    }
  }

  /** What came right before ours. */
  async function beforeEcho(body: Buffer, from: number): Promise<Buffer> {
    const before = await broker.until(() => {
      const at = seen.findIndex((each, index) => index >= from && each.equals(body));
      return at < 0 ? null : (seen[at - 1] ?? NOTHING);
    }, ECHO_MS_MAX);
    if (before !== null) return before;
    throw new FleetError(`${broker.url} does not hand out what we published to ${topic}: may we publish there?`);
  }
}
