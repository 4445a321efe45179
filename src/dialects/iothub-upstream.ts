import { lossBody, ORIGIN, rfc3339, type KnownTime } from './holdfast.ts';
import { bagPairs, encoded } from './bag.ts';
import { eventTimeOf, type Stored } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import { readBag, writeBag } from './iothub-bag.ts';
import { ownDown, ownUp } from './iothub-own.ts';
import type {
  CommandFromAbove,
  DownPublication,
  FromAbove,
  UpPublication,
  UpstreamDialect,
} from './upstream-dialect.ts';

/*
 * The `iothub` dialect as a gateway speaks it upwards: it is one device of Azure IoT Hub, over MQTT 3.1.1 ("Communicate with an IoT hub
 * using the MQTT protocol"). What IoT Hub has no place for travels as application properties: whose message it is, and its place in
 * the account. The same properties, on a cloud-to-device message, say whom it is for. All of these begin with `holdfast-`
 * (iothub-own.ts).
 */
const CHILD = 'holdfast-child';
const MODULE = 'holdfast-module';
/** What a message is that is none of a child's. */
const TYPE = 'holdfast-type';

const TWIN_RESULT = '$iothub/twin/res/';
const DESIRED = '$iothub/twin/PATCH/properties/desired/';
const METHOD = '$iothub/methods/POST/';

/** The dialect of the device `device`, which is the gateway `gateway`. */
export function iothubUpstream(gateway: string, device: string): UpstreamDialect {
  const events = `devices/${device}/messages/events/`;
  const deviceBound = `devices/${device}/messages/devicebound/`;
  return {
    name: 'iothub',
    onlyVersion: 4,

    subscriptions: () => [
      { stage: 'twins', filters: [`${TWIN_RESULT}#`, `${DESIRED}#`], qos: 0 },
      { stage: 'commands', filters: [`${deviceBound}#`], qos: 1 },
      { stage: 'commands', filters: [`${METHOD}#`], qos: 0 },
    ],

    heard(publication) {
      const { topic, body } = publication;
      if (topic.startsWith(deviceBound)) return command(gateway, publication, topic.slice(deviceBound.length));
      if (topic.startsWith(METHOD)) return method(gateway, topic.slice(METHOD.length), body);
      if (topic.startsWith(TWIN_RESULT)) return twinResult(topic.slice(TWIN_RESULT.length), body);
      const version = wholeNumber(query(topic.slice(DESIRED.length)).get('$version'));
      if (topic.startsWith(DESIRED) && version !== null) return { kind: 'desired patch', version, body };
      return { kind: 'nothing', why: 'not a topic of a device' };
    },

    event: (stored, known) => ({ topic: `${events}${eventBag(stored, known)}`, body: stored.message.body }),

    loss: (row) => said(events, 'loss', lossBody(row)),

    // Its connection state is IoT Hub's own business; what else there is to say stands in the reported properties.
    status: () => null,
    will: () => null,

    methodResponse: ({ requestId }, status, payload) => ({
      topic: `$iothub/methods/res/${status}/?$rid=${encoded(requestId)}`,
      body: payload.length === 0 ? Buffer.from('null') : payload,
      qos: 0,
    }),

    // A device has one twin: children have theirs here.
    reported: ({ child, module, document, patch }, requestId) => {
      if (child !== gateway || module !== null || document === null) return null;
      const { $version: _, ...whole } = document;
      const news = patch ?? whole;
      if (Object.keys(news).length === 0) return null;
      const topic = `$iothub/twin/PATCH/properties/reported/?$rid=${encoded(requestId)}`;
      return { topic, body: Buffer.from(JSON.stringify(news)), qos: 0 };
    },

    twinGet: (requestId) => ({ topic: `$iothub/twin/GET/?$rid=${encoded(requestId)}`, body: Buffer.from(' '), qos: 0 }),

    key: () => null,
  };
}

