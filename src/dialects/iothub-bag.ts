import { bagPairs, bagText, noProperties } from './bag.ts';
import type { ToChild } from './child-dialect.ts';

/*
 * The property bag of Azure IoT Hub's MQTT topics ("Communicate with an IoT hub using the MQTT protocol"): system properties as
 * `$.xyz`, then the application's own. `$.ct`, `$.ce` and `$.on` have a place of their own in a message; `$.ctime` says when it
 * happened, and stays a property, too. The others are kept as properties under the names by which routes know them
 * (docs/routes.md), so that they survive on the way up and come back as what they were.
 */
const NAMES: readonly (readonly [system: string, property: string])[] = [
  ['$.mid', 'messageId'],
  ['$.cid', 'correlationId'],
  ['$.uid', 'userId'],
  ['$.to', 'to'],
  ['$.exp', 'absolute-expiry-time'],
  ['$.schema', 'messageSchema'],
  ['$.ctime', 'creationTime'],
  ['$.ifid', 'iothub-interface-id'],
  ['$.sub', 'dt-subject'],
];
const PROPERTY = new Map(NAMES);
/** Who sent it: only the gateway says that. */
const SENDER = ['$.cdid', '$.cmid'];
/** What no property of a message may pass itself off as. */
const OURS = new Set([...SENDER, '$.ct', '$.ce', '$.on']);

/** What a bag said. */
export interface BagContent {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly output: string | null;
  /** ms since 1970. */
  readonly eventTime?: number;
  readonly properties: Record<string, string>;
}

/** Reads a bag; of a name that comes twice, the last counts. Null when it is not percent-encoded. */
export function readBag(text: string): BagContent | null {
  const pairs = bagPairs(text);
  if (pairs === null) return null;
  const given = new Map(pairs);
  const take = (name: string): string | undefined => {
    const value = given.get(name);
    given.delete(name);
    return value === '' ? undefined : value;
  };
  const contentType = take('$.ct');
  const contentEncoding = take('$.ce');
  const output = take('$.on') ?? null;
  for (const name of SENDER) given.delete(name);
  const eventTime = Date.parse(given.get('$.ctime') ?? given.get('iothub-creation-time-utc') ?? '');
  const properties = noProperties();
  for (const [name, value] of given) {
    const property = PROPERTY.get(name);
    // The application has a property of that name itself: nothing of either is lost.
    properties[property === undefined || given.has(property) ? name : property] = value;
  }
  return {
    ...(contentType === undefined ? {} : { contentType }),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    output,
    ...(Number.isNaN(eventTime) ? {} : { eventTime }),
    properties,
  };
}

/** A message's bag, in the form that {@link readBag} and the device SDKs read. */
export function writeBag(message: Omit<ToChild, 'body'>): string {
  const { contentType, contentEncoding, properties = {}, messageId, from } = message;
  const pairs: [string, string][] = [];
  for (const [system, property] of NAMES) {
    if (Object.hasOwn(properties, property) && !Object.hasOwn(properties, system))
      pairs.push([system, properties[property]!]);
  }
  if (messageId !== undefined && !Object.hasOwn(properties, 'messageId') && !Object.hasOwn(properties, '$.mid'))
    pairs.push(['$.mid', messageId]);
  if (contentType !== undefined) pairs.push(['$.ct', contentType]);
  if (contentEncoding !== undefined) pairs.push(['$.ce', contentEncoding]);
  if (from !== undefined) pairs.push(['$.cdid', from.child]);
  if (from?.module !== undefined) pairs.push(['$.cmid', from.module]);
  const written = new Set(pairs.map(([system]) => PROPERTY.get(system)));
  for (const [name, value] of Object.entries(properties))
    if (!written.has(name) && !OURS.has(name)) pairs.push([name, value]);
  return bagText(pairs);
}
