import type { LossRow } from '../message/loss.ts';
import { eventTimeOf, type Source, type Stored } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import { encoded } from './bag.ts';

/*
 * The `holdfast` dialect: topics and forms with which a gateway talks to any MQTT broker. Everything stands under
 * `holdfast/v1/{gateway}/{child}`; the gateway itself is the child `{gateway}`.
 */
export const PREFIX = 'holdfast/v1';

/** The property in which a message from a gateway below keeps where it was first: `gateway/epoch/lane/seq`. No child may set it. */
export const ORIGIN = '$origin';

/** The gateway that took a message on first, and the message's place in that one's account. */
export interface Origin {
  readonly gateway: string;
  readonly epoch: number;
  readonly lane: number;
  readonly seq: number;
}

export function originText({ gateway, epoch, lane, seq }: Origin): string {
  return `${gateway}/${epoch}/${lane}/${seq}`;
}

/** Null when it is none. */
export function originIn(text: string): Origin | null {
  const [, gateway, ...numbers] = /^([^/]+)\/(\d{1,10})\/(\d{1,2})\/(\d{1,16})$/.exec(text) ?? [];
  const [epoch, lane, seq] = numbers.map(Number);
  return gateway === undefined ? null : { gateway, epoch: epoch!, lane: lane!, seq: seq! };
}

/** When a message was accepted, as well as it can be known by now: ms since 1970, and what that is worth. */
export interface KnownTime {
  readonly at: number;
  readonly clock: 'synced' | 'restored' | 'unknown';
  /** With `unknown`, where they are known: it was not before, and not after. */
  readonly tMin?: number;
  readonly tMax?: number;
}

/** Where an event goes, without the bag that MQTT 3.1.1 needs in its last level. */
export function eventTopic(gateway: string, source: Source): string {
  const child = source.module === undefined ? source.child : `${source.child}/modules/${source.module}`;
  const output = source.output === undefined ? '' : `/${source.output}`;
  return `${PREFIX}/${gateway}/${child}/events${output}`;
}

/** What travels beside an event's body, as name, value, name, value ...; `p-NAME` are the message's own properties; `hops` and `origin` where it came from below. */
export function eventProperties(stored: Stored, known: KnownTime): string[] {
  const { message } = stored;
  const pairs = [
    'id',
    ulidText(message.id),
    'epoch',
    String(stored.epoch),
    'lane',
    String(stored.lane),
    'seq',
    String(stored.seq),
  ];
  const eventTime = eventTimeOf(message, known.at);
  if (eventTime !== undefined) pairs.push('t', rfc3339(eventTime));
  pairs.push('at', rfc3339(known.at), 'clock', known.clock);
  if (known.tMin !== undefined) pairs.push('tMin', rfc3339(known.tMin));
  if (known.tMax !== undefined) pairs.push('tMax', rfc3339(known.tMax));
  if (message.contentEncoding !== undefined) pairs.push('content-encoding', message.contentEncoding);
  if (message.hops > 0) pairs.push('hops', String(message.hops));
  const { properties } = message;
  if (properties === undefined) return pairs;
  for (const name of Object.keys(properties)) pairs.push(name === ORIGIN ? 'origin' : `p-${name}`, properties[name]!);
  return pairs;
}

/**
 * The same as one topic level for MQTT 3.1.1, which has no properties. A dot is encoded as well: brokers that map topics to
 * subjects of their own (nats-server before 2.10) close the connection for one, and every time has one.
 */
export function propertyLevel(contentType: string | undefined, pairs: readonly string[]): string {
  let level = contentType === undefined ? '' : `content-type=${encoded(contentType)}`;
  for (let i = 0; i < pairs.length; i += 2) {
    level += `${level === '' ? '' : '&'}${encoded(pairs[i]!)}=${encoded(pairs[i + 1]!)}`;
  }
  return `?${level.replaceAll('.', '%2E')}`;
}

export function statusTopic(gateway: string): string {
  return `${PREFIX}/${gateway}/status`;
}

export function lossesTopic(gateway: string): string {
  return `${PREFIX}/${gateway}/losses`;
}

/** The registry document, sealed for the gateway. */
export function registryTopic(gateway: string): string {
  return `${PREFIX}/${gateway}/children`;
}

