import { rfc3339 } from '../dialects/holdfast.ts';
import type { Stored } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import type { FoundLetter } from '../spool/dead-letters.ts';

/** What `spool peek` answers, one by one. */
export type Peeked = ReturnType<typeof peeked>;

/** A stored message as `spool peek` shows it. */
export function peeked({ lane, epoch, seq, message }: Stored) {
  return {
    lane,
    epoch,
    seq,
    id: ulidText(message.id),
    child: message.source.child,
    module: message.source.module ?? null,
    output: message.source.output ?? null,
    eventTime: message.eventTime === undefined ? null : rfc3339(message.eventTime),
    acceptedAt: new Date(message.acceptedAt.wall).toISOString(),
    contentType: message.contentType ?? null,
    properties: message.properties ?? {},
    body: readableBody(message.body),
  };
}

/** A body as tools show it: parsed when it is JSON, else as text, and as `{base64}` when it is not UTF-8. */
export function readableBody(body: Buffer): unknown {
  const text = body.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(body)) return { base64: body.toString('base64') };
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** What `spool dead-letters list` answers, one by one; `message` is null when it cannot be read. */
export interface ShownLetter {
  readonly number: number;
  readonly reason: string;
  readonly message: Peeked | null;
}

export function shownLetter({ number, reason, stored }: FoundLetter): ShownLetter {
  return { number, reason, message: stored === null ? null : peeked(stored) };
}
