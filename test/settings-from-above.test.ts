import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { pino } from 'pino';
import { Settings, type SettingsReport } from '../src/above/settings.ts';
import { loadConfig, type LoadedConfig } from '../src/config/load.ts';
import { settingsFromAbove } from '../src/config/settings-from-above.ts';
import { Gateway, type Platform } from '../src/gateway.ts';
import { LogLevel } from '../src/health/log-level.ts';
import { LogRing } from '../src/health/log-ring.ts';
import { State } from '../src/store/state.ts';
import type { JsonObject } from '../src/twins/patch.ts';
import { holdfast } from './parts/command.ts';
import { fc } from './parts/properties.ts';
import { scratch } from './parts/scratch.ts';
import { noise, systemClock } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;
const UP = 'FROM /messages/* INTO $upstream';
const TO_COOLDOWN = 'FROM /messages/* INTO BrokeredEndpoint("/modules/cooldown/inputs/input")';
const YAML = `
gateway: { id: line-4, dataDir: data }
upstream: { url: "mqtt://127.0.0.1:9", maxRate: { messagesPerSec: 5 } }
storeAndForward: { quota: 16MiB, keepFree: 0%, whenFull: drop-oldest, commitEveryMs: 20 }
routes: { telemetry: "${UP}" }
children: [{ id: press-1, simulated: { sendIntervalMs: 20, messageCount: -1 } }]
modules: [{ id: cooldown, query: SELECT * INTO output FROM input }]
`;

function written(yaml = YAML, dir = scratch()): LoadedConfig {
  const file = join(dir, 'gateway.yaml');
  writeFileSync(file, yaml);
  return loadConfig(file);
}

const base = written();

/** What they come to, or what is wrong. */
function laid(desired: JsonObject, edgeHub: JsonObject | null = null) {
  const found = settingsFromAbove(base, desired, edgeHub);
  assert.ok('loaded' in found, 'problems' in found ? found.problems.join('\n') : '');
  return found;
}

function problems(desired: JsonObject, edgeHub: JsonObject | null = null): readonly string[] {
  const found = settingsFromAbove(base, desired, edgeHub);
  return 'problems' in found ? found.problems : [];
}