/** The gateway's public key. */
export function keyTopic(gateway: string): string {
  return `${PREFIX}/${gateway}/key`;
}

/** The body of a loss report. */
export function lossBody({ sent: _, ...loss }: LossRow): Buffer {
  const time = (ms: number | null) => (ms === null ? null : rfc3339(ms));
  return Buffer.from(
    JSON.stringify({ ...loss, firstEventTime: time(loss.firstEventTime), lastEventTime: time(loss.lastEventTime) }),
  );
}

/** Filters for one who watches: all events (with and without an output or a bag), or all of one gateway. */
export function eventFilters(gateway = '+'): string[] {
  return [`${PREFIX}/${gateway}/+/events/#`, `${PREFIX}/${gateway}/+/modules/+/events/#`];
}

/** An event as one who watches sees it. */
export interface SeenEvent {
  readonly gateway: string;
  readonly child: string;
  readonly module: string | null;
  readonly output: string | null;
  readonly epoch: number;
  readonly lane: number;
  readonly seq: number;
  readonly id: string;
  readonly eventTime: string | null;
  readonly acceptedAt: string | null;
  readonly clock: string | null;
  /** Bounds of `acceptedAt` where the clock was not known. */
  readonly tMin: string | null;
  readonly tMax: string | null;
  readonly contentType: string | null;
  /** Null: the gateway itself took it on first. */
  readonly origin: Origin | null;
  readonly properties: Record<string, string>;
}

/** Reads an event's topic and properties (MQTT 5's, or the bag in the topic); null when it is not an event. */
export function parseEvent(
  topic: string,
  contentType: string | undefined,
  userProperties: Record<string, string | string[]> | undefined,
): SeenEvent | null {
  const levels = topic.split('/');
  if (levels[0] !== 'holdfast' || levels[1] !== 'v1') return null;
  const gateway = levels[2] ?? '';
  const child = levels[3] ?? '';
  let at = 4;
  let module: string | null = null;
  if (levels[at] === 'modules') {
    module = levels[at + 1] ?? null;
    at += 2;
  }
  if (levels[at] !== 'events') return null;
  const rest = levels.slice(at + 1);
  const all: Record<string, string> = {};
  if (rest.at(-1)?.startsWith('?') === true) {
    for (const [name, value] of new URLSearchParams(rest.pop()!.slice(1).replaceAll('+', '%2B'))) all[name] = value;
  }
  for (const [name, value] of Object.entries(userProperties ?? {}))
    all[name] = Array.isArray(value) ? value[0]! : value;
  const own: Record<string, string> = {};
  for (const [name, value] of Object.entries(all)) if (name.startsWith('p-')) own[name.slice(2)] = value;
  return {
    gateway,
    child,
    module,
    output: rest.length > 0 ? rest.join('/') : null,
    epoch: Number(all['epoch'] ?? Number.NaN),
    lane: Number(all['lane'] ?? Number.NaN),
    seq: Number(all['seq'] ?? Number.NaN),
    id: all['id'] ?? '',
    eventTime: all['t'] ?? null,
    acceptedAt: all['at'] ?? null,
    clock: all['clock'] ?? null,
    tMin: all['tMin'] ?? null,
    tMax: all['tMax'] ?? null,
    contentType: contentType ?? all['content-type'] ?? null,
    origin: originIn(all['origin'] ?? ''),
    properties: own,
  };
}

const FIRST_MS = -62_135_596_800_000;
const LAST_MS = 253_402_300_799_999;
let lastSecond = Number.NaN;
let lastSecondText = '';

/** RFC 3339, UTC, milliseconds; a time no calendar has becomes the nearest one that it has, what is no time the first. */
export function rfc3339(ms: number): string {
  const whole = Number.isNaN(ms) ? FIRST_MS : Math.floor(Math.max(FIRST_MS, Math.min(LAST_MS, ms)));
  const second = Math.floor(whole / 1000);
  // Messages come in order, so most share their second with the one before: dates were 6 % of the work of draining.
  if (second !== lastSecond) {
    lastSecondText = new Date(second * 1000).toISOString().slice(0, -4);
    lastSecond = second;
  }
  return `${lastSecondText}${String(whole - second * 1000).padStart(3, '0')}Z`;
}
