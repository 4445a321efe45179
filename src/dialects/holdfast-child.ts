import { bagPairs, encoded, noProperties } from './bag.ts';
import type { ChildDialect, Heard, InvokeSaid, Publication, Said, Speaker, ToChild } from './child-dialect.ts';
import { mayInvoke, mayObserve, maySend } from './grants.ts';
import { PREFIX, propertyLevel } from './holdfast.ts';
import { lowerCommand, lowerFilter, lowerSaid } from './holdfast-below.ts';
import { covers, isFilter, isName } from './topic-filter.ts';
import { readJson } from '../message/json.ts';

/*
 * The `holdfast` dialect as a child speaks it: the topics of holdfast.ts from the other end, for any MQTT client. A child's own
 * stand under `holdfast/v1/{gateway}/{child}`, its module's under `.../{child}/modules/{module}`:
 *
 *   publishes   events[/{output}], twin/reported (a merge patch), methods/{name}/res/{rid} ({status, payload})
 *   receives    twin/desired (the whole document), twin/error, methods/{name}/req/{rid} ({payload, responseTimeoutSecs, id}),
 *               commands, inputs/{input}
 *   gateways    besides what holdfast-below.ts says
 *   by grant    {other}/methods/{name}/req/{rid}, whose answer it receives on .../res/{rid}; {other}/commands
 *
 * What travels beside a body: with MQTT 5 content type and user properties, with 3.1.1 a bag in a last level that begins with `?`.
 * `t` says when it happened, `p-NAME` is the property NAME; any other name is a property as it stands.
 */

/** Longest request id, characters. */
const REQUEST_ID_LENGTH_MAX = 256;

/** The dialect; `gateway` is the gateway's id. */
export function holdfastChild(gateway: string): ChildDialect {
  const root = `${PREFIX}/${gateway}`;
  const base = ({ child, module }: { child: string; module: string | null }): string =>
    module === null ? `${root}/${child}` : `${root}/${child}/modules/${module}`;

  const lower = (speaker: Speaker, filter: string): string | null =>
    speaker.gateway === true ? lowerFilter(gateway, filter) : null;

  return {
    desiredAs: 'document',
    lower,
    lowerCommand,

    said(speaker, heard) {
      const lower = speaker.gateway === true ? lowerSaid(gateway, speaker.child, heard) : null;
      if (lower !== null) return lower;
      const { path, bag } = withoutBag(heard.topic);
      if (!path.startsWith(`${root}/`)) return nothing('not a topic of this gateway');
      const besides = beside(heard, bag);
      if (besides === null) return nothing('a property bag that is not percent-encoded');
      const own = `${base(speaker)}/`;
      if (path.startsWith(own)) {
        const said = ofItsOwn(speaker, heard, path.slice(own.length).split('/'), besides);
        if (said !== null) return said;
      }
      return ofAnother(speaker, heard, path.slice(root.length + 1).split('/'), besides);
    },

    subscribes(speaker, filter, qos) {
      if (!isFilter(filter)) return null;
      const may =
        lower(speaker, filter) !== null ||
        covers(`${base(speaker)}/#`, filter) ||
        isAnswers(speaker, filter, root) ||
        mayObserve(speaker, gateway, filter);
      if (!may) return null;
      return qos === 0 ? 0 : 1;
    },

    startsWithDesired: (speaker, filter) => covers(filter, `${base(speaker)}/twin/desired`),

    methodRequest: (speaker, method, rid, body, responseTimeoutSecs, id) => ({
      topic: `${base(speaker)}/methods/${encoded(method)}/req/${encoded(rid)}`,
      payload: Buffer.concat([
        Buffer.from('{"payload":'),
        body.length === 0 ? Buffer.from('null') : body,
        Buffer.from(responseTimeoutSecs === undefined ? '' : `,"responseTimeoutSecs":${responseTimeoutSecs}`),
        Buffer.from(id === undefined ? '}' : `,"id":${JSON.stringify(id)}}`),
      ]),
      qos: 0,
    }),

    // That it was taken says the PUBACK.
    twinAnswer: (speaker, status, _rid, _version, body) =>
      status < 300 ? null : { topic: `${base(speaker)}/twin/error`, payload: body, qos: 0 },

    desiredPatch: (speaker, _version, body) => ({ topic: `${base(speaker)}/twin/desired`, payload: body, qos: 1 }),

    commandMessage: (speaker, message, mqtt5) => publication(`${base(speaker)}/commands`, message, mqtt5),

    inputMessage: (speaker, input, message, mqtt5) =>
      publication(`${base(speaker)}/inputs/${encoded(input)}`, message, mqtt5),

    invokeAnswer: (_, invoked, status, body) => ({
      topic: `${base(invoked)}/methods/${invoked.method}/res/${invoked.rid}`,
      payload: Buffer.concat([
        Buffer.from(`{"status":${status},"payload":`),
        body.length === 0 ? Buffer.from('null') : body,
        Buffer.from('}'),
      ]),
      qos: 0,
    }),
  };
}

