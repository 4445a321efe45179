import { rfc3339, type KnownTime } from '../dialects/holdfast.ts';
import { eventTimeOf, type AcceptedAt, type Stored } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import type { FoundLetter } from '../spool/dead-letters.ts';
import { readJson } from '../message/json.ts';

/** What `spool peek` answers, one by one. */
export type Peeked = ReturnType<typeof peeked>;

/** When a message was accepted, as well as it is known by now: stamps of a boot that learned the time later are wrong. */
export type TimeOf = (accepted: AcceptedAt) => KnownTime;

/** A stored message as `spool peek` shows it: its times are those with which it would go upstream now. */
export function peeked({ lane, epoch, seq, message }: Stored, timeOf: TimeOf) {
  const { at, clock } = timeOf(message.acceptedAt);
  const eventTime = eventTimeOf(message, at);
  return {
    lane,
    epoch,
    seq,
    id: ulidText(message.id),
    child: message.source.child,
    module: message.source.module ?? null,
    output: message.source.output ?? null,
    eventTime: eventTime === undefined ? null : rfc3339(eventTime),
    acceptedAt: rfc3339(at),
    clock,
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
    return readJson(text);
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

export function shownLetter({ number, reason, stored }: FoundLetter, timeOf: TimeOf): ShownLetter {
  return { number, reason, message: stored === null ? null : peeked(stored, timeOf) };
}