describe('settings from above', () => {
  test('lie over the file key by key, routes whole; what is not said is the file’s', () => {
    const { loaded, applied, logLevel, warnings } = laid({
      storeAndForward: { quota: '32MiB', timeToLiveSecs: '2h', wearBudget: '1GiB/day', whenFull: null },
      routes: { hot: { route: UP, priority: 1 }, rule: TO_COOLDOWN },
      upstream: { maxRate: { bytesPerSec: '64KiB' } },
      logLevel: 'debug',
      site: { name: 'none of ours' },
    });
    const { config } = loaded;
    assert.deepEqual(config.storeAndForward, {
      ...base.config.storeAndForward,
      quota: { bytes: 32 * MIB },
      timeToLiveSecs: 7200,
      wearBudget: 2 ** 30,
    });
    assert.deepEqual(config.routes, { hot: { route: UP, priority: 1 }, rule: { route: TO_COOLDOWN } });
    assert.deepEqual(config.upstream, { ...base.config.upstream!, maxRate: { bytesPerSec: 65_536 } });
    assert.deepEqual([config.children, config.modules], [base.config.children, base.config.modules]);
    assert.deepEqual(applied, [
      'storeAndForward.quota',
      'storeAndForward.timeToLiveSecs',
      'storeAndForward.wearBudget',
      'routes',
      'upstream.maxRate',
      'logLevel',
    ]);
    assert.deepEqual([logLevel, warnings], ['debug', []]);
  });

  test('that say nothing leave the file as it is', () => {
    assert.deepEqual(laid({ site: 7 }).loaded, base);
    assert.deepEqual(laid({}).applied, []);
  });

  test('may be an edge hub’s as they stand, in the gateway’s twin or in that of its module; the gateway’s own say better', () => {
    const hub: JsonObject = {
      schemaVersion: '1.1',
      routes: {
        'to cloud/1': UP,
        ever: { route: UP, priority: 0, timeToLiveSecs: -1 },
        none: { route: UP, timeToLiveSecs: 0 },
      },
      storeAndForwardConfiguration: { timeToLiveSecs: 60, storeLimits: { maxBytes: 1 } },
      mqttBroker: {},
    };
    for (const found of [laid(hub), laid({}, hub)]) {
      assert.equal(found.loaded.config.storeAndForward.timeToLiveSecs, 60);
      assert.deepEqual(found.loaded.config.routes, {
        'to-cloud-1': { route: UP },
        ever: { route: UP, priority: 0, timeToLiveSecs: 2_147_483_647 },
        none: { route: UP },
      });
      assert.deepEqual(found.applied, ['storeAndForward.timeToLiveSecs', 'routes']);
    }
    const both = laid({ storeAndForward: { timeToLiveSecs: 30 } }, hub).loaded.config;
    assert.equal(both.storeAndForward.timeToLiveSecs, 30);
    assert.equal(Object.keys(both.routes).length, 3);
    assert.deepEqual(Object.keys(laid({ routes: { mine: UP } }, hub).loaded.config.routes), ['mine']);
    assert.deepEqual(laid({ schemaVersion: '1.0', routes: { old: '', up: UP } }).loaded.config.routes, {
      up: { route: UP },
    });
    assert.deepEqual(problems({ schemaVersion: '1.1', routes: [], storeAndForwardConfiguration: 5 }), [
      'storeAndForwardConfiguration: 5 is not a mapping',
      `routes: a list is not a mapping; write for example "telemetry: ${UP}"`,
    ]);
    assert.deepEqual(problems({ ...hub, schemaVersion: '2.0' }), [
      'schemaVersion: "2.0" is not known; there are 1.0, 1.1, 1.2, 1.3',
    ]);
  });

  test('that are wrong are refused, with the key, the value, and what would be right', () => {
    const cases: readonly (readonly [desired: JsonObject, ...problems: string[]])[] = [
      [
        { storeAndForward: { quota: '12 parsecs' } },
        'storeAndForward.quota: "12 parsecs" is not a size; write for example 512MiB or 10%',
      ],
      [
        { storeAndForward: { quotta: '1GiB' } },
        'storeAndForward.quotta: "quotta" is not a key of storeAndForward; did you mean "quota"?',
      ],
      [
        { storeAndForward: { write: 'always' }, upstream: { url: 'mqtt://elsewhere' } },
        'storeAndForward.write: acts when the gateway is started: it is set in the file of its configuration, not from above',
        'upstream.url: acts when the gateway is started: it is set in the file of its configuration, not from above',
      ],
      [{ logLevel: 'loud' }, 'logLevel: "loud" is not one of trace, debug, info, warn, error'],
      [
        { routes: { a: 'FROM /messages INTO upstream' } },
        'routes.a: 1:21: expected a sink, found "upstream"; write $upstream or BrokeredEndpoint("/modules/NAME/inputs/INPUT")',
      ],
      [{ routes: { a: { route: UP, priority: 11 } } }, 'routes.a.priority: 11 is not a whole number from 0 to 9'],
      [
        { routes: { a: 'FROM /messages INTO BrokeredEndpoint("/modules/cooldwon/inputs/input")' } },
        'routes.a: 1:39: no module is called "cooldwon"; did you mean "cooldown"?',
      ],
      [
        { routes: { a: 'FROM /messages INTO BrokeredEndpoint("/modules/cooldown/inputs/inputs")' } },
        'routes.a: module "cooldown": there is no input "inputs"; did you mean "input"?',
      ],
      [{ upstream: { maxRate: {} } }, 'upstream.maxRate: bounds nothing; write messagesPerSec, bytesPerSec or both'],
      [
        { storeAndForwardConfiguration: { timeToLiveSecs: 'soon' } },
        'storeAndForward.timeToLiveSecs: "soon" is not a time from 1 to 2147483647 seconds; write for example 7200 or 2h',
      ],
    ];
    for (const [desired, ...expected] of cases) assert.deepEqual(problems(desired), expected);
  });

  test('of any form at all are taken or refused, with a reason', () => {
    const said = fc.oneof(
      { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
      { weight: 1, arbitrary: fc.constantFrom(UP, TO_COOLDOWN, '1GiB', 60, -1, '1.1', { route: UP }, { quota: 1 }) },
    );
    const keys = ['storeAndForward', 'routes', 'upstream', 'logLevel', 'schemaVersion', 'storeAndForwardConfiguration'];
    const nested = fc.oneof(
      said,
      fc.dictionary(fc.constantFrom('quota', 'lanes', 'maxRate', 'timeToLiveSecs', '__proto__', 'a', 'write'), said),
    );
    const desired = fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), nested);
    fc.assert(
      fc.property(desired, fc.option(desired), (own, hub) => {
        const found = settingsFromAbove(base, own as JsonObject, hub as JsonObject | null);
        if ('problems' in found)
          assert.ok(found.problems.length > 0 && found.sections.length > 0, 'no reason is given');
        else assert.deepEqual(found.loaded.config.gateway, base.config.gateway);
      }),
      { numRuns: 500, seed: 20261126 },
    );
  });

  test('name twenty problems at the most, and none at length', () => {
    const routes = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`r${n}`, `x${'y'.repeat(3000)}`]));
    const found = problems({ routes });
    assert.equal(found.length, 21);
    assert.equal(found.at(-1), 'and 30 more');
    assert.ok(Math.max(...found.map(({ length }) => length)) <= 501, 'each of them is short');
  });

  test('are allowed what is probably not meant, and say so', () => {
    assert.deepEqual(
      laid({ storeAndForwards: {}, routes: { a: 'FROM /messages/modules/nobody INTO $upstream' } }).warnings,
      [
        'routes.a: 1:6: nothing comes from here: no module is called "nobody"; there are cooldown',
        'storeAndForwards: is none of the gateway\'s settings; did you mean "storeAndForward"?',
      ],
    );
  });
});

