import type { Message } from '../../src/message/message.ts';
import { ulidFrom } from '../../src/message/ulid.ts';

export const MESSAGE_ID = '01JD0000000000000000000000';

/** A message from device `p1`; a body that is not bytes is JSON, in UTF-8 and said to be. */
export function routeMessage({
  body = {},
  ...others
}: Partial<Omit<Message, 'body'>> & { body?: unknown } = {}): Message {
  const isBytes = Buffer.isBuffer(body);
  return {
    id: ulidFrom(MESSAGE_ID)!,
    source: { child: 'p1' },
    body: isBytes ? body : Buffer.from(JSON.stringify(body)),
    ...(isBytes ? {} : { contentType: 'application/json', contentEncoding: 'utf-8' }),
    acceptedAt: { wall: Date.UTC(2026, 0, 2, 3, 4, 5, 6), monotonic: 0, boot: 1, clock: 'synced', age: 0 },
    priority: 10,
    hops: 0,
    ...others,
  };
}