type Beside = Pick<ToChild, 'contentType' | 'contentEncoding'> & {
  readonly eventTime?: number;
  readonly properties: Record<string, string>;
};

/** What a child says on a topic of its own; null when that is none on which it speaks. */
function ofItsOwn(speaker: Speaker, heard: Heard, levels: readonly string[], besides: Beside): Said | null {
  const [first, second, third, fourth] = levels;
  if (first === 'events') {
    if (levels.length > 2 || (levels.length === 2 && !isName(second)))
      return nothing('an output is one level of 1 to 128 letters, digits, ".", "_" and "-"');
    if (heard.retain) besides.properties['mqtt-retain'] = 'true';
    return { kind: 'event', module: speaker.module, output: second ?? null, body: heard.payload, ...besides };
  }
  if (first === 'twin' && second === 'reported' && levels.length === 2)
    return { kind: 'twin patch', rid: '', body: heard.payload };
  if (first === 'methods' && third === 'res' && fourth !== undefined && levels.length === 4)
    return methodAnswer(fourth, heard.payload);
  return null;
}

/** What a child says to another: `levels` begin with that one's id. */
function ofAnother(speaker: Speaker, heard: Heard, levels: readonly string[], besides: Beside): Said {
  const [child, ...afterChild] = levels;
  const ofModule = afterChild[0] === 'modules';
  const module = ofModule ? (afterChild[1] ?? null) : null;
  const [first, method, third, rid, ...more] = ofModule ? afterChild.slice(2) : afterChild;
  if (!isName(child) || (ofModule && !isName(module ?? undefined))) return nothing('not a topic of its own');
  if (first === 'methods' && third === 'req' && isName(method) && isRequestId(rid) && more.length === 0) {
    if (!mayInvoke(speaker, child, module)) return nothing(`it may not invoke methods of ${child}`);
    const request = methodBody(heard.payload);
    if (request === null) return nothing('a method request that is no JSON object');
    return { kind: 'invoke', child, module, method, rid, ...request };
  }
  if (first === 'commands' && method === undefined && module === null) {
    if (!maySend(speaker, child)) return nothing(`it may not send to ${child}`);
    const { eventTime: _, ...content } = besides;
    return { kind: 'send', child, body: heard.payload, ...content };
  }
  return nothing('not a topic of its own');
}

/** Whether all that a filter takes are answers to methods that a child may invoke. */
function isAnswers(speaker: Speaker, filter: string, root: string): boolean {
  // Answers go to the one who asked and to nobody else, so `+` in place of the child shows nothing of others.
  if (speaker.grants.invoke.length > 0 && covers(`${root}/+/methods/+/res/+`, filter)) return true;
  if (speaker.grants.invoke.length > 0 && covers(`${root}/+/modules/+/methods/+/res/+`, filter)) return true;
  return [`${root}/${speaker.child}/methods/+/res/+`, `${root}/${speaker.child}/modules/+/methods/+/res/+`].some(
    (own) => covers(own, filter),
  );
}

function methodAnswer(rid: string, payload: Buffer): Said {
  if (!isRequestId(rid)) return nothing('a method is answered without a request id');
  const answer = jsonObject(payload);
  const status = answer?.['status'];
  if (answer === null || typeof status !== 'number' || !Number.isInteger(status)) {
    const error = 'what the child answered is not {"status": number, "payload": ...}';
    return { kind: 'method answer', rid, status: 502, body: Buffer.from(JSON.stringify({ error })) };
  }
  return { kind: 'method answer', rid, status, body: jsonBytes(answer['payload']) };
}

