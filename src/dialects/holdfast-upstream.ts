import { bagPairs, encoded, noProperties } from './bag.ts';
import {
  eventProperties,
  eventTopic,
  keyTopic,
  lossBody,
  lossesTopic,
  PREFIX,
  propertyLevel,
  registryTopic,
  statusTopic,
} from './holdfast.ts';
import { isName } from './topic-filter.ts';
import type {
  CommandFromAbove,
  DownPublication,
  FromAbove,
  MethodFromAbove,
  UpstreamDialect,
} from './upstream-dialect.ts';
import { readJson } from '../message/json.ts';

/** Longest request id that is given back, characters. */
const REQUEST_ID_LENGTH_MAX = 256;

const JSON_TYPE = 'application/json';

/** The `holdfast` dialect as a gateway speaks it to a broker; topics and forms are those of holdfast.ts. */
export function holdfastUpstream(gateway: string): UpstreamDialect {
  const root = `${PREFIX}/${gateway}`;
  const base = (child: string, module: string | null): string =>
    module === null ? `${root}/${child}` : `${root}/${child}/modules/${module}`;

  return {
    name: 'holdfast',
    onlyVersion: null,

    subscriptions: () => [
      { stage: 'registry', filters: [registryTopic(gateway)], qos: 1 },
      { stage: 'twins', filters: [`${root}/+/twin/desired`, `${root}/+/modules/+/twin/desired`], qos: 1 },
      // A bag may stand behind it as a level of its own.
      { stage: 'commands', filters: [`${root}/+/commands/#`, `${root}/+/modules/+/commands/#`], qos: 1 },
      { stage: 'commands', filters: [`${root}/+/methods/+/req/+`, `${root}/+/modules/+/methods/+/req/+`], qos: 0 },
    ],

    heard(publication) {
      const { topic, body } = publication;
      if (topic === registryTopic(gateway)) return { kind: 'registry', body };
      const [name, version, whose, ...levels] = topic.split('/');
      if (`${name}/${version}` !== PREFIX || whose === undefined) return nothing('not a topic of ours');
      if (whose !== gateway) return { kind: 'below', gateway: whose, publication };
      return ofChild(publication, levels);
    },

    event(stored, known, mqtt5) {
      const { message } = stored;
      const pairs = eventProperties(stored, known);
      const topic = eventTopic(gateway, message.source);
      return mqtt5
        ? { topic, body: message.body, contentType: message.contentType, userProperties: pairs }
        : { topic: `${topic}/${propertyLevel(message.contentType, pairs)}`, body: message.body };
    },

    loss: (row) => ({ topic: lossesTopic(gateway), body: lossBody(row), contentType: JSON_TYPE }),

    status: (body) => ({ topic: statusTopic(gateway), body, retain: true, contentType: JSON_TYPE }),

    will: (body) => ({ topic: statusTopic(gateway), body, retain: true }),

    methodResponse: ({ child, module, method, written = encoded(method), requestId }, status, payload) => ({
      topic: `${base(child, module)}/methods/${written}/res/${requestId}`,
      body: Buffer.concat([
        Buffer.from(`{"status":${status},"payload":`),
        payload.length === 0 ? Buffer.from('null') : payload,
        Buffer.from('}'),
      ]),
      qos: 0,
    }),

    reported: ({ child, module, document }) => ({
      topic: `${base(child, module)}/twin/reported`,
      body: document === null ? Buffer.alloc(0) : Buffer.from(JSON.stringify(document)),
      retain: true,
      contentType: JSON_TYPE,
    }),

    twinGet: () => null,

    key: (jwk) => ({ topic: keyTopic(gateway), body: jwk, retain: true, contentType: JSON_TYPE }),
  };
}

/** `levels` begin with the child's id. */
function ofChild(publication: DownPublication, levels: readonly string[]): FromAbove {
  const [child, ...afterChild] = levels;
  const ofModule = afterChild[0] === 'modules';
  const module = ofModule ? (afterChild[1] ?? '') : null;
  const rest = ofModule ? afterChild.slice(2) : afterChild;
  // A module of the hub's own is called `$edgeHub`.
  if (!isName(child) || (module !== null && !isName(module.replace(/^\$/, '')))) return nothing('no name of a child');
  const [first, second, third, requestId] = rest;
  if (first === 'twin' && second === 'desired' && rest.length === 2)
    return { kind: 'desired', child, module, body: publication.body };
  if (first === 'methods' && third === 'req' && second !== undefined && isRequestId(requestId) && rest.length === 4) {
    const method = decoded(second);
    const written = encoded(method) === second ? {} : { written: second };
    return { kind: 'method', child, module, method, requestId, ...written, ...methodRequest(publication.body) };
  }
  const bag = second === undefined ? '' : second.startsWith('?') ? second.slice(1) : null;
  if (first === 'commands' && rest.length <= 2 && bag !== null) return command(publication, child, module, bag);
  return nothing('not a topic of ours');
}

/** JSON `{payload, responseTimeoutSecs, sentAt}`. */
function methodRequest(body: Buffer): Pick<MethodFromAbove, 'payload' | 'responseTimeoutSecs' | 'sentAt' | 'fault'> {
  const nothingSaid = { payload: Buffer.alloc(0), responseTimeoutSecs: null, sentAt: null };
  if (body.length === 0) return nothingSaid;
  let request: { payload?: unknown; responseTimeoutSecs?: unknown; sentAt?: unknown };
  try {
    request = (readJson(body.toString('utf8')) as typeof request | null) ?? {};
  } catch (error) {
    return { ...nothingSaid, fault: `the request is not JSON: ${(error as Error).message}` };
  }
  const { payload, responseTimeoutSecs: secs, sentAt } = request;
  const at = typeof sentAt === 'string' ? Date.parse(sentAt) : Number(sentAt ?? Number.NaN);
  return {
    payload: payload === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(payload)),
    responseTimeoutSecs: typeof secs === 'number' ? secs : null,
    sentAt: Number.isFinite(at) ? at : null,
  };
}

/** A cloud-to-device message: what stands beside its body as with an event, in MQTT 5's properties or a bag. */
function command(publication: DownPublication, child: string, module: string | null, bag: string): FromAbove {
  const pairs: (readonly [string, string])[] | null = bag === '' ? [] : bagPairs(bag);
  if (pairs === null) return nothing('a property bag that is not percent-encoded');
  for (const [name, value] of Object.entries(publication.userProperties ?? {}))
    pairs.push([name, typeof value === 'string' ? value : value.at(-1)!]);
  const properties = noProperties();
  let { contentType } = publication;
  let contentEncoding: string | undefined;
  for (const [name, value] of pairs) {
    if (name === 'content-type') contentType ??= value;
    else if (name === 'content-encoding') contentEncoding = value;
    else properties[name.startsWith('p-') ? name.slice(2) : name] = value;
  }
  const { body, messageExpirySecs } = publication;
  return {
    kind: 'command',
    child,
    module,
    body,
    properties,
    ...(contentType === undefined ? {} : { contentType }),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    ...(messageExpirySecs === undefined ? {} : { lifeSecs: messageExpirySecs }),
  } satisfies CommandFromAbove;
}

function decoded(level: string): string {
  try {
    return decodeURIComponent(level);
  } catch {
    return level;
  }
}

function isRequestId(level: string | undefined): level is string {
  return level !== undefined && level !== '' && level.length <= REQUEST_ID_LENGTH_MAX;
}

function nothing(why: string): FromAbove {
  return { kind: 'nothing', why };
}
