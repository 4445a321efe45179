import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { modulesText } from '../src/cli/module-text.ts';
import type { GatewayStatus } from '../src/health/status.ts';
import { asked } from './parts/asked.ts';
import { holdfast } from './parts/command.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { mountSilent } from './parts/silent-filesystem.ts';
import { until } from './parts/until.ts';

interface Peeked {
  readonly lane: number;
  readonly module: string | null;
  readonly output: string | null;
  readonly body: Record<string, unknown>;
}

let gateway: GatewayProcess | null = null;

afterEach(async () => {
  await gateway?.kill();
  gateway = null;
});

async function started(rest: string, dir = scratch()): Promise<GatewayProcess> {
  const yaml = `gateway: { id: line-4, dataDir: data }
storeAndForward: { quota: 16MiB, keepFree: 0% }
children:
  - { id: press-1, simulated: { sendIntervalMs: 20, messageCount: -1 } }
${rest}`;
  return (gateway = await startGateway({ dir, yaml }));
}

const status = () => asked<GatewayStatus>(gateway!.config, 'status');

function module(now: GatewayStatus, id: string) {
  return now.modules.find((each) => each.id === id)!;
}

async function peeked(): Promise<Peeked[]> {
  const { stdout } = await holdfast(['spool', 'peek', '-n', '1000', '--json', '-c', gateway!.config]);
  return JSON.parse(stdout) as Peeked[];
}

describe('rules in a gateway', () => {
  test('modules feed each other, each hop by a route; what goes in a circle is dropped as a loop', async () => {
    await started(`routes:
  first: FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint("/modules/warm/inputs/input")
  second: FROM /messages/modules/warm/outputs/out INTO BrokeredEndpoint("/modules/count/inputs/readings")
  counts: { route: FROM /messages/modules/count/* INTO $upstream, priority: 3 }
  circle: FROM /messages/modules/round/* INTO BrokeredEndpoint("/modules/round/inputs/input")
  into: FROM /messages/modules/count/* INTO BrokeredEndpoint("/modules/round/inputs/input")
modules:
  - id: warm
    query: SELECT machine.temperature AS celsius, machine.temperature * 1.8 + 32 AS fahrenheit INTO out FROM input
  - id: count
    query: |
      SELECT COUNT(*) AS n, AVG(celsius) AS celsius, AVG(fahrenheit) AS fahrenheit INTO out FROM readings
      GROUP BY TumblingWindow(millisecond, 500)
  - id: round
    query: SELECT * INTO out FROM input
`);
    const found = await until('three windows', async () => {
      const all = await peeked();
      return all.length >= 3 && all;
    });
    for (const { lane, module: name, output, body } of found) {
      assert.deepEqual([lane, name, output], [3, 'count', 'out']);
      assert.ok((body['n'] as number) > 0);
      assert.ok(Math.abs((body['celsius'] as number) * 1.8 + 32 - (body['fahrenheit'] as number)) < 1e-6);
    }
    const now = await status();
    assert.equal(module(now, 'warm').in, module(now, 'warm').out);
    // Each window goes round until it has made eight hops; one that time closed begins with a hop less than one that a reading closed.
    const windows = module(now, 'count').out;
    const rounds = module(now, 'round').out / windows;
    assert.ok(rounds >= 7 && rounds <= 8, `${rounds}`);
    // The account is the medium's, and a commit behind.
    const loops = now.ledger.dropped['loop']!;
    assert.ok(loops >= 2 && loops <= windows, `${loops} of ${windows}`);
    // What only modules were given is in no lane, and in no account.
    assert.equal(now.ledger.accepted, now.ledger.pending + loops);
  });

  test('a module that holds as much as it may refuses new groups, counts them and says so', async () => {
    await started(`routes:
  all: FROM /messages/* INTO BrokeredEndpoint("/modules/many/inputs/input")
modules:
  - id: many
    query: SELECT timeCreated, COUNT(*) AS n INTO out FROM input GROUP BY timeCreated, TumblingWindow(hour, 1)
    limits: { groups: 20 }
`);
    const now = await until('refused groups', async () => {
      const seen = await status();
      return module(seen, 'many').bounded > 0 && seen;
    });
    assert.equal(module(now, 'many').held.groups, 20);
    const { stdout } = await holdfast(['status', '-c', gateway!.config]);
    assert.match(stdout, /^modules +1 of 1 running, at their limits, new groups are refused: many$/m);
    assert.match((await holdfast(['list', '-c', gateway!.config])).stdout, /^many +running, at its limits /m);
  });

  test('events that come out of order or too early are counted where one looks', async () => {
    await started(`routes:
  all: FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint("/modules/back/inputs/input")
modules:
  - id: back
    query: |
      SELECT COUNT(*) AS n INTO out
      FROM input TIMESTAMP BY CASE WHEN machine.temperature > 25 THEN timeCreated ELSE DATEADD(minute, 1, timeCreated) END
      GROUP BY TumblingWindow(hour, 1)
      HAVING COUNT(*) < 0 -- nothing comes out, whatever the hour: it may end meanwhile
    onLate: drop
`);
    const now = await until('unordered events', async () => {
      const seen = await status();
      return module(seen, 'back').unordered > 0 && seen;
    });
    assert.deepEqual([module(now, 'back').late, module(now, 'back').early], [0, 0]);
    const { stdout: listed } = await holdfast(['list', '-c', gateway!.config]);
    assert.match(listed, /^MODULE +STATE +LAST OUTPUT +IN +OUT +LATE +EARLY +UNORDERED +DROPPED +REFUSED +HOLDS /m);
    assert.match(listed, /^back +running +never +\d+ +0 +0 +0 +[1-9]\d* +0 +0 /m);
    const { stdout: metrics } = await holdfast(['metrics', '-c', gateway!.config]);
    assert.match(metrics, /^holdfast_module_unordered_total\{module="back"\} [1-9]/m);
    assert.match(metrics, /^holdfast_module_early_total\{module="back"\} 0$/m);
    // Whether the machine that this runs on knows the time is not for a test to say: without, nothing is early.
    const early = [{ ...module(now, 'back'), type: 'module', early: 1 }] as const;
    assert.equal(modulesText(early), '1 of 1 running, with events from the future, which they do not take: back');
  });

  test('an output whose body names no command tells nobody, and that is said', async () => {
    await started(`routes:
  all: FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint("/modules/mute/inputs/input")
modules:
  - id: mute
    query: SELECT machine.temperature AS t INTO out FROM input
    outputs: { out: [ { command: press-1 } ] }
`);
    await until('wordless outputs', async () => module(await status(), 'mute').wordless > 0);
    const { stdout } = await holdfast(['status', '-c', gateway!.config]);
    assert.match(stdout, /^modules .*whose outputs name no command: mute$/m);
  });

  test('a table in a file is joined; a broken one is named and its last rows stay', async () => {
    const dir = scratch();
    writeFileSync(join(dir, 'rooms.csv'), 'kind,room\nwarm,hall\n');
    await started(
      `routes:
  all: FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint("/modules/place/inputs/input")
  up: FROM /messages/modules/place/* INTO $upstream
modules:
  - id: place
    query: |
      WITH kinds AS (SELECT CASE WHEN machine.temperature > 0 THEN 'warm' ELSE 'cold' END AS kind FROM input)
      SELECT rooms.room INTO out FROM kinds JOIN rooms ON kinds.kind = rooms.kind
    reference: { rooms: rooms.csv }
`,
      dir,
    );
    await until('a joined row', async () => (await peeked()).some(({ body }) => body['room'] === 'hall'));
    writeFileSync(join(dir, 'next.csv'), 'kind,room\nwarm,"hall\n');
    renameSync(join(dir, 'next.csv'), join(dir, 'rooms.csv'));
    const said = await gateway!.waitForLog(/a table cannot be read, its last rows stay: .*rooms\.csv:\d+: /);
    assert.match(said, /"module":"place","table":"rooms"/);
    assert.match((await holdfast(['status', '-c', gateway!.config])).stdout, /with tables that cannot be read: place/);
    const { out } = module(await status(), 'place');
    await until('more joined rows', async () => module(await status(), 'place').out > out);
  });
});