function said(events: string, type: string, body: Buffer): UpPublication {
  const bag = { properties: { [TYPE]: type }, contentType: 'application/json', contentEncoding: 'utf-8' };
  return { topic: `${events}${writeBag(bag)}`, body };
}

/** System properties, the child's own, then ours: whose it is, and its place in the account. */
function eventBag({ message, epoch, lane, seq }: Stored, known: KnownTime): string {
  const { source, contentType, contentEncoding } = message;
  const { tMin, tMax } = known;
  const eventTime = eventTimeOf(message, known.at);
  const { [ORIGIN]: origin, ...own } = message.properties ?? {};
  const properties: Record<string, string> = {
    ...ownUp(own),
    ...(origin === undefined ? {} : { 'holdfast-origin': origin }),
    [CHILD]: source.child,
    ...(source.module === undefined ? {} : { [MODULE]: source.module }),
    ...(source.output === undefined ? {} : { 'holdfast-output': source.output }),
    'holdfast-id': ulidText(message.id),
    'holdfast-epoch': String(epoch),
    'holdfast-lane': String(lane),
    'holdfast-seq': String(seq),
    'holdfast-at': rfc3339(known.at),
    'holdfast-clock': known.clock,
    ...(tMin === undefined ? {} : { 'holdfast-tMin': rfc3339(tMin) }),
    ...(tMax === undefined ? {} : { 'holdfast-tMax': rfc3339(tMax) }),
    ...(message.hops > 0 ? { 'holdfast-hops': String(message.hops) } : {}),
  };
  if (eventTime !== undefined) properties['creationTime'] ??= rfc3339(eventTime);
  return writeBag({
    properties,
    messageId: ulidText(message.id),
    ...(contentType === undefined ? {} : { contentType }),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
  });
}

function command(gateway: string, { body }: DownPublication, bag: string): FromAbove {
  const content = readBag(bag);
  if (content === null) return { kind: 'nothing', why: 'a property bag that is not percent-encoded' };
  const { [CHILD]: child = gateway, [MODULE]: module = null, ...properties } = content.properties;
  const { contentType, contentEncoding } = content;
  return {
    kind: 'command',
    child,
    module,
    body,
    properties: ownDown(properties),
    ...(contentType === undefined ? {} : { contentType }),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
  } satisfies CommandFromAbove;
}

/** `{name}/?$rid={rid}`. */
function method(gateway: string, rest: string, payload: Buffer): FromAbove {
  const slash = rest.indexOf('/');
  const requestId = query(rest.slice(slash + 1)).get('$rid');
  const name = decoded(rest.slice(0, Math.max(0, slash)));
  if (name === '' || requestId === undefined) return { kind: 'nothing', why: 'a method without a name or a $rid' };
  return {
    kind: 'method',
    child: gateway,
    module: null,
    method: name,
    requestId,
    payload,
    responseTimeoutSecs: null,
    sentAt: null,
  };
}

/** `{status}/?$rid={rid}[&$version={v}]`: with a body it is the twin, without one the answer to what was reported. */
function twinResult(rest: string, body: Buffer): FromAbove {
  const slash = rest.indexOf('/');
  const status = wholeNumber(rest.slice(0, Math.max(0, slash)));
  const requestId = query(rest.slice(slash + 1)).get('$rid');
  if (status === null || requestId === undefined)
    return { kind: 'nothing', why: 'an answer about the twin without a status or a $rid' };
  return { kind: status === 200 && body.length > 0 ? 'twin' : 'reported answer', status, requestId, body };
}

/** Null when it is none, or more than a number can hold. */
function wholeNumber(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function decoded(level: string): string {
  try {
    return decodeURIComponent(level);
  } catch {
    return level;
  }
}

/** The pairs of `?a=b&c=d`. */
function query(text: string): ReadonlyMap<string, string> {
  return new Map(text.startsWith('?') ? (bagPairs(text.slice(1)) ?? []) : []);
}
