import {
  BODY_BYTES_MAX,
  HOPS_MAX,
  LANE_UNSPECIFIED,
  LANES,
  NO_BOOT,
  eventTimeOf,
  type AcceptedAt,
  type Message,
  type Source,
  type Stored,
} from './message.ts';
import { ulid, ulidFrom, ulidText } from './ulid.ts';

/** Longest life that a message may be given, seconds. */
const LIFE_SECS_MAX = 2_147_483_647;
/** Farthest time from 1970 that a date can say, ms (ECMA-262, 21.4.1.1). */
const DATE_MS_MAX = 8.64e15;

/** What a time of acceptance may be worth. */
const CLOCKS: ReadonlySet<unknown> = new Set<AcceptedAt['clock']>(['synced', 'restored', 'unknown']);
/** Times of acceptance lie before this one, ms: they are kept in 48 bits. */
const ACCEPTED_MS_END = 2 ** 48;

/**
 * A message in the JSON form in which it leaves a spool and comes into another. Times are RFC 3339 with milliseconds, or, where
 * that cannot say them, numbers of ms since 1970. The body comes back byte for byte: an object, list, number, true, false or null
 * stands for exactly the bytes that `JSON.stringify` makes of it, a string for its UTF-8, `{base64}` for those bytes.
 */
export interface Exchanged {
  readonly lane: number;
  readonly epoch: number;
  readonly seq: number;
  readonly id: string;
  readonly child: string;
  readonly module: string | null;
  readonly output: string | null;
  readonly eventTime: string | number | null;
  /** Only with `clock: unknown`: the event time is by the same clock as the time of acceptance, and as wrong. */
  readonly eventTimeOurs?: true;
  readonly acceptedAt: string | number;
  readonly clock: AcceptedAt['clock'];
  readonly expiresAfterSecs: number | null;
  readonly hops: number;
  readonly contentType: string | null;
  readonly contentEncoding: string | null;
  readonly properties: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** A message that came in that form; everything but the stamp that the spool that takes it gives. */
export interface Incoming {
  /** As it came; null when it was left out. */
  readonly id: Buffer | null;
  readonly message: Omit<Message, 'id' | 'acceptedAt'>;
  /** When another gateway accepted it, ms since 1970, and what that was worth; null when it does not say. */
  readonly accepted: { readonly wall: number; readonly clock: AcceptedAt['clock'] } | null;
}

/** What came is no message; says why, for the one who wrote it. */
export class NoMessage extends Error {}

/** A stored message in its JSON form, with its times as well as they are known. */
export function exchanged(
  { lane, epoch, seq, message }: Stored,
  known: { readonly at: number; readonly clock: Exchanged['clock'] },
): Exchanged {
  // In whole milliseconds, so that a date can say it, and an event time that is corrected by it.
  const at = Math.floor(known.at);
  const eventTime = eventTimeOf(message, at);
  return {
    lane,
    epoch,
    seq,
    id: ulidText(message.id),
    child: message.source.child,
    module: message.source.module ?? null,
    output: message.source.output ?? null,
    eventTime: eventTime === undefined ? null : timeForm(eventTime),
    ...(known.clock === 'unknown' && message.eventTimeOurs === true ? { eventTimeOurs: true } : {}),
    acceptedAt: timeForm(at),
    clock: known.clock,
    expiresAfterSecs: message.expiresAfterSecs ?? null,
    hops: message.hops,
    contentType: message.contentType ?? null,
    contentEncoding: message.contentEncoding ?? null,
    properties: message.properties ?? {},
    body: bodyForm(message.body),
  };
}

/** A body that {@link bodyFrom} makes the same bytes of. */
export function bodyForm(body: Buffer): unknown {
  const text = body.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(body)) return { base64: body.toString('base64') };
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'string' || isBase64(value) || JSON.stringify(value) !== text) return text;
    return value;
  } catch {
    return text;
  }
}

function bodyFrom(form: unknown): Buffer {
  if (form === undefined) throw new NoMessage('it has no body');
  if (typeof form === 'string') return Buffer.from(wellFormed(form, 'body'), 'utf8');
  if (!isBase64(form)) return Buffer.from(JSON.stringify(form), 'utf8');
  const bytes = Buffer.from(form.base64, 'base64');
  if (bytes.toString('base64') !== form.base64) throw new NoMessage('its body is not base64 (RFC 4648, with padding)');
  return bytes;
}

function isBase64(value: unknown): value is { base64: string } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.keys(value).join() === 'base64' && typeof (value as { base64: unknown }).base64 === 'string';
}

function timeForm(ms: number): string | number {
  return Number.isInteger(ms) && Math.abs(ms) <= DATE_MS_MAX ? new Date(ms).toISOString() : ms;
}

const KEYS: ReadonlySet<string> = new Set<keyof Exchanged>([
  'lane',
  'epoch',
  'seq',
  'id',
  'child',
  'module',
  'output',
  'eventTime',
  'eventTimeOurs',
  'acceptedAt',
  'clock',
  'expiresAfterSecs',
  'hops',
  'contentType',
  'contentEncoding',
  'properties',
  'body',
]);

/**
 * Reads the JSON form. `child` and `body` must be there; of `epoch` and `seq`, which the new spool gives anew, nothing is made.
 * Throws {@link NoMessage}.
 */
