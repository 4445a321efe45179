import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { holdfastUpstream } from '../src/dialects/holdfast-upstream.ts';
import type { DownPublication, FromAbove } from '../src/dialects/upstream-dialect.ts';

const dialect = holdfastUpstream('line-4');
const ROOT = 'holdfast/v1/line-4';

function heard(topic: string, body = '', more: Partial<DownPublication> = {}): FromAbove {
  return dialect.heard({ topic, body: Buffer.from(body), qos: 1, retain: false, ...more });
}

/** What is understood, with texts in place of bytes. */
function shown(from: FromAbove): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(from).map(([name, value]) => [name, Buffer.isBuffer(value) ? value.toString() : (value as unknown)]),
  );
}

describe('what comes from above is understood', () => {
  const CASES: readonly (readonly [topic: string, body: string, meaning: Record<string, unknown>])[] = [
    [`${ROOT}/children`, 'e30', { kind: 'registry', body: 'e30' }],
    [`${ROOT}/pump/twin/desired`, '{}', { kind: 'desired', child: 'pump', module: null, body: '{}' }],
    [
      `${ROOT}/line-4/modules/$edgeHub/twin/desired`,
      '{}',
      { kind: 'desired', child: 'line-4', module: '$edgeHub', body: '{}' },
    ],
    [
      `${ROOT}/pump/methods/open/req/7`,
      '{"payload":{"a":1},"responseTimeoutSecs":5,"sentAt":"2026-01-01T00:00:00Z"}',
      {
        kind: 'method',
        child: 'pump',
        module: null,
        method: 'open',
        requestId: '7',
        payload: '{"a":1}',
        responseTimeoutSecs: 5,
        sentAt: Date.UTC(2026, 0, 1),
      },
    ],
    [
      `${ROOT}/pump/modules/m/methods/open/req/7`,
      '',
      {
        kind: 'method',
        child: 'pump',
        module: 'm',
        method: 'open',
        requestId: '7',
        payload: '',
        responseTimeoutSecs: null,
        sentAt: null,
      },
    ],
    [
      `${ROOT}/pump/commands`,
      'open',
      { kind: 'command', child: 'pump', module: null, body: 'open', properties: { __proto__: null } },
    ],
    [
      `${ROOT}/pump/commands/?content-type=text%2Fplain&p-a=b%20c&ack=full`,
      'open',
      {
        kind: 'command',
        child: 'pump',
        module: null,
        body: 'open',
        properties: { a: 'b c', ack: 'full' },
        contentType: 'text/plain',
      },
    ],
  ];
  for (const [topic, body, meaning] of CASES) {
    test(topic, () => {
      const { properties, ...others } = shown(heard(topic, body));
      const { properties: expected, ...rest } = meaning;
      assert.deepEqual(others, rest);
      assert.deepEqual({ ...(properties as object) }, { ...(expected as object) });
    });
  }

  test('properties of MQTT 5 and the expiry of a message', () => {
    const from = heard(`${ROOT}/pump/commands`, 'open', {
      contentType: 'text/plain',
      userProperties: { 'p-a': 'b', messageId: ['1', '2'] },
      messageExpirySecs: 60,
    });
    assert.ok(from.kind === 'command', from.kind);
    assert.deepEqual(
      [{ ...from.properties }, from.contentType, from.lifeSecs],
      [{ a: 'b', messageId: '2' }, 'text/plain', 60],
    );
  });

  test('a request that is not JSON has its fault for an answer', () => {
    const from = heard(`${ROOT}/pump/methods/open/req/7`, '{');
    assert.ok(from.kind === 'method', from.kind);
    assert.match(from.fault ?? '', /not JSON/);
  });

  test("what is another gateway's is for one below us", () => {
    const from = heard('holdfast/v1/line-5/children', 'x');
    assert.ok(from.kind === 'below', from.kind);
    assert.equal(from.gateway, 'line-5');
  });

  const NOTHING = [
    'holdfast/v2/line-4/children',
    `${ROOT}`,
    `${ROOT}/pump`,
    `${ROOT}/pump/twin/reported`,
    `${ROOT}/pump/twin/desired/more`,
    `${ROOT}/pump/commands/more`,
    `${ROOT}/pump/commands/?a=%zz`,
    `${ROOT}/pump/methods/open/res/7`,
    `${ROOT}/pump/methods/open/req/`,
    `${ROOT}/a b/twin/desired`,
    `${ROOT}/pump/modules/a b/twin/desired`,
    'elsewhere/v1/line-4/children',
  ];
  for (const topic of NOTHING) test(`${topic} is nothing`, () => assert.equal(heard(topic, '{}').kind, 'nothing'));
});

test('an answer to a name that was not percent-encoded goes back under that name', () => {
  const request = heard(`${ROOT}/pump/methods/we ird.ü/req/24`, '{}');
  assert.ok(request.kind === 'method', request.kind);
  assert.equal(request.method, 'we ird.ü');
  assert.equal(dialect.methodResponse(request, 200, Buffer.alloc(0)).topic, `${ROOT}/pump/methods/we ird.ü/res/24`);
});

test('an answer goes back to where the request came from, and is JSON without a payload, too', () => {
  const request = heard(`${ROOT}/pump/modules/m/methods/set%20point/req/7`, '{}');
  assert.ok(request.kind === 'method', request.kind);
  assert.equal(request.method, 'set point');
  const answer = dialect.methodResponse(request, 200, Buffer.alloc(0));
  assert.deepEqual(
    [answer.topic, answer.body.toString(), answer.qos],
    [`${ROOT}/pump/modules/m/methods/set%20point/res/7`, '{"status":200,"payload":null}', 0],
  );
});
