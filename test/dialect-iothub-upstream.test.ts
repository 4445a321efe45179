import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { deviceCredentials } from '../src/config/iothub-device.ts';
import { isSignedBy, parseSasToken } from '../src/dialects/sas-token.ts';
import { iothubUpstream } from '../src/dialects/iothub-upstream.ts';
import { readBag } from '../src/dialects/iothub-bag.ts';
import { lowerSaidAsDevice } from '../src/dialects/iothub-below.ts';
import { ORIGIN, type KnownTime } from '../src/dialects/holdfast.ts';
import type { DownPublication, ReportedToAbove } from '../src/dialects/upstream-dialect.ts';
import type { Message, Source, Stored } from '../src/message/message.ts';
import { ulid, ulidText } from '../src/message/ulid.ts';
import { clientName } from '../src/registry/client-name.ts';
import { fc } from './parts/properties.ts';

/*
 * What a gateway says and hears as a device of an IoT Hub (IoT Hub's MQTT topics), held against what the device SDK's own code makes of
 * the same.
 */
const dialect = iothubUpstream('line-5', 'cell-5');
const EVENTS = 'devices/cell-5/messages/events/';
const AT = Date.UTC(2026, 10, 26, 8);
const KNOWN: KnownTime = { at: AT, clock: 'synced' };
const ID = ulid(AT);

interface Parts {
  readonly source?: Source;
  readonly more?: Partial<Message>;
  readonly known?: KnownTime;
}

function bagOf({ source = { child: 'press-1' }, more = {}, known = KNOWN }: Parts): string {
  const acceptedAt = { wall: AT, monotonic: 0, boot: 0, clock: 'synced', age: 0 } as const;
  const message: Message = { id: ID, source, body: Buffer.from('b'), acceptedAt, priority: 3, hops: 0, ...more };
  const stored: Stored = { lane: 3, epoch: 2, seq: 77, message };
  const { topic, body, qos, retain } = dialect.event(stored, known, false);
  assert.deepEqual([body.toString(), qos, retain, topic.startsWith(EVENTS)], ['b', undefined, undefined, true]);
  return topic.slice(EVENTS.length);
}

const OURS = {
  'holdfast-child': 'press-1',
  'holdfast-id': ulidText(ID),
  'holdfast-epoch': '2',
  'holdfast-lane': '3',
  'holdfast-seq': '77',
  'holdfast-at': '2026-11-26T08:00:00.000Z',
  'holdfast-clock': 'synced',
};

function heard(topic: string, body = ''): Record<string, unknown> {
  const publication: DownPublication = { topic, body: Buffer.from(body), qos: 1, retain: false };
  const from: Record<string, unknown> = { ...dialect.heard(publication) };
  for (const name of ['body', 'payload']) if (Buffer.isBuffer(from[name])) from[name] = from[name].toString();
  if (typeof from['properties'] === 'object') from['properties'] = { ...from['properties'] };
  return from;
}

/* The SDK's own code. These parts of it are not public; they are what runs when a device is sent something. */
interface SdkMessage {
  messageId?: string;
  contentType?: string;
  contentEncoding?: string;
  readonly properties: { readonly propertyList: { key: string; value: string }[] };
}
interface SdkMethod {
  readonly methods: { readonly methodName: string };
  readonly requestId: string;
}
const require = createRequire(import.meta.url);
const { Mqtt } = require('azure-iot-device-mqtt/dist/mqtt.js') as {
  Mqtt: {
    prototype: {
      _extractPropertiesFromTopicPart(bag: string, message: SdkMessage): void;
      _onDeviceMethod(this: { emit: (name: string, method: SdkMethod) => void }, topic: string, body: Buffer): void;
    };
  };
};
const { MqttTwinClient } = require('azure-iot-device-mqtt/dist/mqtt_twin_client.js') as {
  MqttTwinClient: {
    prototype: {
      _sendTwinRequest(
        this: { _pendingTwinRequests: object; _mqtt: { publish: (topic: string, body: string) => void } },
        method: string,
        resource: string,
        body: string,
        done: () => void,
      ): void;
    };
  };
};
const common = require('azure-iot-common') as {
  Message: new (body: string) => SdkMessage;
  endpoint: { versionQueryString(): string };
  SharedAccessSignature: {
    parse(text: string, required: string[]): { sr: string; se: string };
    create(resource: string, name: null, key: string, expiry: number): { toString(): string };
  };
};

