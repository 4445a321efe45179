import type { Message } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import type { BodyPath, RouteValue } from './route-ast.ts';
import { atBodyPath } from './route-body-path.ts';

/** Largest time that a Date has, ms. */
const DATE_MS_MAX = 8.64e15;

/**
 * A message as a route's condition sees it. What is costly is worked out when a condition asks for it, and once: the body is
 * parsed at most once, for however many routes.
 */
export class MessageView {
  readonly message: Message;
  #body: object | string | undefined;
  #names: ReadonlyMap<string, string> | undefined;

  constructor(message: Message) {
    this.message = message;
  }

  /** An application property, whose name compares without case; `lower` is it in lower case. */
  property(name: string, lower: string): string | undefined {
    const { properties } = this.message;
    if (properties === undefined) return undefined;
    if (Object.hasOwn(properties, name)) return properties[name];
    this.#names ??= new Map(Object.keys(properties).map((each) => [each.toLowerCase(), each]));
    const found = this.#names.get(lower);
    return found === undefined ? undefined : properties[found];
  }

  /** A system property, by its name in lower case without `$`. */
  system(lower: string): string | undefined {
    return SYSTEM.get(lower)?.read(this);
  }

  body(path: BodyPath): RouteValue {
    const root = this.#root();
    return typeof root === 'string' ? undefined : atBodyPath(root, path);
  }

  /** Why there is nothing to find in the body; null when there may be. */
  get bodyTrouble(): string | null {
    const root = this.#root();
    return typeof root === 'string' ? root : null;
  }

  /** The body as an object, or why it is none. */
  #root(): object | string {
    this.#body ??= parsedBody(this.message);
    return this.#body;
  }
}

function parsedBody({ body, contentType, contentEncoding }: Message): object | string {
  if (contentType?.toLowerCase() !== 'application/json') {
    return `$body needs contentType application/json, not ${contentType ?? 'none'}`;
  }
  const decode = DECODERS.get(contentEncoding?.toLowerCase() ?? '');
  if (decode === undefined) {
    return `$body needs contentEncoding utf-8, utf-16 or utf-32, not ${contentEncoding ?? 'none'}`;
  }
  try {
    const root: unknown = JSON.parse(decode(body));
    if (typeof root === 'object' && root !== null && !Array.isArray(root)) return root;
    return 'the body is JSON, but no object';
  } catch {
    return 'the body is not JSON';
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });
const UTF16 = new TextDecoder('utf-16le', { fatal: true });

const DECODERS = new Map<string, (body: Buffer) => string>([
  ['utf-8', (body) => UTF8.decode(body)],
  ['utf-16', (body) => UTF16.decode(body[0] === 0xfe && body[1] === 0xff ? swapped(body, 2) : body)],
  ['utf-32', (body) => utf32(body.length >= 4 && body.readUInt32BE(0) === 0xfeff ? swapped(body, 4) : body)],
]);

/** Big-endian units as little-endian ones, in a copy. */
function swapped(body: Buffer, unit: 2 | 4): Buffer {
  if (body.length % unit !== 0) throw new RangeError('half a character');
  return unit === 2 ? Buffer.from(body).swap16() : Buffer.from(body).swap32();
}

function utf32(body: Buffer): string {
  if (body.length % 4 !== 0) throw new RangeError('half a character');
  let text = '';
  for (let at = 0; at < body.length; at += 4) {
    const code = body.readUInt32LE(at);
    if (at > 0 || code !== 0xfeff) text += String.fromCodePoint(code);
  }
  return text;
}

interface SystemProperty {
  /** As it is written, without `$`. */
  readonly name: string;
  readonly read: (view: MessageView) => string | undefined;
}

/** A property that travels as an application property: it has no place of its own in a message. */
function carried(name: string, ...otherNames: string[]): SystemProperty {
  const names = [name, ...otherNames].map((each) => [each, each.toLowerCase()] as const);
  const read = (view: MessageView): string | undefined => {
    for (const [each, lower] of names) {
      const value = view.property(each, lower);
      if (value !== undefined) return value;
    }
    return undefined;
  };
  return { name, read };
}

function iso(ms: number | undefined): string | undefined {
  return ms !== undefined && Math.abs(ms) <= DATE_MS_MAX ? new Date(ms).toISOString() : undefined;
}

const messageId = carried('messageId', 'message-id');
const creationTime = carried('creationTime', 'creationTimeUtc', 'iothub-creation-time-utc');

/** The published system properties (IoT Hub's "message routing query syntax" and the edge's own), each as text. */
const PROPERTIES: readonly SystemProperty[] = [
  { name: 'connectionDeviceId', read: ({ message }) => message.source.child },
  { name: 'connectionModuleId', read: ({ message }) => message.source.module },
  { name: 'messageId', read: (view) => messageId.read(view) ?? ulidText(view.message.id) },
  carried('cid', 'correlationId', 'correlation-id'),
  carried('correlationId', 'cid', 'correlation-id'),
  carried('userId'),
  carried('to'),
  carried('ack'),
  { name: 'contentType', read: ({ message }) => message.contentType },
  { name: 'contentEncoding', read: ({ message }) => message.contentEncoding },
  carried('inputName'),
  { name: 'outputName', read: ({ message }) => message.source.output },
  { name: 'creationTime', read: (view) => creationTime.read(view) ?? iso(view.message.eventTime) },
  { name: 'enqueuedTime', read: ({ message }) => iso(message.acceptedAt.wall) },
  carried('absolute-expiry-time'),
  carried('messageSchema'),
  carried('operation', 'iothub-operation'),
  carried('modelId'),
  carried('dt-subject'),
  carried('dt-dataschema'),
  carried('iothub-interface-id'),
  carried('messageType', 'iothub-message-type'),
  { name: 'edgeMessageId', read: ({ message }) => ulidText(message.id) },
  {
    name: 'edgeHubOriginInterface',
    read: ({ message }) => (message.source.module === undefined ? 'downstream' : 'internal'),
  },
  carried('rpSenderDeviceId'),
  carried('rpSenderModuleId'),
];

const SYSTEM = new Map(PROPERTIES.map((property) => [property.name.toLowerCase(), property]));

/** Names of system properties, without `$`. */
export const SYSTEM_NAMES: readonly string[] = PROPERTIES.map(({ name }) => name);