export function incoming(form: unknown): Incoming {
  if (typeof form !== 'object' || form === null || Array.isArray(form)) throw new NoMessage('it is no JSON object');
  const given = form as Record<string, unknown>;
  const unknown = Object.keys(given).find((key) => !KEYS.has(key));
  if (unknown !== undefined) throw new NoMessage(`a message has no ${JSON.stringify(unknown)}`);
  const body = bodyFrom(given['body']);
  if (body.length > BODY_BYTES_MAX)
    throw new NoMessage(
      `its body of ${body.length} bytes is larger than the ${BODY_BYTES_MAX} that a message may have`,
    );
  const eventTime = timeFrom(given, 'eventTime');
  const expiresAfterSecs = wholeNumber(given, 'expiresAfterSecs', 1, LIFE_SECS_MAX);
  const contentType = textOf(given, 'contentType');
  const contentEncoding = textOf(given, 'contentEncoding');
  const properties = propertiesOf(given['properties']);
  const wall = timeFrom(given, 'acceptedAt');
  if (wall !== undefined && (wall < 0 || wall >= ACCEPTED_MS_END)) throw new NoMessage('its acceptedAt is no time');
  const accepted = wall === undefined ? null : { wall, clock: clockOf(given) };
  const ours = isTrue(given, 'eventTimeOurs') && eventTime !== undefined && accepted?.clock === 'unknown';
  return {
    id: idOf(given),
    message: {
      source: sourceOf(given),
      body,
      ...(contentType === undefined ? {} : { contentType }),
      ...(contentEncoding === undefined ? {} : { contentEncoding }),
      ...(properties === undefined ? {} : { properties }),
      ...(eventTime === undefined ? {} : { eventTime }),
      ...(ours ? { eventTimeOurs: true as const } : {}),
      priority: wholeNumber(given, 'lane', 0, LANES - 1) ?? LANE_UNSPECIFIED,
      ...(expiresAfterSecs === undefined ? {} : { expiresAfterSecs }),
      hops: wholeNumber(given, 'hops', 0, HOPS_MAX) ?? 0,
    },
    accepted,
  };
}

/**
 * The message, with the stamp of the spool that takes it: its life begins anew. When it was accepted first is kept; of a time
 * that was not known, no boot of this machine can say more.
 */
export function stamped({ id, message, accepted }: Incoming, stamp: AcceptedAt): Message {
  const acceptedAt = accepted === null ? stamp : { ...stamp, ...accepted, boot: NO_BOOT, monotonic: 0 };
  return { ...message, id: id ?? ulid(stamp.wall), acceptedAt };
}

function sourceOf(given: Record<string, unknown>): Source {
  const [child, module, output] = [nameOf(given, 'child'), nameOf(given, 'module'), textOf(given, 'output')];
  if (child === undefined) throw new NoMessage('it has no child');
  return {
    child,
    ...(module === undefined ? {} : { module }),
    ...(output === undefined ? {} : { output }),
  };
}

/** A name that becomes a level of a topic: as the configuration allows it. */
function nameOf(given: Record<string, unknown>, key: string): string | undefined {
  const name = textOf(given, key);
  if (name !== undefined && !/^[A-Za-z0-9._-]{1,128}$/.test(name))
    throw new NoMessage(`its ${key} may have 1 to 128 letters, digits, ".", "_" and "-"`);
  return name;
}

function textOf(given: Record<string, unknown>, key: string): string | undefined {
  const value = given[key] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw new NoMessage(`its ${key} is no string`);
  return wellFormed(value, key);
}

/** Half of a surrogate pair has no UTF-8: it would come back as another character. */
function wellFormed(text: string, key: string): string {
  if (Buffer.from(text, 'utf8').toString('utf8') !== text) throw new NoMessage(`its ${key} is no Unicode text`);
  return text;
}

function propertiesOf(value: unknown): Record<string, string> | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) throw new NoMessage('its properties are no object');
  // No prototype: a property may be called __proto__.
  const properties = Object.create(null) as Record<string, string>;
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw new NoMessage(`its property ${JSON.stringify(name)} is no string`);
    properties[wellFormed(name, 'properties')] = wellFormed(text, 'properties');
  }
  return properties;
}

function timeFrom(given: Record<string, unknown>, key: string): number | undefined {
  const value = given[key] ?? undefined;
  if (value === undefined) return undefined;
  const ms = typeof value === 'string' ? Date.parse(value) : value;
  if (typeof ms !== 'number' || !Number.isFinite(ms)) throw new NoMessage(`its ${key} is no time`);
  return ms;
}

/** A time that is said without saying what it is worth was written by hand, and is taken at its word. */
function clockOf(given: Record<string, unknown>): AcceptedAt['clock'] {
  const clock = given['clock'] ?? 'synced';
  if (!CLOCKS.has(clock)) throw new NoMessage(`its clock is none of ${[...CLOCKS].join(', ')}`);
  return clock as AcceptedAt['clock'];
}

function isTrue(given: Record<string, unknown>, key: string): boolean {
  const value = given[key] ?? false;
  if (typeof value !== 'boolean') throw new NoMessage(`its ${key} is neither true nor false`);
  return value;
}

function wholeNumber(given: Record<string, unknown>, key: string, min: number, max: number): number | undefined {
  const value = given[key] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw new NoMessage(`its ${key} is no whole number from ${min} to ${max}`);
  return value;
}

function idOf(given: Record<string, unknown>): Buffer | null {
  const text = textOf(given, 'id');
  if (text === undefined) return null;
  const id = ulidFrom(text);
  if (id === null) throw new NoMessage('its id is no ULID');
  return id;
}
