import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { holdfast } from './parts/command.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const dir = scratch();
const config = join(dir, 'gateway.yaml');
writeFileSync(
  config,
  `gateway: { id: line-4, dataDir: data }
upstream: { url: mqtt://localhost }
storeAndForward: { timeToLiveSecs: 600 }
routes:
  telemetry: FROM /messages/* INTO $upstream
  hot:
    route: |
      FROM /messages
      WHERE $body.t > 30
        AND (level = 'alarm' OR $body.kind = 'x')
      INTO $upstream
    priority: 0
    timeToLiveSecs: 1d
  lamp: FROM /messages WHERE $body.t > 5 INTO BrokeredEndpoint("/children/lamp/inputs/set")
  module: FROM /messages/modules/cooldown/outputs/* INTO $upstream
children: [{ id: lamp, host: {} }]
`,
);
const only = join(dir, 'only.yaml');
writeFileSync(
  only,
  `gateway: { id: a }\nroutes:\n  hot: FROM /messages WHERE $messageId = 'm' AND level = 'alarm' INTO $upstream\n`,
);

/** Holds a message against the routes of a configuration. */
async function held(message: unknown, file = config, ...args: string[]) {
  const path = join(dir, 'message.json');
  writeFileSync(path, typeof message === 'string' ? message : JSON.stringify(message));
  const { code, stdout, stderr } = await holdfast(['routes', 'test', '--message', path, '-c', file, ...args]);
  return { code, stdout, stderr: stderr.replaceAll(path, 'FILE') };
}

interface Answer {
  readonly source: string;
  readonly child: string;
  readonly matches: boolean;
  readonly routes: readonly { readonly name: string; readonly matches: boolean; readonly reasons: readonly string[] }[];
  readonly sinks: readonly object[];
}

async function answer(message: unknown, file = config): Promise<Answer> {
  const { stdout, stderr } = await held(message, file, '--json');
  assert.equal(stderr, '');
  return JSON.parse(stdout) as Answer;
}

describe('routes test', () => {
  test('says which routes take a message, why, and where it goes', async () => {
    const { code, stdout } = await held({ child: 'press-1', body: { t: 31 }, properties: { level: 'warn' } });
    assert.equal(code, 0);
    assert.equal(
      stdout,
      `from /messages/ of press-1
yes  telemetry
     it takes all of /messages/*
no   hot
     level = 'alarm' is false: level = "warn"
     $body.kind = 'x' is undefined: $body.kind is undefined (the body has nothing there)
yes  lamp
     $body.t > 5 is true: $body.t = 31
no   module
     the message comes from /messages/, the route takes /messages/modules/cooldown/outputs/*
goes to $upstream by telemetry, priority none (lane 10), time to live 600 s
goes to /children/lamp/inputs/set by lamp
`,
    );
  });

  test('as JSON: the best route to each sink decides priority and time to live', async () => {
    const { source, child, matches, routes, sinks } = await answer({
      child: 'press-1',
      body: { t: 31 },
      properties: { Level: 'alarm' },
    });
    assert.deepEqual({ source, child, matches }, { source: '/messages/', child: 'press-1', matches: true });
    assert.deepEqual(sinks, [
      { sink: '$upstream', route: 'hot', priority: 0, lane: 0, timeToLiveSecs: 86_400 },
      { sink: '/children/lamp/inputs/set', route: 'lamp', priority: null },
    ]);
    assert.deepEqual(
      routes.map(({ name, matches: takes }) => [name, takes]),
      [
        ['telemetry', true],
        ['hot', true],
        ['lamp', true],
        ['module', false],
      ],
    );
  });

  test('ends with 1 when no route takes it', async () => {
    const { code, stdout } = await held({ body: {} }, only);
    assert.equal(code, 1);
    assert.match(stdout, /^no {3}hot$/m);
    assert.match(stdout, /\$messageId = 'm' is false: \$messageId = "[0-9A-Z]{26}"/);
    assert.match(
      stdout,
      /level = 'alarm' is undefined: level is undefined \(the message has no property of that name\)/,
    );
    assert.match(stdout, /^no route takes it: it is accepted and dropped, reason no-route$/m);
  });

  test('takes system properties, and says why there is nothing in a body', async () => {
    const systemProperties = { $messageId: 'm', contentType: 'text/plain' };
    const taken = await answer({ systemProperties, properties: { level: 'alarm' }, body: {} }, only);
    assert.equal(taken.matches, true);
    const { routes } = await answer({ systemProperties, body: { t: 31 } });
    assert.deepEqual(routes[2]?.reasons, [
      '$body.t > 5 is undefined: $body.t is undefined ($body needs contentType application/json, not text/plain)',
    ]);
  });

  test('takes a line of monitor --json, and what a module put out', async () => {
    const place = { gateway: 'line-4', epoch: 1, lane: 10, seq: 5, id: '01JD0000000000000000000000' };
    const times = { eventTime: '2026-01-01T00:00:00.000Z', receivedAt: '2026-01-01T00:00:01.000Z' };
    const line = {
      ...place,
      child: 'line-4',
      module: 'Cooldown',
      output: 'out',
      ...times,
      properties: {},
      body: { t: 1 },
    };
    const { source, sinks } = await answer(`${JSON.stringify(line)}\n`);
    assert.equal(source, '/messages/modules/Cooldown/outputs/out/');
    assert.deepEqual(sinks, [{ sink: '$upstream', route: 'telemetry', priority: null, lane: 10, timeToLiveSecs: 600 }]);
    const device = await answer({ ...line, child: 'press-1', module: null, output: null });
    assert.equal(device.source, '/messages/');
    assert.equal((await answer({ module: 'm' })).child, 'line-4');
  });

  test('what is no message is refused with 2', async () => {
    const wrong: readonly (readonly [unknown, RegExp])[] = [
      ['{', /^holdfast: FILE is no message: it is not JSON: /],
      ['{"body": 1}\n{"body": 2}\n', /\(2 lines; give it one message\)\n$/],
      ['[]', /it is no JSON object/],
      [{ childs: 'a' }, /a message has no "childs"; did you mean "child"\?/],
      [{ child: 5 }, /its child is no text/],
      [{ properties: { a: 5 } }, /its properties are no mapping of names to texts/],
      [{ systemProperties: { contentTyp: 'a' } }, /no system property "contentTyp"; did you mean "contentType"\?/],
      [{ eventTime: 'soon' }, /its eventTime is no time/],
    ];
    for (const [message, complaint] of wrong) {
      const { code, stdout, stderr } = await held(message);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, complaint);
    }
    const missing = await holdfast(['routes', 'test', '--message', join(dir, 'none.json'), '-c', config]);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /the message cannot be read: ENOENT/);
  });
});

