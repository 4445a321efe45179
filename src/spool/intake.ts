import { stamped, type Incoming } from '../message/exchange.ts';
import type { AcceptedAt, Message } from '../message/message.ts';

/** What takes messages in: the spool. */
export interface Taker {
  stamp(): AcceptedAt;
  accept(message: Message, senderWaits: boolean): Promise<void>;
}

/** Takes messages in, in their order. Resolves when each is durable (null) or refused (why). */
export async function takeIn(taker: Taker, messages: readonly Incoming[]): Promise<(string | null)[]> {
  const taken = await Promise.allSettled(
    messages.map(async (each) => taker.accept(stamped(each, taker.stamp()), true)),
  );
  return taken.map((each) => (each.status === 'fulfilled' ? null : (each.reason as Error).message));
}
