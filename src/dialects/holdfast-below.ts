import { bagPairs, noProperties } from './bag.ts';
import type { Heard, LowerEventSaid, LowerWordSaid, Place, Publication, Said, ToChild } from './child-dialect.ts';
import { ORIGIN, originIn, originText, PREFIX, propertyLevel } from './holdfast.ts';
import { holdfastUpstream } from './holdfast-upstream.ts';
import { LANES } from '../message/message.ts';
import { covers, isName } from './topic-filter.ts';

/*
 * What a gateway says to the hub of the one above it, and hears there: what it would say to a broker (holdfast-upstream.ts).
 * Everything stands under `holdfast/v1/{lower}`; what it passes on for gateways below itself under theirs, except for their
 * messages, which have become its own.
 */

/** Most hops that a message can say that it has come: beyond that it goes round anyway. */
const HOPS_SAID_MAX = 255;

/** What `child`, a gateway below `gateway`, says; null: it is not on a topic of a lower gateway's. */
export function lowerSaid(gateway: string, child: string, heard: Heard): Said | null {
  const [name, version, lower, ...levels] = heard.topic.split('/');
  if (`${name}/${version}` !== PREFIX || lower === gateway) return null;
  if (!isName(lower)) return nothing('no name of a gateway');
  const { what, source, bag } = ofLower(levels);
  if (what === 'nothing') return nothing('not a topic of a lower gateway');
  if (what !== 'event') return word(lower, what, heard);
  if (lower !== child) return nothing('messages of a gateway that is not the one that sends them');
  return event(lower, source, heard, bag) ?? nothing('a property bag that is not percent-encoded');
}

/** The lower gateway that a filter is for, if a gateway may ask for it. */
export function lowerFilter(gateway: string, filter: string): string | null {
  const lower = filter.split('/')[2];
  if (!isName(lower) || lower === gateway) return null;
  const wanted = holdfastUpstream(lower).subscriptions();
  return wanted.some(({ filters }) => filters.some((each) => covers(each, filter))) ? lower : null;
}

/** A command, as it came from above; over MQTT 3.1.1 what stood beside it goes into a bag. */
export function lowerCommand(topic: string, message: ToChild, mqtt5: boolean, expirySecs: number | null): Publication {
  const { body: payload, contentType, properties = {} } = message;
  const named = Object.keys(properties).length > 0;
  if (!mqtt5) {
    if (!named && contentType === undefined) return { topic, payload, qos: 1 };
    return { topic: `${topic}/${propertyLevel(contentType, Object.entries(properties).flat())}`, payload, qos: 1 };
  }
  const beside = {
    ...(contentType === undefined ? {} : { contentType }),
    ...(named ? { userProperties: properties } : {}),
    ...(expirySecs === null ? {} : { messageExpiryInterval: expirySecs }),
  };
  return { topic, payload, qos: 1, properties: beside };
}

interface OfLower {
  readonly what: LowerWordSaid['what'] | 'event' | 'nothing';
  readonly source: LowerEventSaid['source'];
  readonly bag: string | null;
}

/** `levels`: behind the gateway's id. */
function ofLower(levels: readonly string[]): OfLower {
  const [first, ...afterChild] = levels;
  const none = { what: 'nothing', source: { child: '' }, bag: null } as const;
  if (levels.length === 1 && (first === 'status' || first === 'key' || first === 'losses'))
    return { ...none, what: first };
  const ofModule = afterChild[0] === 'modules';
  const module = ofModule ? afterChild[1] : undefined;
  const [kind, ...rest] = ofModule ? afterChild.slice(2) : afterChild;
  // A module of the hub's own is called `$edgeHub`.
  if (!isName(first) || (ofModule && !isName(module?.replace(/^\$/, '')))) return none;
  if (kind === 'twin' && rest.length === 1 && rest[0] === 'reported') return { ...none, what: 'reported' };
  if (kind === 'methods' && rest.length === 3 && rest[1] === 'res') return { ...none, what: 'answer' };
  if (kind !== 'events') return none;
  const bag = rest.at(-1)?.startsWith('?') === true ? rest.at(-1)!.slice(1) : null;
  const [output, ...more] = bag === null ? rest : rest.slice(0, -1);
  if (more.length > 0 || (output !== undefined && !isName(output))) return none;
  const source = {
    child: first,
    ...(module === undefined ? {} : { module }),
    ...(output === undefined ? {} : { output }),
  };
  return { what: 'event', source, bag };
}

function word(gateway: string, what: LowerWordSaid['what'], { topic, payload: body, properties }: Heard): Said {
  const retain = what !== 'losses' && what !== 'answer';
  const { contentType } = properties ?? {};
  const publication = {
    topic,
    body,
    qos: what === 'answer' ? 0 : 1,
    retain,
    ...(contentType === undefined ? {} : { contentType }),
  } as const;
  return { kind: 'lower word', gateway, what, publication };
}

/** Null when the bag cannot be read. */
function event(
  gateway: string,
  source: LowerEventSaid['source'],
  { payload: body, properties: mqtt5 }: Heard,
  bag: string | null,
): LowerEventSaid | null {
  const pairs: (readonly [string, string])[] | null = bag === null ? [] : bagPairs(bag);
  if (pairs === null) return null;
  for (const [name, value] of Object.entries(mqtt5?.userProperties ?? {}))
    pairs.push([name, typeof value === 'string' ? value : value.at(-1)!]);
  const properties = noProperties();
  const ours = new Map<string, string>();
  for (const [name, value] of pairs) {
    if (!name.startsWith('p-')) ours.set(name, value);
    else if (name.slice(2) !== ORIGIN) properties[name.slice(2)] = value;
  }
  const place = placeIn(ours);
  const first = originIn(ours.get('origin') ?? '') ?? (place === null ? null : { gateway, ...place });
  if (first !== null) properties[ORIGIN] = originText(first);
  const contentType = mqtt5?.contentType ?? ours.get('content-type');
  const contentEncoding = ours.get('content-encoding');
  // When it was accepted there says more than when it came here, if that gateway knew the time.
  const eventTime = Date.parse(ours.get('t') ?? (ours.get('clock') === 'unknown' ? '' : (ours.get('at') ?? '')));
  const hops = Number(ours.get('hops') ?? 0);
  return {
    kind: 'lower event',
    gateway,
    source,
    body,
    properties,
    place,
    id: ours.get('id') ?? '',
    hops: Number.isInteger(hops) && hops >= 0 ? Math.min(hops, HOPS_SAID_MAX) : HOPS_SAID_MAX,
    ...(contentType === undefined ? {} : { contentType }),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    ...(Number.isNaN(eventTime) ? {} : { eventTime }),
  };
}

function placeIn(ours: ReadonlyMap<string, string>): Place | null {
  const number = (name: string) => (/^\d{1,16}$/.test(ours.get(name) ?? '') ? Number(ours.get(name)) : Number.NaN);
  const [epoch, lane, seq] = [number('epoch'), number('lane'), number('seq')];
  return epoch < 2 ** 32 && lane < LANES && Number.isSafeInteger(seq) ? { epoch, lane, seq } : null;
}

function nothing(why: string): Said {
  return { kind: 'nothing', why };
}