test('a gateway routes: a child is commanded by its own readings, and what no route takes is dropped and counted', async () => {
  const count = 150;
  const yaml = `
gateway: { id: line-4, dataDir: routed }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 10 }
routes:
  cool: FROM /messages WHERE $body.machine.temperature > 24 INTO BrokeredEndpoint("/children/press-1/inputs/reset")
  alone: FROM /messages WHERE $body.machine.temperature < 22.5 INTO BrokeredEndpoint("/children/press-1/inputs/fly")
  warm: { route: FROM /messages WHERE $body.machine.temperature > 23 INTO $upstream, priority: 2 }
children: [{ id: press-1, simulated: { sendIntervalMs: 2, messageCount: ${count} } }]
`;
  const gateway = await startGateway({ dir: scratch(), yaml });
  const ask = async (...args: string[]): Promise<unknown> =>
    JSON.parse((await holdfast([...args, '--json', '-c', gateway.config])).stdout);
  const accounts = async () =>
    (
      (await ask('spool', 'stats')) as {
        ledger: { accepted: number; pending: number; dropped: Record<string, number> };
      }
    ).ledger;
  try {
    await until('the sensor to have sent all', async () => {
      const [child] = (await ask('list')) as { state: string }[];
      return child?.state === 'finished';
    });
    const { accepted, pending, dropped } = await accounts();
    // What goes to the child alone does not enter the spool: at least the first, which is 22.25 at most.
    assert.ok(
      accepted < count && pending > 0 && dropped['no-route']! > 0,
      JSON.stringify({ accepted, pending, dropped }),
    );
    assert.equal(pending + dropped['no-route']!, accepted);
    let stored: { lane: number; body: { machine: { temperature: number } } }[] = [];
    // What has been accepted is there with the next commit.
    await until('all to be on the medium', async () => {
      stored = (await ask('spool', 'peek', '-n', '500')) as typeof stored;
      return stored.length >= pending;
    });
    assert.equal(stored.length, pending);
    for (const { lane, body } of stored) {
      assert.equal(lane, 2);
      // Without the route it would have come to some 90 degrees: it climbs by half a degree a reading, at most by 1.25.
      assert.ok(body.machine.temperature > 23 && body.machine.temperature <= 25.25, `${body.machine.temperature}`);
    }
    await gateway.waitForLog(/"command":"fly","id":"\w+","status":(404|503),.*a command by a rule or a route failed/);
  } finally {
    await gateway.stop();
  }
});