test('what is wrong with a query or with the names around it stands at its place in the file', async () => {
  const dir = scratch();
  const config = join(dir, 'gateway.yaml');
  writeFileSync(
    config,
    `gateway: { id: line-4 }
routes:
  hot: FROM /messages/* INTO BrokeredEndpoint("/modules/cooldown/inputs/imput")
children:
  - { id: press-1, simulated: {} }
modules:
  - id: cooldown
    query: |
      SELECT 'reset' AS command
      INTO output FROM input
      WHERE machine.temperature > 30
    outputs:
      outptu: [ { command: press-2 } ]
  - id: broken
    query: |
      SELECT Maxi(timeCreated) AS t
      INTO output FROM input
`,
  );
  const { code, stdout, stderr } = await holdfast(['config', 'check', '-c', config]);
  assert.equal(code, 1);
  const said = (stdout + stderr).replaceAll(`${dir}/`, '');
  assert.match(
    said,
    /gateway\.yaml:3:8: routes\.hot: module "cooldown": there is no input "imput"; did you mean "input"\?/,
  );
  assert.match(
    said,
    /gateway\.yaml:13:7: modules\[0\]\.outputs\.outptu: there is no output "outptu"; did you mean "output"\?/,
  );
  assert.match(said, /gateway\.yaml:13:28: .*there is no child "press-2"; did you mean "press-1"\?/);
  assert.match(said, /gateway\.yaml:16:14: modules\[1\]\.query: .*maxi.*; did you mean MAX\?/i);
});

test('tables on a filesystem that does not answer keep the gateway neither from starting, nor from storing, nor from reading another, nor from stopping', async (t) => {
  const silent = mountSilent();
  if (typeof silent === 'string') return t.skip(`SKIP: ${silent}`);
  try {
    const dir = scratch();
    writeFileSync(join(dir, 'here.jsonl'), '{"id":1}\n');
    // More than there are threads that wait for files, LMDB's commits among them.
    const others = Array.from(
      { length: 9 },
      (_, n) =>
        `  - { id: m${n}, query: "SELECT i.n FROM i JOIN r ON i.n = r.id", reference: { r: ${silent.dir}/${n}.jsonl } }`,
    );
    await started(
      `modules:
  - { id: named, query: "SELECT i.n, r.name FROM i JOIN r ON i.n = r.id", reference: { r: ${silent.dir}/sites.jsonl } }
${others.join('\n')}
  - { id: well, query: "SELECT i.n FROM i JOIN r ON i.n = r.id", reference: { r: here.jsonl } }
`,
      dir,
    );
    const { accepted } = (await status()).ledger;
    await until('more to be stored', async () => (await status()).ledger.accepted > accepted + 10);
    await gateway!.waitForLog(/a table cannot be read, its last rows stay: .*sites.jsonl: no answer within/);
    assert.match(module(await status(), 'named').tables[0]!, /no answer within/);
    assert.deepEqual(module(await status(), 'well').tables, []);
    gateway!.process.kill('SIGTERM');
    await gateway!.waitForLog(/"msg":"stopped"/);
    assert.ok(!gateway!.messages().some((msg) => msg.includes('not stopped within')));
  } finally {
    // The kernel's thread that waits for it keeps the process until then.
    silent.end();
  }
  assert.equal(await gateway!.whenEnded(), 0);
});
