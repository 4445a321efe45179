import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ToChild } from '../src/dialects/child-dialect.ts';
import { readBag, writeBag } from '../src/dialects/iothub-bag.ts';
import { iothubChild } from '../src/dialects/iothub.ts';
import { heard, shown, speaker } from './parts/child-speaker.ts';
import { fc } from './parts/properties.ts';

const dialect = iothubChild('line-4');
const device = speaker('d');
const module = speaker('d', 'm');
const EVENTS = 'devices/d/messages/events/';
const OF_MODULE = 'devices/d/modules/m/messages/events/';

function said(topic: string, payload = '', who = device): Record<string, unknown> {
  return shown(dialect.said(who, heard(topic, payload)));
}

describe('what an SDK device publishes', () => {
  test('telemetry without a bag, with and without the slash', () => {
    const plain = { kind: 'event', module: null, output: null, body: 'x', properties: {} };
    assert.deepEqual(said(EVENTS, 'x'), plain);
    assert.deepEqual(said(EVENTS.slice(0, -1), 'x'), plain);
  });

  test('system properties take their places, or become properties by the names that routes know', () => {
    const bag =
      '%24.mid=7&%24.cid=c&%24.uid=u&%24.to=t&%24.exp=2030-01-01T00%3A00%3A00Z&%24.ct=application%2Fjson&%24.ce=utf-8' +
      '&%24.schema=s&%24.ctime=2026-11-26T02%3A00%3A00.5Z&%24.ifid=i&%24.sub=part&ack=full&iothub-operation=o' +
      '&a%2Fb=%2B%20c&plus=1+1';
    assert.deepEqual(said(EVENTS + bag, '{}'), {
      kind: 'event',
      module: null,
      output: null,
      body: '{}',
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      eventTime: Date.UTC(2026, 10, 26, 2, 0, 0, 500),
      properties: {
        messageId: '7',
        correlationId: 'c',
        userId: 'u',
        to: 't',
        'absolute-expiry-time': '2030-01-01T00:00:00Z',
        messageSchema: 's',
        creationTime: '2026-11-26T02:00:00.5Z',
        'iothub-interface-id': 'i',
        'dt-subject': 'part',
        ack: 'full',
        'iothub-operation': 'o',
        'a/b': '+ c',
        plus: '1+1',
      },
    });
  });

  test("a module's output, with the slash that the SDK puts after it; who sent it is not for the child to say", () => {
    const from = `${OF_MODULE}%24.on=hot&%24.cdid=another&%24.cmid=x&k=v/`;
    assert.deepEqual(said(from, '1', module), {
      kind: 'event',
      module: 'm',
      output: 'hot',
      body: '1',
      properties: { k: 'v' },
    });
  });

  test('retain becomes a property', () => {
    const { properties } = shown(dialect.said(device, heard(`${EVENTS}k=v`, '', { retain: true })));
    assert.deepEqual(properties, { k: 'v', 'mqtt-retain': 'true' });
  });

  test('what it asks about its twin, and what it answers', () => {
    assert.deepEqual(said('$iothub/twin/GET/?$rid=a-1', ' '), { kind: 'twin get', rid: 'a-1' });
    const patch = said('$iothub/twin/PATCH/properties/reported/?$rid=2&x=y', '{"a":1}');
    assert.deepEqual(patch, { kind: 'twin patch', rid: '2', body: '{"a":1}' });
    const answer = { kind: 'method answer', rid: 'x/1', status: 200, body: '{"ok":true}' };
    assert.deepEqual(said('$iothub/methods/res/200/?$rid=x%2F1', '{"ok":true}'), answer);
    assert.equal(said('$iothub/methods/res/-1/?$rid=1')['status'], -1);
  });

  test('an answer that is not JSON is one of status 502, so that nobody takes it for more', () => {
    const answer = said('$iothub/methods/res/200/?$rid=1', 'ok');
    assert.deepEqual([answer['kind'], answer['status']], ['method answer', 502]);
  });

  const REFUSED = [
    'devices/other/messages/events/',
    'devices/d/messages/eventsx',
    'devices/d/messages/devicebound/',
    'devices/d/modules/m/messages/events/',
    'devices/d/messages/events/a=1/b=2',
    'devices/d/messages/events/a=%zz',
    'devices/d/messages/events/a=%ff',
    'devices/d/messages/events/%24.on=a%2Fb',
    'devices/d/messages/events/%24.on=%3Fx',
    'devices/d//messages/events/',
    '/devices/d/messages/events/',
    'Devices/d/messages/events/',
    '$iothub/twin/GET/',
    '$iothub/twin/GET/?$rid=',
    '$iothub/twin/GET/?rid=1',
    `$iothub/twin/GET/?$rid=${'r'.repeat(300)}`,
    '$iothub/twin/PATCH/properties/desired/?$rid=1',
    '$iothub/twin/res/200/?$rid=1',
    '$iothub/methods/res/?$rid=1',
    '$iothub/methods/res/ok/?$rid=1',
    '$iothub/methods/res/200',
    '$iothub/methods/POST/reboot/?$rid=1',
    '$SYS/x',
    'holdfast/v1/line-4/d/events',
    '',
  ];
  for (const topic of REFUSED) test(`"${topic}" is refused`, () => assert.equal(said(topic)['kind'], 'nothing'));

  test("a device's topic is not its module's", () => {
    assert.equal(said(EVENTS, '', module)['kind'], 'nothing');
    assert.equal(said('devices/d/modules/n/messages/events/', '', module)['kind'], 'nothing');
  });
});