/** `{payload, responseTimeoutSecs}`, or nothing at all. */
function methodBody(payload: Buffer): Pick<InvokeSaid, 'body' | 'responseTimeoutSecs'> | null {
  if (payload.length === 0) return { body: payload, responseTimeoutSecs: null };
  const request = jsonObject(payload);
  if (request === null) return null;
  const secs = request['responseTimeoutSecs'];
  return { body: jsonBytes(request['payload']), responseTimeoutSecs: typeof secs === 'number' ? secs : null };
}

function jsonObject(bytes: Buffer): Record<string, unknown> | null {
  try {
    const value = readJson(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function jsonBytes(value: unknown): Buffer {
  return value === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(value));
}

function isRequestId(level: string | undefined): level is string {
  return level !== undefined && level !== '' && level.length <= REQUEST_ID_LENGTH_MAX;
}

/** Takes the bag of MQTT 3.1.1 off a topic. */
function withoutBag(topic: string): { path: string; bag: string | null } {
  const at = topic.lastIndexOf('/');
  return topic[at + 1] === '?' ? { path: topic.slice(0, at), bag: topic.slice(at + 2) } : { path: topic, bag: null };
}

/** How a time begins; `Date.parse` reads much else as well, such as `12` for a December. */
const DATE_AND_TIME = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/i;

function isTime(text: string): boolean {
  return DATE_AND_TIME.test(text) && !Number.isNaN(Date.parse(text));
}

/** What stands beside a body; null when the bag cannot be read. */
function beside({ properties: mqtt5 }: Heard, bag: string | null): Beside | null {
  const pairs: (readonly [string, string])[] | null = bag === null ? [] : bagPairs(bag);
  if (pairs === null) return null;
  for (const [name, value] of Object.entries(mqtt5?.userProperties ?? {}))
    pairs.push([name, typeof value === 'string' ? value : value.at(-1)!]);
  const properties = noProperties();
  let { contentType } = mqtt5 ?? {};
  let contentEncoding: string | undefined;
  let eventTime = Number.NaN;
  for (const [name, value] of pairs) {
    if (name === 'content-type') contentType ??= value;
    else if (name === 'content-encoding') contentEncoding = value;
    // What is no time is what it says, and not lost.
    else if (name === 't' && isTime(value)) eventTime = Date.parse(value);
    else properties[name.startsWith('p-') ? name.slice(2) : name] = value;
  }
  return {
    ...(contentType === undefined ? {} : { contentType }),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    ...(Number.isNaN(eventTime) ? {} : { eventTime }),
    properties,
  };
}

/** A message for a child, with what travels beside its body in the way of its MQTT version. */
function publication(topic: string, message: ToChild, mqtt5: boolean): Publication {
  const { body: payload, contentType, contentEncoding, properties = {}, messageId, from } = message;
  const pairs: string[] = [];
  if (messageId !== undefined) pairs.push('id', messageId);
  if (contentEncoding !== undefined) pairs.push('content-encoding', contentEncoding);
  if (from !== undefined) pairs.push('from', from.module === undefined ? from.child : `${from.child}/${from.module}`);
  for (const [name, value] of Object.entries(properties)) pairs.push(`p-${name}`, value);
  if (!mqtt5) {
    if (pairs.length === 0 && contentType === undefined) return { topic, payload, qos: 1 };
    return { topic: `${topic}/${propertyLevel(contentType, pairs)}`, bareTopic: topic, payload, qos: 1 };
  }
  const userProperties = noProperties();
  for (let at = 0; at < pairs.length; at += 2) userProperties[pairs[at]!] = pairs[at + 1]!;
  const beside5 = {
    ...(contentType === undefined ? {} : { contentType }),
    // Of a packet whose user properties are an empty object mqtt-packet 9 writes nothing at all.
    ...(pairs.length === 0 ? {} : { userProperties }),
  };
  return { topic, payload, qos: 1, properties: beside5 };
}

function nothing(why: string): Said {
  return { kind: 'nothing', why };
}
