import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ToChild } from '../src/dialects/child-dialect.ts';
import { holdfastChild } from '../src/dialects/holdfast-child.ts';
import { parseEvent } from '../src/dialects/holdfast.ts';
import { covers } from '../src/dialects/topic-filter.ts';
import { heard, shown, speaker } from './parts/child-speaker.ts';
import { fc } from './parts/properties.ts';

const dialect = holdfastChild('line-4');
const ROOT = 'holdfast/v1/line-4';
const panel = speaker('panel', null, { invoke: ['press-1', 'cam/lens'], send: ['press-1'] });
const alone = speaker('alone');
const module = speaker('panel', 'm');

function said(path: string, payload = '', who = panel): Record<string, unknown> {
  return shown(dialect.said(who, heard(`${ROOT}/${path}`, payload)));
}

describe('what a plain MQTT child publishes', () => {
  test('an event, with an output or none, of a module or none', () => {
    const plain = { kind: 'event', module: null, output: null, body: '1', properties: {} };
    assert.deepEqual(said('panel/events', '1'), plain);
    assert.deepEqual(said('panel/events/hot', '1'), { ...plain, output: 'hot' });
    assert.deepEqual(said('panel/modules/m/events', '1', module), { ...plain, module: 'm' });
  });

  const BESIDES = {
    kind: 'event',
    module: null,
    output: null,
    body: '1',
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    eventTime: Date.UTC(2026, 10, 26),
    properties: { unit: '°C', place: 'a+b/c' },
  };

  test('what stands beside it: in a bag with MQTT 3.1.1', () => {
    const bag =
      '?content-type=application%2Fjson&content-encoding=utf-8&t=2026-11-26T00%3A00%3A00Z&p-unit=%C2%B0C&place=a+b%2Fc';
    assert.deepEqual(said(`panel/events/${bag}`, '1'), BESIDES);
  });

  test('and as properties with MQTT 5', () => {
    const userProperties = {
      'content-encoding': 'utf-8',
      t: '2026-11-26T00:00:00Z',
      'p-unit': '°C',
      place: ['x', 'a+b/c'],
    };
    const properties = { contentType: 'application/json', userProperties };
    assert.deepEqual(shown(dialect.said(panel, heard(`${ROOT}/panel/events`, '1', { properties }))), BESIDES);
  });

  test('a time that is none stays what it says', () => {
    for (const t of ['yesterday', '12', '2026-13-01T00:00:00Z', '']) {
      const { eventTime, properties } = said(`panel/events/?t=${encodeURIComponent(t)}`, '1');
      assert.deepEqual([eventTime, properties], [undefined, { t }]);
    }
  });

  test('reported properties, and the answer to a method', () => {
    assert.deepEqual(said('panel/twin/reported', '{}'), { kind: 'twin patch', rid: '', body: '{}' });
    const answer = { kind: 'method answer', rid: '8', status: 200, body: '[1]' };
    assert.deepEqual(said('panel/methods/go/res/8', '{"status":200,"payload":[1]}'), answer);
    assert.deepEqual(said('panel/methods/go/res/8', '{"status":200}'), { ...answer, body: '' });
  });

  test('an answer that is none is one of status 502, so that nobody waits for it', () => {
    for (const payload of ['', 'ok', '{"payload":1}', '{"status":"200"}', '[]', 'null'])
      assert.equal(said('panel/methods/go/res/8', payload)['status'], 502, payload);
  });

  test('methods of others, and messages to others, by grant', () => {
    const invoke = { kind: 'invoke', module: null, method: 'go', rid: '1' };
    assert.deepEqual(said('press-1/methods/go/req/1', '{"payload":{"a":1},"responseTimeoutSecs":9}'), {
      ...invoke,
      child: 'press-1',
      body: '{"a":1}',
      responseTimeoutSecs: 9,
    });
    const ofModule = { ...invoke, child: 'cam', module: 'lens', body: '', responseTimeoutSecs: null };
    assert.deepEqual(said('cam/modules/lens/methods/go/req/1'), ofModule);
    assert.equal(said('cam/methods/go/req/1')['kind'], 'nothing');
    assert.equal(said('press-1/modules/any/methods/go/req/1')['kind'], 'invoke');
    // A device and its modules are one.
    assert.equal(said('panel/modules/m/methods/go/req/1', '', alone)['kind'], 'nothing');
    assert.equal(said('panel/methods/go/req/1', '', module)['kind'], 'invoke');
    const send = { kind: 'send', child: 'press-1', body: 'x', properties: { k: 'v' } };
    assert.deepEqual(said('press-1/commands/?p-k=v', 'x'), send);
  });

  const REFUSED = [
    'alone/events',
    'panel',
    'panel/events/a/b',
    'panel/events/a%2Fb',
    'panel/events/',
    'panel/events/?p-a=%zz',
    'panel/twin/desired',
    'panel/twin/reported/x',
    'panel/commands',
    'panel/methods/go/req/1',
    'panel/methods/go/res/',
    'panel/methods/go/res/1/2',
    'panel/modules/m/events',
    'press-1/events',
    'press-1/twin/reported',
    'press-1/modules/m/commands',
    'press-1/methods/go/res/1',
    'press-1/methods//req/1',
    'press-1/methods/go/req/',
    'press-2/methods/go/req/1',
    'press-2/commands',
    'status',
    'losses',
    '',
  ];
  for (const path of REFUSED) test(`"${path}" is refused`, () => assert.equal(said(path)['kind'], 'nothing'));

  test('topics of other gateways, and of none', () => {
    for (const topic of [
      'holdfast/v1/line-5/panel/events',
      'holdfast/v1/line-4',
      'holdfast/v2/line-4/panel/events',
      '',
      '/',
    ])
      assert.equal(dialect.said(panel, heard(topic)).kind, 'nothing', topic);
  });
});