function sdkTwinRequest(method: string, resource: string, body: string): readonly [topic: string, body: string] {
  const sent: [string, string][] = [];
  MqttTwinClient.prototype._sendTwinRequest.call(
    { _pendingTwinRequests: {}, _mqtt: { publish: (topic, text) => sent.push([topic, text]) } },
    method,
    resource,
    body,
    () => undefined,
  );
  return sent[0]!;
}

describe('what goes up', () => {
  test('whose message it is, and its place in the account', () => {
    assert.deepEqual({ ...readBag(bagOf({}))?.properties }, { ...OURS, messageId: OURS['holdfast-id'] });
  });

  test("a module's output; type and coding in their own places; when it happened; an id of its own stays the message's id", () => {
    const more = {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      eventTime: AT - 1500,
      properties: { messageId: 'm-1', 'a/b': 'c=d&e ü' },
    };
    const read = readBag(bagOf({ source: { child: 'line-5', module: 'cooldown', output: 'hot' }, more }));
    assert.ok(read);
    assert.deepEqual(
      [read.contentType, read.contentEncoding, read.eventTime],
      ['application/json', 'utf-8', AT - 1500],
    );
    assert.deepEqual(
      { ...read.properties },
      {
        ...OURS,
        'holdfast-child': 'line-5',
        'holdfast-module': 'cooldown',
        'holdfast-output': 'hot',
        messageId: 'm-1',
        creationTime: '2026-11-26T07:59:58.500Z',
        'a/b': 'c=d&e ü',
      },
    );
  });

  test('a time that nobody knew comes with its bounds, and takes the time of the event along', () => {
    const known: KnownTime = { at: AT + 9000, clock: 'unknown', tMin: AT, tMax: AT + 60_000 };
    const read = readBag(bagOf({ known, more: { eventTime: AT - 1000, eventTimeOurs: true } }));
    const { 'holdfast-clock': clock, 'holdfast-tMin': tMin, 'holdfast-tMax': tMax } = read?.properties ?? {};
    assert.deepEqual([clock, tMin, tMax], ['unknown', '2026-11-26T08:00:00.000Z', '2026-11-26T08:01:00.000Z']);
    assert.equal(read?.eventTime, AT + 8000);
  });

  for (const seed of [7, 20_261_126]) {
    test(`no property of a child's passes itself off as ours, and none is lost (seed ${seed})`, () => {
      const name = fc.oneof(
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
        fc
          .tuple(
            fc.constantFrom('', 'p-', 'p-p-', 'P-', 'x-'),
            fc.constantFrom('holdfast-', 'Holdfast-', 'holdfast'),
            fc.constantFrom('child', 'module', 'output', 'type', 'tMin', 'seq', ''),
          )
          .map((parts) => parts.join('')),
      );
      const properties = fc.dictionary(name, fc.string({ unit: 'grapheme', maxLength: 8 }), { noNullPrototype: false });
      fc.assert(
        fc.property(properties, (own) => {
          const bag = bagOf({ more: { properties: own, contentType: 'text/plain' } });
          const all = { ...readBag(bag)?.properties };
          const ours = Object.entries(all).filter(([each]) => /^holdfast-/i.test(each));
          assert.deepEqual(Object.fromEntries(ours), OURS);

          // As a device of the SDK reads it.
          const message = new common.Message('');
          Mqtt.prototype._extractPropertiesFromTopicPart(bag, message);
          assert.equal(message.contentType, 'text/plain');
          const seen = message.properties.propertyList.filter(({ key }) => key.startsWith('holdfast-'));
          assert.deepEqual(Object.fromEntries(seen.map(({ key, value }) => [key, value])), OURS);

          // A gateway above it gives it back to the child.
          const at = { kind: 'event', module: null, body: Buffer.alloc(0) } as const;
          const lower = lowerSaidAsDevice('line-5', { ...at, ...readBag(bag)! });
          assert.ok(lower.kind === 'lower event', 'an event of a gateway below');
          const { [ORIGIN]: origin, messageId: ___, ...theirs } = lower.properties;
          assert.deepEqual([lower.source, origin], [{ child: 'press-1' }, 'line-5/2/3/77']);

          // The other way, it is what it was.
          const down = heard(`devices/cell-5/messages/devicebound/${bag}`)['properties'] as Record<string, string>;
          const { messageId: _, ...back } = down;
          const { messageId: __, ...expected } = own;
          assert.deepEqual(back, expected);
          assert.deepEqual({ ...theirs }, expected);
        }),
        { seed, numRuns: 500 },
      );
    });
  }

  test('a loss report says what it is', () => {
    const times = { firstEventTime: null, lastEventTime: AT };
    const range = { epoch: 1, lane: 3, firstSeq: 4, lastSeq: 9, count: 5, exact: true };
    const { topic, body } = dialect.loss({ id: '1', reason: 'expired', ...range, ...times });
    const read = readBag(topic.slice(EVENTS.length));
    assert.deepEqual([{ ...read?.properties }, read?.contentType], [{ 'holdfast-type': 'loss' }, 'application/json']);
    const said = JSON.parse(body.toString()) as unknown;
    assert.deepEqual(said, {
      id: '1',
      reason: 'expired',
      ...range,
      firstEventTime: null,
      lastEventTime: '2026-11-26T08:00:00.000Z',
    });
  });

  test('its twin is asked for, and reported to, as the SDK does it', () => {
    const get = dialect.twinGet('rid');
    const [getTopic, getBody] = sdkTwinRequest('GET', '/', ' ');
    assert.equal(get?.topic, getTopic.replace(/\$rid=.*/, '$rid=rid'));
    assert.deepEqual([get?.body.toString(), get?.qos], [getBody, 0]);

    const reported = { child: 'line-5', module: null, document: { a: 1, $version: 3 }, patch: { a: 1, b: null } };
    const patch = dialect.reported(reported, 'rid');
    const [topic, body] = sdkTwinRequest('PATCH', '/properties/reported/', JSON.stringify(reported.patch));
    assert.equal(patch?.topic, topic.replace(/\$rid=.*/, '$rid=rid'));
    assert.deepEqual([patch?.body.toString(), patch?.qos], [body, 0]);
  });

  const NOT_REPORTED: readonly (readonly [why: string, reported: Partial<ReportedToAbove>])[] = [
    ["a child's", { child: 'press-1' }],
    ["a module's", { module: '$edgeHub' }],
    ['one that is gone', { document: null }],
    ['nothing new', { patch: {} }],
  ];
  for (const [why, more] of NOT_REPORTED) {
    test(`reported properties that do not go up: ${why}`, () => {
      const reported = { child: 'line-5', module: null, document: { a: 1, $version: 1 }, patch: null, ...more };
      assert.equal(dialect.reported(reported, '1'), null);
    });
  }

  test('without knowing what is there, all of it goes up, but for what is not its own', () => {
    const reported = { child: 'line-5', module: null, document: { a: 1, $version: 3 }, patch: null };
    assert.equal(dialect.reported(reported, '1')?.body.toString(), '{"a":1}');
  });

  test('what IoT Hub has no place for is not said', () => {
    const json = Buffer.from('{}');
    assert.deepEqual([dialect.status(json, false), dialect.will(json), dialect.key(json)], [null, null, null]);
  });
});