const silent = pino({ level: 'silent' });

/** What is in force for a while, on a real state environment; the last call of `take` is what is taken up. */
function settingsOn(state: State, file = base) {
  const settings = new Settings({ base: file, keep: state, log: silent });
  const seen: LoadedConfig[] = [];
  settings.start((loaded) => {
    seen.push(loaded);
    return { applied: [], needRestart: ['upstream.window', 'routes.hot'] };
  });
  return { settings, quota: () => seen.at(-1)!.config.storeAndForward.quota, seen };
}

function stateIn(t: TestContext, dir = scratch()): State {
  const state = new State(join(dir, 'state'));
  t.after(() => state.close());
  return state;
}

describe('the last good ones', () => {
  test('stay when wrong ones come, and at the next start; the report says which and why', async (t) => {
    const state = stateIn(t);
    const first = settingsOn(state);
    assert.deepEqual(first.settings.report(), {
      version: null,
      edgeHubVersion: null,
      applied: [],
      needRestart: [],
      problems: [],
      warnings: [],
    } satisfies SettingsReport);
    await first.settings.receive({ storeAndForward: { quota: '32MiB' }, $version: 4 }, 4);
    assert.deepEqual(first.quota(), { bytes: 32 * MIB });
    await first.settings.receive({ storeAndForward: { quota: '1 potato' } }, 5);
    const refused = first.settings.report();
    assert.deepEqual([refused.version, refused.applied], [5, ['storeAndForward.quota']]);
    assert.match(refused.problems.join(), /^storeAndForward\.quota: "1 potato" is not a size/);
    assert.equal(first.seen.length, 2);

    const second = settingsOn(state);
    assert.deepEqual(second.settings.laid.config.storeAndForward.quota, { bytes: 32 * MIB });
    assert.deepEqual(second.settings.report().version, 4);
    await second.settings.receive({ storeAndForward: { quota: '32MiB' } }, 4);
    assert.equal(second.seen.length, 1, 'what is in force already is nothing new');
    await second.settings.receive({}, 6);
    assert.deepEqual([second.quota(), second.settings.report().applied], [{ bytes: 16 * MIB }, []]);
    assert.deepEqual(settingsOn(state).quota(), { bytes: 16 * MIB });
  });

  test('that could not be kept are in force all the same, and are kept when they come again', async (t) => {
    const state = stateIn(t);
    const first = settingsOn(state);
    const put = state.put.bind(state);
    state.put = () => Promise.reject(new Error('the medium takes nothing'));
    const wanted = { storeAndForward: { quota: '32MiB' } };
    await assert.rejects(first.settings.receive(wanted, 4), /the medium takes nothing/);
    await assert.rejects(first.settings.receive(wanted, 4), /the medium takes nothing/);
    assert.deepEqual([first.quota(), first.seen.length], [{ bytes: 32 * MIB }, 2]);
    state.put = put;
    await first.settings.receive(wanted, 4);
    assert.deepEqual(settingsOn(state).settings.laid.config.storeAndForward.quota, { bytes: 32 * MIB });
  });

  test('of the edge hub’s module stay beside the gateway’s own', async (t) => {
    const state = stateIn(t);
    const { settings } = settingsOn(state);
    await settings.receive({ schemaVersion: '1.1', routes: { hot: UP } }, 2, '$edgeHub');
    await settings.receive({ storeAndForward: { quota: '9MiB' } }, 7);
    const { report } = { report: settingsOn(state).settings.report() };
    assert.deepEqual(report, {
      version: 7,
      edgeHubVersion: 2,
      applied: ['storeAndForward.quota', 'routes'],
      needRestart: ['routes.hot'],
      problems: [],
      warnings: [],
    });
  });

  test('are laid over a changed file again; what no longer fits is the file’s, and a quota does not fall with it', async (t) => {
    const state = stateIn(t);
    const { settings, seen, quota } = settingsOn(state);
    await settings.receive({ storeAndForward: { quota: '32MiB' }, routes: { rule: TO_COOLDOWN } }, 2);
    settings.rebase(written(YAML.replace('drop-oldest', 'thin')));
    assert.deepEqual([quota(), seen.at(-1)!.config.storeAndForward.whenFull], [{ bytes: 32 * MIB }, 'thin']);
    assert.deepEqual(Object.keys(seen.at(-1)!.config.routes), ['rule']);
    const without = written(YAML.replace(/modules: .*/, ''));
    settings.rebase(without);
    assert.deepEqual([quota(), Object.keys(seen.at(-1)!.config.routes)], [{ bytes: 32 * MIB }, ['telemetry']]);
    assert.deepEqual(settings.report().applied, ['storeAndForward.quota']);
    assert.match(settings.report().problems.join(), /no module is called "cooldown"/);
    assert.deepEqual(settingsOn(state, without).quota(), { bytes: 32 * MIB });
    settings.rebase(base);
    assert.deepEqual(Object.keys(seen.at(-1)!.config.routes), ['rule']);
    assert.deepEqual(settings.report().problems, []);
  });

  test('that did not fit the file are taken when it is changed', async (t) => {
    const state = stateIn(t);
    const { settings, seen } = settingsOn(state, written(YAML.replace(/modules: .*/, '')));
    await settings.receive({ routes: { rule: TO_COOLDOWN } }, 3);
    assert.equal(settings.report().problems.length, 1);
    settings.rebase(base);
    assert.deepEqual(Object.keys(seen.at(-1)!.config.routes), ['rule']);
    assert.deepEqual(settings.report().problems, []);
  });
});

