import type { CommandContent, CommandMessage } from './command-message.ts';

/*
 * What the sender of a queued message hears of it, if its `ack` asks: in the words of Azure IoT Hub's message feedback
 * ("Understand cloud-to-device messaging from an IoT hub", message feedback).
 */

/** The gateway's own output on which senders of messages from above and for children hear what became of them. */
export const FEEDBACK_OUTPUT = 'feedback';

/**
 * What became of a message: the child acknowledged it, it waited too long, there was no way to say it or nobody to say it to, or it
 * was not taken on in the first place.
 */
export type Fate = 'delivered' | 'expired' | 'dropped' | 'refused';

const ASKED: Readonly<Record<Fate, readonly CommandMessage['ack'][]>> = {
  delivered: ['positive', 'full'],
  expired: ['negative', 'full'],
  dropped: ['negative', 'full'],
  refused: ['negative', 'full'],
};
const WORDS = {
  delivered: { statusCode: 'Success', description: 'Success' },
  expired: { statusCode: 'Expired', description: 'Message expired' },
  dropped: { statusCode: 'Purged', description: 'Message purged' },
  refused: { statusCode: 'Rejected', description: 'Message rejected' },
} as const;

/** A message's fate as content of a message: a JSON list of one record. Null when nobody asked. `at`: ms since 1970; `why` for people. */
export function feedback(
  child: string,
  message: { readonly properties?: Readonly<Record<string, string>>; readonly messageId?: string },
  fate: Fate,
  at: number,
  why?: string,
): CommandContent | null {
  const { properties = {}, messageId } = message;
  if (!ASKED[fate].some((ack) => ack === properties['ack'])) return null;
  const record = {
    originalMessageId: properties['messageId'] ?? messageId ?? null,
    enqueuedTimeUtc: new Date(at).toISOString(),
    ...WORDS[fate],
    ...(why === undefined ? {} : { description: `${WORDS[fate].description}: ${why}` }),
    deviceId: child,
  };
  return {
    body: Buffer.from(JSON.stringify([record])),
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    properties: {},
  };
}