describe('what a plain MQTT child subscribes to', () => {
  const watcher = speaker('watcher', null, { observe: ['press-1/events/#'] });
  const dashboard = speaker('dashboard', null, { observe: ['#'] });
  const CASES: readonly (readonly [filter: string, panel: boolean, alone: boolean, watcher: boolean])[] = [
    [`${ROOT}/panel/#`, true, false, false],
    [`${ROOT}/panel/commands/#`, true, false, false],
    [`${ROOT}/panel/methods/+/req/+`, true, false, false],
    [`${ROOT}/alone/twin/desired`, false, true, false],
    [`${ROOT}/press-1/methods/+/res/+`, true, false, false],
    [`${ROOT}/+/methods/+/res/+`, true, false, false],
    [`${ROOT}/alone/modules/+/methods/go/res/+`, true, true, false],
    [`${ROOT}/press-1/methods/+/req/+`, false, false, false],
    [`${ROOT}/press-1/events/#`, false, false, true],
    [`${ROOT}/press-1/events/hot`, false, false, true],
    [`${ROOT}/+/events/#`, false, false, false],
    [`${ROOT}/#`, false, false, false],
    ['#', false, false, false],
    [`${ROOT}/panel/#/x`, false, false, false],
    [`${ROOT}/panel/a+`, false, false, false],
    ['$SYS/#', false, false, false],
  ];
  for (const [filter, ...expected] of CASES) {
    test(`"${filter}"`, () => {
      const granted = [panel, alone, watcher].map((who) => dialect.subscribes(who, filter, 2) === 1);
      assert.deepEqual(granted, expected);
    });
  }

  test('a dashboard may watch all events', () => {
    for (const filter of ['#', `${ROOT}/#`, `${ROOT}/+/events/#`])
      assert.equal(dialect.subscribes(dashboard, filter, 0), 0);
    assert.equal(dialect.subscribes(dashboard, '$SYS/#', 0), null);
  });

  test('its desired document comes with whatever takes it', () => {
    assert.equal(dialect.startsWithDesired(panel, `${ROOT}/panel/twin/desired`), true);
    assert.equal(dialect.startsWithDesired(panel, `${ROOT}/panel/#`), true);
    assert.equal(dialect.startsWithDesired(panel, `${ROOT}/panel/commands/#`), false);
  });
});