describe('what comes down', () => {
  test('is asked for in order: twin, then commands and methods; nothing else', () => {
    const asked = dialect.subscriptions().map(({ stage, filters, qos }) => [stage, qos, ...filters]);
    assert.deepEqual(asked, [
      ['twins', 0, '$iothub/twin/res/#', '$iothub/twin/PATCH/properties/desired/#'],
      ['commands', 1, 'devices/cell-5/messages/devicebound/#'],
      ['commands', 0, '$iothub/methods/POST/#'],
    ]);
  });

  const BOUND = 'devices/cell-5/messages/devicebound/';
  const TWIN = '$iothub/twin/';
  const COMMAND = { kind: 'command', child: 'line-5', module: null, body: 'x', properties: {} };
  const CASES: readonly (readonly [topic: string, body: string, expected: Record<string, unknown>])[] = [
    [BOUND, 'x', COMMAND],
    [`${BOUND}holdfast-child=pump`, 'x', { ...COMMAND, child: 'pump' }],
    [`${BOUND}holdfast-child=pump&holdfast-module=m`, 'x', { ...COMMAND, child: 'pump', module: 'm' }],
    [
      `${BOUND}%24.mid=7&%24.to=%2Fdevices%2Fcell-5%2Fmessages%2FdeviceBound&%24.ct=text%2Fplain&%24.ce=utf-8&%24.exp=2030-01-01T00%3A00%3A00Z&iothub-ack=full&ack=full&a%2Fb=%2B%20c&p-holdfast-child=deep&holdfast-seq=1`,
      'x',
      {
        ...COMMAND,
        contentType: 'text/plain',
        contentEncoding: 'utf-8',
        properties: {
          messageId: '7',
          to: '/devices/cell-5/messages/deviceBound',
          'absolute-expiry-time': '2030-01-01T00:00:00Z',
          'iothub-ack': 'full',
          ack: 'full',
          'a/b': '+ c',
          'holdfast-child': 'deep',
        },
      },
    ],
    [
      `${TWIN}PATCH/properties/desired/?$version=12`,
      '{"a":1}',
      { kind: 'desired patch', version: 12, body: '{"a":1}' },
    ],
    [`${TWIN}res/200/?$rid=a-1`, '{}', { kind: 'twin', status: 200, requestId: 'a-1', body: '{}' }],
    [`${TWIN}res/204/?$rid=2&$version=6`, '', { kind: 'reported answer', status: 204, requestId: '2', body: '' }],
    // Some answer what was reported with 200; a twin has a body.
    [`${TWIN}res/200/?$rid=2`, '', { kind: 'reported answer', status: 200, requestId: '2', body: '' }],
    [
      `${TWIN}res/429/?$rid=2`,
      '{"errorCode":1}',
      { kind: 'reported answer', status: 429, requestId: '2', body: '{"errorCode":1}' },
    ],
  ];
  for (const [topic, body, expected] of CASES) {
    test(topic, () => assert.deepEqual(heard(topic, body), expected));
  }

  const NOTHING = [
    `${BOUND}a=%zz`,
    'devices/other/messages/devicebound/',
    'devices/cell-5/messages/events/',
    'devices/cell-5/modules/m/inputs/in/',
    `${TWIN}PATCH/properties/desired/`,
    `${TWIN}PATCH/properties/desired/?$version=`,
    `${TWIN}PATCH/properties/desired/?$version=x`,
    `${TWIN}PATCH/properties/reported/?$rid=1`,
    `${TWIN}res/200/`,
    `${TWIN}res/ok/?$rid=1`,
    `${TWIN}res//?$rid=1`,
    `${TWIN}res`,
    `${TWIN}GET/?$rid=1`,
    '$iothub/methods/POST/',
    '$iothub/methods/POST/reboot',
    '$iothub/methods/POST/reboot/',
    '$iothub/methods/POST//?$rid=1',
    '$iothub/methods/res/200/?$rid=1',
    'holdfast/v1/line-5/pump/commands',
    '',
  ];
  for (const topic of NOTHING) test(`"${topic}" is nothing`, () => assert.equal(heard(topic)['kind'], 'nothing'));

  test('a method is what the SDK takes it for, and its answer bears the same id', () => {
    for (const [name, id] of [
      ['reboot', '1'],
      ['set-level', 'a1b2'],
      ['GetModuleLogs', '8f14e45f'],
    ]) {
      const topic = `$iothub/methods/POST/${name}/?$rid=${id}`;
      const seen: SdkMethod[] = [];
      Mqtt.prototype._onDeviceMethod.call({ emit: (_, method) => seen.push(method) }, topic, Buffer.from('{}'));
      const { kind, method, requestId, child, payload } = heard(topic, '{}');
      assert.deepEqual([kind, child, payload], ['method', 'line-5', '{}']);
      assert.deepEqual([method, requestId], [seen[0]?.methods.methodName, seen[0]?.requestId]);
      const request = dialect.heard({ topic, body: Buffer.from('{}'), qos: 0, retain: false });
      assert.ok(request.kind === 'method', 'a method');
      const { topic: answer, body, qos } = dialect.methodResponse(request, 207, Buffer.alloc(0));
      // As azure-iot-device-mqtt writes it (mqtt.js, TOPIC_RESPONSE_PUBLISH_FORMAT).
      assert.deepEqual([answer, body.toString(), qos], [`$iothub/methods/res/207/?$rid=${id}`, 'null', 0]);
    }
    assert.equal(heard('$iothub/methods/POST/a%26b%3Dc/?$rid=1')['method'], 'a&b=c');
    assert.equal(heard('$iothub/methods/POST/100%/?$rid=1')['method'], '100%');
  });

  test('whatever comes is taken apart or is nothing, and never throws', () => {
    const tail = fc.string({ unit: fc.constantFrom(...Array.from('ab$?=&/%24.rid1')), maxLength: 24 });
    const head = fc.constantFrom(BOUND, `${TWIN}res/`, `${TWIN}PATCH/properties/desired/`, '$iothub/methods/POST/', '');
    fc.assert(
      fc.property(head, tail, (start, rest) => {
        assert.equal(typeof heard(start + rest, '{')['kind'], 'string');
      }),
      { seed: 11, numRuns: 3000 },
    );
  });
});

