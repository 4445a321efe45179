import { nearest } from '../query/nearest.ts';
import type { Message } from '../message/message.ts';
import { ulid, ulidFrom } from '../message/ulid.ts';
import { SYSTEM_NAMES } from '../router/message-view.ts';

/** What a message to test routes with may say; all of it may be left out. */
const KEYS = [
  'child',
  'module',
  'output',
  'properties',
  'systemProperties',
  'contentType',
  'contentEncoding',
  'body',
  'id',
  'eventTime',
  'acceptedAt',
] as const;
/** What `monitor --json`, `spool peek --json` and `spool export` say besides, and routes do not ask about. */
const PASSED_OVER: readonly string[] = [
  'gateway',
  'epoch',
  'lane',
  'seq',
  'receivedAt',
  'clock',
  'eventTimeOurs',
  'expiresAfterSecs',
  'hops',
  'origin',
  'tMin',
  'tMax',
];

/** It is no message; why. */
export class NoSuchMessage extends Error {}

type Form = Readonly<Record<(typeof KEYS)[number], unknown>>;

/**
 * Makes a message of its JSON form, see docs/routes.md. Without `contentType` and `contentEncoding`, a body that is an object or a list is
 * declared as JSON. Throws {@link NoSuchMessage}.
 */
export function messageOf(text: string, gateway: string, now: number): Message {
  const form = formOf(text);
  const system = systemProperties(form.systemProperties);
  const module = word('module', form.module) ?? system.get('connectionmoduleid');
  const output = word('output', form.output) ?? system.get('outputname');
  const child =
    word('child', form.child) ?? system.get('connectiondeviceid') ?? (module === undefined ? 'child' : gateway);
  const { body, isJson } = bodyOf(form.body);
  const said = {
    contentType: word('contentType', form.contentType) ?? system.get('contenttype'),
    contentEncoding: word('contentEncoding', form.contentEncoding) ?? system.get('contentencoding'),
  };
  const undeclared = said.contentType === undefined && said.contentEncoding === undefined;
  const { contentType, contentEncoding } =
    undeclared && isJson ? { contentType: 'application/json', contentEncoding: 'utf-8' } : said;
  const eventTime = time('eventTime', form.eventTime);
  const wall = time('acceptedAt', form.acceptedAt ?? system.get('enqueuedtime')) ?? now;
  const properties = { ...carried(system), ...texts('properties', form.properties) };
  return {
    id: (typeof form.id === 'string' ? ulidFrom(form.id) : null) ?? ulid(wall),
    source: { child, ...(module !== undefined && { module }), ...(output !== undefined && { output }) },
    body,
    ...(contentType !== undefined && { contentType }),
    ...(contentEncoding !== undefined && { contentEncoding }),
    ...(eventTime !== undefined && { eventTime }),
    properties,
    acceptedAt: { wall, monotonic: 0, boot: 0, clock: 'synced', age: 0 },
    priority: 10,
    hops: 0,
  };
}

function formOf(text: string): Form {
  let form: unknown;
  try {
    form = JSON.parse(text);
  } catch (error) {
    const lines = text.split('\n').filter((line) => line.trim() !== '').length;
    const several = lines > 1 && text.trimStart().startsWith('{"') ? ` (${lines} lines; give it one message)` : '';
    throw new NoSuchMessage(`it is not JSON: ${(error as Error).message}${several}`);
  }
  if (typeof form !== 'object' || form === null || Array.isArray(form)) throw new NoSuchMessage('it is no JSON object');
  const unknown = Object.keys(form).find(
    (key) => !(KEYS as readonly string[]).includes(key) && !PASSED_OVER.includes(key),
  );
  if (unknown !== undefined) {
    const meant = nearest(unknown, KEYS);
    const right = meant === undefined ? `it has ${KEYS.join(', ')}` : `did you mean "${meant}"?`;
    throw new NoSuchMessage(`a message has no ${JSON.stringify(unknown)}; ${right}`);
  }
  return form as Form;
}

/** Null is as if it were left out: so do the tools write it. */
function word(key: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string' && value !== '') return value;
  throw new NoSuchMessage(`its ${key} is no text`);
}

function texts(key: string, value: unknown): Record<string, string> {
  if (value === undefined || value === null) return {};
  const isMapping = typeof value === 'object' && !Array.isArray(value);
  if (isMapping && Object.values(value).every((each) => typeof each === 'string'))
    return value as Record<string, string>;
  throw new NoSuchMessage(`its ${key} are no mapping of names to texts`);
}

function time(key: string, value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  const ms = typeof value === 'string' ? Date.parse(value) : value;
  if (typeof ms === 'number' && Number.isFinite(ms)) return ms;
  throw new NoSuchMessage(`its ${key} is no time`);
}

/** Names in lower case, without `$`. */
function systemProperties(value: unknown): Map<string, string> {
  const names = new Map<string, string>();
  for (const [key, text] of Object.entries(texts('systemProperties', value))) {
    const name = key.replace(/^\$/, '').toLowerCase();
    if (!SYSTEM_NAMES.some((each) => each.toLowerCase() === name)) {
      const meant = nearest(name, SYSTEM_NAMES);
      const hint = meant === undefined ? '' : `; did you mean "${meant}"?`;
      throw new NoSuchMessage(`there is no system property ${JSON.stringify(key)}${hint}`);
    }
    names.set(name, text);
  }
  return names;
}

/** System properties that travel among the application properties. */
function carried(system: ReadonlyMap<string, string>): Record<string, string> {
  const ours = 'connectiondeviceid connectionmoduleid outputname contenttype contentencoding enqueuedtime'.split(' ');
  return Object.fromEntries([...system].filter(([name]) => !ours.includes(name)));
}

function bodyOf(form: unknown): { body: Buffer; isJson: boolean } {
  if (form === undefined) return { body: Buffer.alloc(0), isJson: false };
  if (typeof form === 'string') return { body: Buffer.from(form), isJson: false };
  const base64 = typeof form === 'object' && form !== null && Object.keys(form).join() === 'base64';
  const bytes = base64 ? (form as { base64: unknown }).base64 : null;
  if (typeof bytes === 'string') return { body: Buffer.from(bytes, 'base64'), isJson: false };
  return { body: Buffer.from(JSON.stringify(form)), isJson: true };
}