describe('what a plain MQTT child receives', () => {
  const message: ToChild = {
    body: Buffer.from('b'),
    contentType: 'text/plain',
    messageId: 'ours',
    properties: { k: 'v w' },
    from: { child: 'press-1', module: 'x' },
  };

  test('a message for an input: properties as MQTT 5 has them, a bag and the topic without it for 3.1.1', () => {
    assert.deepEqual(dialect.inputMessage(panel, 'in', message, false), {
      topic: `${ROOT}/panel/inputs/in/?content-type=text%2Fplain&id=ours&from=press-1%2Fx&p-k=v%20w`,
      bareTopic: `${ROOT}/panel/inputs/in`,
      payload: message.body,
      qos: 1,
    });
    const { topic, properties } = dialect.commandMessage(panel, message, true);
    assert.equal(topic, `${ROOT}/panel/commands`);
    assert.deepEqual(
      [properties?.contentType, { ...properties?.userProperties }],
      ['text/plain', { id: 'ours', from: 'press-1/x', 'p-k': 'v w' }],
    );
    assert.equal(dialect.commandMessage(panel, { body: message.body }, false).topic, `${ROOT}/panel/commands`);
    assert.deepEqual(dialect.commandMessage(panel, { body: message.body }, true).properties, {});
  });

  test('a method, and the answer to one that it invoked', () => {
    const asked = dialect.methodRequest(panel, 'go', '1', Buffer.from('[2]'), 30);
    assert.equal(asked.topic, `${ROOT}/panel/methods/go/req/1`);
    assert.equal(asked.payload.toString(), '{"payload":[2],"responseTimeoutSecs":30}');
    assert.equal(dialect.methodRequest(panel, 'go', '1', Buffer.alloc(0)).payload.toString(), '{"payload":null}');
    const again = dialect.methodRequest(panel, 'go', '1', Buffer.from('2'), 30, 'hot/"x"/0').payload.toString();
    assert.deepEqual(JSON.parse(again), { payload: 2, responseTimeoutSecs: 30, id: 'hot/"x"/0' });
    const invoked = dialect.said(panel, heard(`${ROOT}/cam/modules/lens/methods/go/req/r1`));
    assert.ok(invoked.kind === 'invoke');
    const answer = dialect.invokeAnswer(panel, invoked, 404, Buffer.from('{"error":"x"}'));
    assert.equal(answer?.topic, `${ROOT}/cam/modules/lens/methods/go/res/r1`);
    assert.equal(answer?.payload.toString(), '{"status":404,"payload":{"error":"x"}}');
    assert.equal(dialect.subscribes(panel, answer.topic, 0), 0);
  });

  test('a twin answer only when something is wrong', () => {
    assert.equal(dialect.twinAnswer(panel, 204, '', 4, Buffer.alloc(0)), null);
    assert.equal(dialect.twinAnswer(panel, 400, '', null, Buffer.from('{}'))?.topic, `${ROOT}/panel/twin/error`);
  });
});

describe('a filter that is covered', () => {
  const level = fc.constantFrom('a', 'b', '', '$x', '+');
  const filters = fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 4 }), fc.boolean())
    .map(([levels, hash]) => [...levels, ...(hash ? ['#'] : [])].join('/'));
  const topics = fc.array(fc.constantFrom('a', 'b', '', '$x', 'c'), { minLength: 1, maxLength: 5 });

  for (const seed of [3, 20_261_126]) {
    test(`takes no topic that the wider one does not (seed ${seed})`, () => {
      fc.assert(
        fc.property(filters, filters, topics, (wide, filter, topic) => {
          if (covers(wide, filter) && takes(filter, topic))
            assert.ok(takes(wide, topic), `${wide} ${filter} ${topic.join('/')}`);
        }),
        { seed, numRuns: 20_000 },
      );
    });

    test(`is found to be when it is (seed ${seed})`, () => {
      fc.assert(
        fc.property(filters, topics, (wide, topic) => {
          assert.equal(covers(wide, topic.join('/')), takes(wide, topic));
        }),
        { seed, numRuns: 20_000 },
      );
    });
  }

  /** MQTT 3.1.1, section 4.7, told level by level. */
  function takes(filter: string, topic: readonly string[]): boolean {
    const pattern = filter.split('/');
    if (topic[0]!.startsWith('$') && (pattern[0] === '#' || pattern[0] === '+')) return false;
    const match = (at: number): boolean => {
      if (pattern[at] === '#') return true;
      if (at === pattern.length || at === topic.length) return pattern.length === topic.length;
      return (pattern[at] === '+' || pattern[at] === topic[at]) && match(at + 1);
    };
    return match(0);
  }
});

test('an event that a child bags as the gateway does is read the same at both ends', () => {
  const topic = `${ROOT}/panel/events/hot/?content-type=text%2Fplain&t=2026-11-26T00%3A00%3A00.000Z&p-k=v`;
  const upstream = parseEvent(topic, undefined, undefined);
  const { output, contentType, properties } = shown(dialect.said(panel, heard(topic)));
  assert.deepEqual(
    { output, contentType, properties },
    { output: upstream?.output, contentType: upstream?.contentType, properties: upstream?.properties },
  );
});