describe('what an SDK device subscribes to', () => {
  const CASES: readonly (readonly [filter: string, device: number | null, module: number | null])[] = [
    ['devices/d/messages/devicebound/#', 1, null],
    ['devices/d/modules/m/inputs/#', null, 1],
    ['devices/d/modules/m/#', null, 1],
    ['$iothub/methods/POST/#', 1, 1],
    ['$iothub/twin/res/#', 1, 1],
    ['$iothub/twin/PATCH/properties/desired/#', 1, 1],
    ['devices/d/#', null, null],
    ['devices/+/messages/devicebound/#', null, null],
    ['devices/e/messages/devicebound/#', null, null],
    ['$iothub/#', null, null],
    ['#', null, null],
    ['+/+/#', null, null],
    ['holdfast/v1/line-4/#', null, null],
    ['$iothub/methods/POST/#/x', null, null],
    ['', null, null],
  ];
  for (const [filter, ofDevice, ofModule] of CASES) {
    test(`"${filter}"`, () => {
      assert.equal(dialect.subscribes(device, filter, 1), ofDevice);
      assert.equal(dialect.subscribes(module, filter, 2), ofModule);
      assert.equal(dialect.subscribes(device, filter, 0), ofDevice === null ? null : 0);
    });
  }
});

describe('what an SDK device receives', () => {
  const message: ToChild = {
    body: Buffer.from('b'),
    contentType: 'text/plain',
    messageId: 'ours',
    properties: { 'absolute-expiry-time': '2030-01-01T00:00:00Z', ack: 'full', 'a/b': 'c=d&e' },
  };

  test('a cloud-to-device message', () => {
    const { topic, qos } = dialect.commandMessage(device, message, false);
    assert.equal(
      topic,
      'devices/d/messages/devicebound/%24.exp=2030-01-01T00%3A00%3A00Z&%24.mid=ours&%24.ct=text%2Fplain&ack=full&a%2Fb=c%3Dd%26e',
    );
    assert.equal(qos, 1);
    assert.equal(
      dialect.commandMessage(device, { body: message.body }, false).topic,
      'devices/d/messages/devicebound/',
    );
  });

  test('a message for an input, with who sent it; no property passes itself off as that', () => {
    const from = { child: 'press-1', module: 'x' };
    const properties = { '$.cdid': 'forged', '$.ct': 'forged', messageId: '5' };
    const { topic } = dialect.inputMessage(
      module,
      'in',
      { body: message.body, messageId: 'ours', properties, from },
      false,
    );
    assert.equal(topic, 'devices/d/modules/m/inputs/in/%24.mid=5&%24.cdid=press-1&%24.cmid=x');
  });

  test('a method, a twin answer, desired properties', () => {
    const { topic, payload } = dialect.methodRequest(device, 'reboot', '9', Buffer.alloc(0));
    assert.deepEqual([topic, payload.toString()], ['$iothub/methods/POST/reboot/?$rid=9', 'null']);
    const answer = (version: number | null) => dialect.twinAnswer(device, 204, 'r', version, Buffer.alloc(0))?.topic;
    assert.equal(answer(7), '$iothub/twin/res/204/?$rid=r&$version=7');
    assert.equal(answer(null), '$iothub/twin/res/204/?$rid=r');
    assert.equal(
      dialect.desiredPatch(device, 3, Buffer.from('{}')).topic,
      '$iothub/twin/PATCH/properties/desired/?$version=3',
    );
  });
});

const word = () => fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
const name = () =>
  fc.oneof(
    word(),
    fc.constantFrom('messageId', '$.mid', 'to', '$.to', '__proto__', 'constructor', 'dt-subject', '$.x'),
  );
const SEEDS = [5, 20_261_126];

describe('a bag', () => {
  for (const seed of SEEDS) {
    test(`comes back as it was, whatever its properties are called (seed ${seed})`, () => {
      const bags = fc.record({
        contentType: fc.option(word(), { nil: undefined }),
        properties: fc.dictionary(name(), fc.string({ unit: 'grapheme', maxLength: 12 }), { noNullPrototype: false }),
      });
      fc.assert(
        fc.property(bags, ({ contentType, properties }) => {
          const once = readBag(writeBag({ ...(contentType === undefined ? {} : { contentType }), properties }));
          assert.ok(once);
          assert.equal(once.contentType, contentType);
          // What an application calls messageId is Azure's message id from then on, and comes back by the same name.
          assert.deepEqual({ ...once.properties }, { ...expected(properties) });
          const twice = readBag(writeBag(once));
          assert.deepEqual(twice, once);
        }),
        { seed, numRuns: 500 },
      );
    });

    test(`that is anything at all is read or refused, and what was read comes back (seed ${seed})`, () => {
      fc.assert(
        fc.property(fc.string({ unit: fc.constantFrom(...Array.from('ab$.%=&/24mid0ctF')), maxLength: 40 }), (text) => {
          const read = readBag(text);
          if (read === null) return;
          const { output: _, eventTime: __, ...content } = read;
          assert.deepEqual(readBag(writeBag(content))?.properties, content.properties);
        }),
        { seed, numRuns: 2000 },
      );
    });
  }
});

/** A system property alone has its own name; beside an application's of that name, the one by which it travels. */
function expected(properties: Readonly<Record<string, string>>): Record<string, string> {
  const out = new Map(Object.entries(properties));
  for (const [system, property] of [
    ['$.mid', 'messageId'],
    ['$.to', 'to'],
  ] as const) {
    const value = out.get(system);
    if (value === undefined || out.has(property)) continue;
    out.delete(system);
    out.set(property, value);
  }
  const plain: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [key, value] of out) plain[key] = value;
  return plain;
}