describe('a gateway', () => {
  // The clock's own timers keep no process alive.
  const hold = setInterval(() => undefined, 2 ** 30);
  after(() => clearInterval(hold));

  test('takes them up while it runs, has them from its start on without a network, and a reload leaves them', async () => {
    const dir = scratch();
    const file = written(YAML, dir);
    const ring = new LogRing('json', () => undefined);
    const level = new LogLevel('warn');
    const log = ring.logger(level, systemClock);
    const platform: Platform = { clock: systemClock, log, random: Math.random, level };
    const gateway = await Gateway.open(file, platform);
    await gateway.start();
    const dropped = () => gateway.spoolDesk.stats().ledger.dropped['no-route'] ?? 0;
    assert.equal(dropped(), 0);
    await gateway.settings.receive(
      {
        storeAndForward: { quota: '24MiB', timeToLiveSecs: 60 },
        routes: { rules: 'FROM /messages/modules/* INTO $upstream' },
        logLevel: 'debug',
      },
      2,
    );
    const { quotaBytes } = gateway.status().spool;
    assert.deepEqual([quotaBytes, level.now], [24 * MIB, 'debug']);
    await until('readings that no route takes', () => dropped() > 0);
    assert.deepEqual(gateway.reconfigure(written(YAML.replace('16MiB', '20MiB'), dir)), {
      applied: [],
      needRestart: [],
    });
    assert.equal(gateway.status().spool.quotaBytes, 24 * MIB);
    await gateway.settings.receive({ storeAndForward: { quota: '24MiB' } }, 3);
    await gateway.stop();

    written(YAML, dir);
    // The file's quota would have it let go of what is too much.
    const lines = () => `${JSON.stringify({ child: 'much', body: { base64: noise(16 * 1024).toString('base64') } })}\n`;
    writeFileSync(join(dir, 'in.jsonl'), Array.from({ length: 1000 }, lines).join(''));
    const imported = await holdfast(['spool', 'import', join(dir, 'in.jsonl'), '-c', file.path]);
    assert.equal(imported.code, 0, imported.stderr);
    const again = await Gateway.open(written(YAML, dir), platform);
    assert.equal(again.spoolDesk.stats().ledger.dropped.evicted ?? 0, 0);
    assert.equal(again.status().spool.quotaBytes, 24 * MIB);
    assert.deepEqual(again.settings.report(), {
      version: 3,
      edgeHubVersion: null,
      applied: ['storeAndForward.quota'],
      needRestart: [],
      problems: [],
      warnings: [],
    });
    assert.equal(level.now, 'warn');
    await again.stop();
  });
});
