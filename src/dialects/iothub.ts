import { encoded, bagPairs } from './bag.ts';
import type { ChildDialect, Heard, Said, Speaker } from './child-dialect.ts';
import { mayObserve } from './grants.ts';
import { lowerSaidAsDevice } from './iothub-below.ts';
import { readBag, writeBag } from './iothub-bag.ts';
import { covers, isFilter, isName } from './topic-filter.ts';

/*
 * The `iothub` dialect towards children: Azure IoT Hub's MQTT 3.1.1 topics, exactly as the unmodified device SDKs use them. The
 * `$iothub/...` topics belong to the connection: each client has its own, and they never reach anybody else.
 */

/** Longest request id that is given back, characters. */
const REQUEST_ID_LENGTH_MAX = 256;

const TWIN_GET = '$iothub/twin/GET/';
const TWIN_PATCH = '$iothub/twin/PATCH/properties/reported/';
const METHOD_ANSWER = '$iothub/methods/res/';
const OWN_TO_EVERYONE = [
  '$iothub/methods/POST/#',
  '$iothub/twin/res/#',
  '$iothub/twin/PATCH/properties/desired/#',
] as const;

/** The dialect; `gateway` is the gateway's id, under which observers find events. */
export function iothubChild(gateway: string): ChildDialect {
  return {
    desiredAs: 'patch',

    said(speaker, heard) {
      const { topic } = heard;
      if (!topic.startsWith('$')) {
        const said = event(speaker, heard);
        return said.kind === 'event' && speaker.gateway === true ? lowerSaidAsDevice(speaker.child, said) : said;
      }
      if (topic.startsWith(TWIN_GET)) {
        const rid = requestId(topic.slice(TWIN_GET.length));
        return rid === null ? nothing('the twin is asked for without a $rid') : { kind: 'twin get', rid };
      }
      if (topic.startsWith(TWIN_PATCH)) {
        const rid = requestId(topic.slice(TWIN_PATCH.length));
        if (rid === null) return nothing('properties are reported without a $rid');
        return { kind: 'twin patch', rid, body: heard.payload };
      }
      if (topic.startsWith(METHOD_ANSWER)) return methodAnswer(topic.slice(METHOD_ANSWER.length), heard.payload);
      return nothing('not a topic of a device');
    },

    subscribes(speaker, filter, qos) {
      const own = [...OWN_TO_EVERYONE, `${receiving(speaker)}/#`].some((each) => covers(each, filter));
      if (!isFilter(filter) || !(own || mayObserve(speaker, gateway, filter))) return null;
      return qos === 0 ? 0 : 1;
    },

    // The SDK asks for its twin itself.
    startsWithDesired: () => false,

    methodRequest: (_, method, rid, body) => ({
      topic: `$iothub/methods/POST/${encoded(method)}/?$rid=${encoded(rid)}`,
      // The SDK parses the payload as JSON whatever its length.
      payload: body.length === 0 ? Buffer.from('null') : body,
      qos: 0,
    }),

    twinAnswer: (_, status, rid, version, body) => ({
      topic: `$iothub/twin/res/${status}/?$rid=${encoded(rid)}${version === null ? '' : `&$version=${version}`}`,
      payload: body,
      qos: 0,
    }),

    desiredPatch: (_, version, body) => ({
      topic: `$iothub/twin/PATCH/properties/desired/?$version=${version}`,
      payload: body,
      qos: 0,
    }),

    commandMessage: (speaker, message) => ({
      topic: `${device(speaker)}/messages/devicebound/${writeBag(message)}`,
      payload: message.body,
      qos: 1,
    }),

    inputMessage: (speaker, input, message) => ({
      topic: `${device(speaker)}/inputs/${encoded(input)}/${writeBag(message)}`,
      payload: message.body,
      qos: 1,
    }),

    // Its modules invoke methods over HTTPS.
    invokeAnswer: () => null,
  };
}

function device({ child, module }: Speaker): string {
  return module === null ? `devices/${child}` : `devices/${child}/modules/${module}`;
}

/** All that is sent to it: some SDKs subscribe to the whole of a module's. */
function receiving(speaker: Speaker): string {
  return speaker.module === null ? `${device(speaker)}/messages/devicebound` : device(speaker);
}

function event(speaker: Speaker, { topic, payload, retain }: Heard): Said {
  const start = `${device(speaker)}/messages/events`;
  if (topic !== start && !topic.startsWith(`${start}/`)) return nothing('not a topic of its own');
  const rest = topic.slice(start.length + 1);
  // Some SDKs end the topic with a slash, some do not.
  const bag = rest.endsWith('/') ? rest.slice(0, -1) : rest;
  if (bag.includes('/')) return nothing('a slash in the property bag, not percent-encoded');
  const content = readBag(bag);
  if (content === null) return nothing('a property bag that is not percent-encoded');
  if (content.output !== null && !isName(content.output))
    return nothing('an output may have 1 to 128 letters, digits, ".", "_" and "-"');
  if (retain) content.properties['mqtt-retain'] = 'true';
  return { kind: 'event', module: speaker.module, body: payload, ...content };
}

/** `{status}/?$rid={rid}`. */
function methodAnswer(rest: string, body: Buffer): Said {
  const slash = rest.indexOf('/');
  const status = rest.slice(0, slash);
  const rid = requestId(rest.slice(slash + 1));
  if (slash < 0 || !/^-?\d{1,9}$/.test(status) || rid === null)
    return nothing('a method is answered without a status or a $rid');
  if (body.length > 0 && !isJson(body)) {
    const error = 'what the child answered is not JSON';
    return { kind: 'method answer', rid, status: 502, body: Buffer.from(JSON.stringify({ error })) };
  }
  return { kind: 'method answer', rid, status: Number(status), body };
}

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

/** The `$rid` of `?$rid=...`; null without one. */
function requestId(query: string): string | null {
  if (!query.startsWith('?')) return null;
  const rid = new Map(bagPairs(query.slice(1)) ?? []).get('$rid');
  return rid === undefined || rid === '' || rid.length > REQUEST_ID_LENGTH_MAX ? null : rid;
}

function nothing(why: string): Said {
  return { kind: 'nothing', why };
}