describe('who we say we are', () => {
  const HUB = 'myhub.azure-devices.net';
  const KEY = Buffer.from('a key of thirty-two bytes, really').toString('base64');
  const time = (known: boolean) => ({ known, now: () => AT });

  test('the user name is of the form that the SDK has, and the hub understands', () => {
    const { username } = deviceCredentials(HUB, 'cell-5', null, '0.1.0', time(true));
    assert.equal(username, `${HUB}/cell-5/${common.endpoint.versionQueryString()}&DeviceClientType=holdfast%2F0.1.0`);
    const name = { child: 'cell-5', module: null, dialect: 'iothub', hub: HUB };
    assert.deepEqual(clientName('cell-5', username), name);
  });

  test("a token is the SDK's own, to the character; it counts for an hour, and another is made after 45 minutes", () => {
    const { password, renewInMs } = deviceCredentials(HUB, 'cell-5', `${KEY}\n`, '0.1.0', time(true));
    const expiry = AT / 1000 + 3600;
    const theirs = common.SharedAccessSignature.create(`${HUB}%2Fdevices%2Fcell-5`, null, KEY, expiry).toString();
    assert.equal(password, theirs);
    assert.equal(common.SharedAccessSignature.parse(password, ['sr', 'sig', 'se']).se, String(expiry));
    assert.equal(isSignedBy(parseSasToken(password)!, Buffer.from(KEY, 'base64')), true);
    assert.equal(renewInMs, 45 * 60_000);
  });

  test('while the time is not known it counts for a year: it may be much later than we think', () => {
    const { password } = deviceCredentials(HUB, 'cell-5', KEY, '0.1.0', time(false));
    assert.equal(parseSasToken(password!)?.expirySecs, AT / 1000 + 366 * 86_400);
  });

  test('with a certificate there is no password, and nothing to renew', () => {
    const { password, renewInMs } = deviceCredentials(HUB, 'cell-5', null, '0.1.0', time(true));
    assert.deepEqual([password, renewInMs], [null, null]);
  });

  for (const key of ['', ' \n', 'not base64!', 'SharedAccessKey=abc'])
    test(`"${key.trim()}" is no key`, () => {
      assert.throws(() => deviceCredentials(HUB, 'cell-5', key, '0.1.0', time(true)), /not base64/);
    });
});
