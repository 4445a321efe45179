import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Message, Reading } from '../src/message/message.ts';
import { Router, TooLarge, type Destinations, type ModuleOutput } from '../src/router/router.ts';
import { MessageView } from '../src/router/message-view.ts';
import { RouteTable } from '../src/router/route-table.ts';
import { lets, readRoute, sinkKey, type NamedRoute } from '../src/router/route.ts';
import { fc } from './parts/properties.ts';
import { routeMessage } from './parts/route-message.ts';

type Written = string | { readonly route: string; readonly priority?: number; readonly timeToLiveSecs?: number };

function named(routes: Readonly<Record<string, Written>>): NamedRoute[] {
  return Object.entries(routes).map(([name, route]): NamedRoute => {
    const { route: text, ...others } = typeof route === 'string' ? { route } : route;
    return { name, route: readRoute(text), ...others };
  });
}

/** A router, and what it does with messages: each line one thing, in order. */
class Rig {
  readonly router: Router;
  readonly log: string[] = [];
  readonly messages: Message[] = [];
  /** What the spool answers. */
  accepts: () => Promise<void> = () => Promise.resolve();
  onModule: (message: Message) => void = () => undefined;

  constructor(routes: Readonly<Record<string, Written>>) {
    const did = (what: string, message: Message) => {
      this.log.push(what);
      this.messages.push(message);
    };
    const destinations: Destinations = {
      upstream: {
        stamp: () => ({ wall: 1000, monotonic: 500, boot: 1, clock: 'synced', age: 0 }),
        accept: (message, senderWaits) => {
          did(`up ${message.priority} ${message.expiresAfterSecs ?? '-'}${senderWaits ? ' waits' : ''}`, message);
          return this.accepts();
        },
        refused: (reason) => void this.log.push(`refused ${reason}`),
        discard: (reason, message) => did(`discard ${reason}`, message),
      },
      modules: (message, inputs) => {
        for (const { module, input } of inputs) did(`module ${module}.${input}`, message);
        this.onModule(message);
      },
      child: (child, input, message) => did(`child ${child}.${input}`, message),
      kept: (senderWaits) => {
        this.log.push(`kept${senderWaits ? ' waits' : ''}`);
        return Promise.resolve();
      },
    };
    this.router = new Router({ gateway: 'line-4', destinations, routes: named(routes) });
  }

  async reading(reading: Partial<Reading> & { json?: unknown } = {}, child = 'press-1'): Promise<string[]> {
    const { json, ...others } = reading;
    const body = Buffer.from(JSON.stringify(json ?? {}));
    const declared = { contentType: 'application/json', contentEncoding: 'utf-8' };
    await this.router.reading(child, { body, ...declared, ...others }, true);
    return this.log.splice(0);
  }

  async output(output: Partial<ModuleOutput> = {}): Promise<string[]> {
    const body = Buffer.from('{}');
    await this.router.moduleOutput({ module: 'cooldown', output: 'out', body, hops: 0, ...output }, true);
    return this.log.splice(0);
  }
}

const UP = 'INTO $upstream';
const module = (name: string, input = 'in') => `INTO BrokeredEndpoint("/modules/${name}/inputs/${input}")`;

describe('the router', () => {
  test('gives a message to each sink once: of the routes there, the best decides lane and time to live', async () => {
    const rig = new Rig({
      plain: `FROM /messages/* ${UP}`,
      late: { route: `FROM /messages/* ${UP}`, priority: 5, timeToLiveSecs: 50 },
      soon: { route: `FROM /messages/* WHERE $body.hot ${UP}`.replace('/*', ''), priority: 1, timeToLiveSecs: 10 },
      a: `FROM /messages/* ${module('m', 'a')}`,
      again: { route: `FROM /messages/* ${module('m', 'a')}`, priority: 9 },
      b: `FROM /messages ${module('m', 'b')}`,
      lamp: `FROM /messages/* INTO BrokeredEndpoint("/children/lamp/inputs/set")`,
    });
    assert.deepEqual(await rig.reading({ json: { hot: true } }), [
      'up 1 10 waits',
      'module m.a',
      'module m.b',
      'child lamp.set',
    ]);
    assert.deepEqual(await rig.reading({ json: { hot: false } }), [
      'up 5 50 waits',
      'module m.a',
      'module m.b',
      'child lamp.set',
    ]);
    assert.deepEqual(new Set(rig.messages.slice(0, 4)).size, 1, 'all are given the same message');
  });

  test('without a priority a message takes lane 10; of equal routes the first that was written counts', async () => {
    const rig = new Rig({
      first: { route: `FROM /messages/* ${UP}`, timeToLiveSecs: 7 },
      second: { route: `FROM /messages/* ${UP}`, timeToLiveSecs: 8 },
    });
    assert.deepEqual(await rig.reading(), ['up 10 7 waits']);
  });

  test('takes other routes while it runs: a message that is under way keeps its own, and its place', async () => {
    const rig = new Rig({ old: `FROM /messages/* ${UP}` });
    let stored = (): void => undefined;
    rig.accepts = () => new Promise((resolve) => (stored = resolve));
    const first = rig.reading();
    rig.router.configure(named({ new: { route: `FROM /messages/* ${UP}`, priority: 2 }, m: `FROM /* ${module('m')}` }));
    assert.equal(rig.router.takesNotices, true);
    rig.accepts = () => Promise.resolve();
    const second = rig.reading();
    stored();
    assert.deepEqual([await first, await second].flat(), ['up 10 - waits', 'up 2 - waits', 'module m.in']);
    rig.router.configure(named({ gone: `FROM /messages/modules/x ${UP}` }));
    assert.deepEqual(await rig.reading(), ['discard no-route']);
    assert.equal(rig.router.takesNotices, false);
  });

  test('accepts and drops what no route takes', async () => {
    const rig = new Rig({ hot: `FROM /messages WHERE $body.t > 30 ${UP}` });
    assert.deepEqual(await rig.reading({ json: { t: 31 } }), ['up 10 - waits']);
    assert.deepEqual(await rig.reading({ json: { t: 30 } }), ['discard no-route']);
    assert.deepEqual(await rig.reading({ json: {} }), ['discard no-route']);
    assert.deepEqual(await new Rig({}).reading(), ['discard no-route']);
  });

  test('keeps what goes to modules and children alone out of the spool, and has it kept by them', async () => {
    const rig = new Rig({ m: `FROM /messages/* ${module('m')}` });
    assert.deepEqual(await rig.reading(), ['module m.in', 'kept waits']);
  });

  test('serves modules also when the spool refuses, which its sender is told', async () => {
    const rig = new Rig({ up: `FROM /messages/* ${UP}`, m: `FROM /messages/* ${module('m')}` });
    rig.accepts = () => Promise.reject(new Error('full'));
    await assert.rejects(rig.reading(), /full/);
    assert.deepEqual(rig.log, ['up 10 - waits', 'module m.in']);
  });

  test('refuses a body that is too large, and counts it', async () => {
    const rig = new Rig({ up: `FROM /messages/* ${UP}` });
    await assert.rejects(rig.reading({ body: Buffer.alloc(262_145) }), TooLarge);
    await assert.rejects(rig.output({ body: Buffer.alloc(262_145) }), TooLarge);
    assert.deepEqual(rig.log.splice(0), ['refused too-large', 'refused too-large']);
    assert.deepEqual(await rig.reading({ body: Buffer.alloc(262_144) }), ['up 10 - waits']);
  });

  test('sends what a module puts out from the gateway, one hop further, and drops what goes round', async () => {
    const rig = new Rig({ up: `FROM /messages/modules/cooldown/outputs/out ${UP}` });
    assert.deepEqual(await rig.output({ hops: 7, eventTime: 5, properties: { a: 'b' } }), ['up 10 - waits']);
    const { source, hops, eventTime, properties, acceptedAt } = rig.messages[0]!;
    assert.deepEqual(source, { child: 'line-4', module: 'cooldown', output: 'out' });
    assert.deepEqual({ hops, eventTime, properties }, { hops: 8, eventTime: 5, properties: { a: 'b' } });
    assert.equal(acceptedAt.wall, 1000);
    assert.deepEqual(await rig.output({ hops: 8 }), ['discard loop']);
  });

  test('ends a loop of modules', async () => {
    const rig = new Rig({
      start: `FROM /messages/* ${module('m')}`,
    });
    rig.onModule = ({ hops }) =>
      void rig.router.moduleOutput({ module: 'm', output: 'o', body: Buffer.from('{}'), hops }, false);
    const log = await rig.reading();
    assert.equal(log.filter((line) => line === 'module m.in').length, 9);
    assert.equal(log.filter((line) => line === 'discard loop').length, 1);
  });

  test('dates a reading by its sensor, or by when our clock saw it', async () => {
    const rig = new Rig({ up: `FROM /messages/* ${UP}` });
    await rig.reading({ eventTime: 7 });
    await rig.reading({ eventTime: Number.NaN });
    await rig.reading({ measuredAt: 400 });
    assert.deepEqual(
      rig.messages.map(({ eventTime }) => eventTime),
      [7, undefined, 900],
    );
  });
});

describe('sources', () => {
  const from: Readonly<Record<string, readonly string[]>> = {
    device: ['/*', '/messages/*', '/messages', '/MESSAGES'],
    m: [
      '/*',
      '/MESSAGES',
      '/messages/modules/m/*',
      '/messages/*',
      '/messages',
      '/messages/modules/*',
      '/messages/modules',
      '/messages/modules/m',
      '/messages/modules/M/*',
    ],
    'm.o': [
      '/*',
      '/MESSAGES',
      '/messages/*',
      '/messages/modules',
      '/messages/modules/M/*',
      '/messages',
      '/messages/modules/*',
      '/messages/modules/m',
      '/messages/modules/m/*',
      '/messages/modules/m/outputs',
      '/messages/modules/m/outputs/*',
      '/messages/modules/m/outputs/o',
      '/messages/modules/m/Outputs/O',
      '/messages/modules/m/outputs/o*',
    ],
  };
  const all = [
    ...new Set(Object.values(from).flat()),
    '/twinChangeNotifications',
    '/message',
    '/messages/modules/mm',
    '/messages/modules/m/outputs/oo',
    '/messages/modules/m/outputs/o/x',
    '/messages/modules/*/outputs/o',
    '/nonsense',
  ];
  for (const [sender, expected] of Object.entries(from)) {
    test(`what takes a message from ${sender}`, async () => {
      const taking: string[] = [];
      for (const source of all) {
        const rig = new Rig({ route: `FROM ${source} ${UP}` });
        const log =
          sender === 'device'
            ? await rig.reading()
            : await rig.output({ module: 'm', output: sender === 'm' ? undefined : 'o' } as Partial<ModuleOutput>);
        if (log[0]?.startsWith('up') === true) taking.push(source);
      }
      assert.deepEqual(taking.sort(), [...expected].sort());
    });
  }

  test('leaf devices alone', async () => {
    const rig = new Rig({ leaf: `FROM /messages WHERE NOT IS_DEFINED($connectionModuleId) ${UP}` });
    assert.deepEqual(await rig.reading(), ['up 10 - waits']);
    assert.deepEqual(await rig.output(), ['discard no-route']);
  });

  test('a route that names a child is found by it, unless a message says another of itself', async () => {
    const rig = new Rig({
      one: `FROM /messages WHERE $connectionDeviceId = 'press-1' AND $body.t > 1 ${UP}`,
      two: `FROM /messages WHERE 'press-2' = $CONNECTIONDEVICEID ${module('two')}`,
      either: `FROM /messages WHERE $connectionDeviceId = 'press-1' OR $body.t > 1 ${module('either')}`,
      not: `FROM /messages WHERE NOT ($connectionDeviceId = 'press-1') ${module('not')}`,
      braced: `FROM /messages WHERE {$connectionDeviceId} = 'press-1' ${module('braced')}`,
    });
    const json = { t: 2 };
    for (let round = 0; round < 2; round++) {
      assert.deepEqual(await rig.reading({ json }), ['up 10 - waits', 'module either.in', 'module braced.in']);
      assert.deepEqual(await rig.reading({}), ['module either.in', 'module braced.in', 'kept waits']);
      assert.deepEqual(await rig.reading({ json }, 'press-2'), [
        'module two.in',
        'module either.in',
        'module not.in',
        'kept waits',
      ]);
      assert.deepEqual(await rig.reading({ json, properties: { $connectionDeviceID: 'press-2' } }), [
        'module two.in',
        'module either.in',
        'module not.in',
        'module braced.in',
        'kept waits',
      ]);
    }
  });

  test('a thousand routes of other modules cost a message nothing', async () => {
    const routes = Object.fromEntries(
      Array.from({ length: 1000 }, (_, n) => [
        `r${n}`,
        `FROM /messages/modules/m${n}/* WHERE $body.a.b = ${n} ${UP}`.replace('/*', ''),
      ]),
    );
    const rig = new Rig({ ...routes, up: `FROM /messages/modules/n ${UP}` });
    // A body that cannot be read without being noticed.
    const body = new Proxy(Buffer.from('{}'), {
      get: (target, key) => {
        assert.equal(key, 'length', 'the body is read');
        return Reflect.get(target, key) as unknown;
      },
    });
    assert.deepEqual(await rig.output({ module: 'n', body }), ['up 10 - waits']);
  });
});

test('the table finds what holding a message against each route would', () => {
  const source = fc.constantFrom(
    '/*',
    '/messages',
    '/messages/modules',
    '/messages/modules/a',
    '/messages/modules/A/outputs/o',
  );
  const condition = fc.constantFrom(
    'true',
    `$connectionDeviceId = 'x'`,
    `$connectionDeviceId = 'y' AND p = '1'`,
    `p = '1'`,
    `p = '1' OR {$connectionDeviceId} = 'x'`,
    'IS_DEFINED($connectionModuleId)',
  );
  const sink = fc.constantFrom(
    '$upstream',
    `BrokeredEndpoint('/modules/m/inputs/i')`,
    `BrokeredEndpoint('/children/m/inputs/i')`,
  );
  const priority = fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined });
  const route = fc.record({ source, condition: fc.option(condition), sink, priority });
  const message = fc.record({
    child: fc.constantFrom('x', 'y', 'z'),
    module: fc.constantFrom(undefined, 'a', 'b'),
    output: fc.constantFrom(undefined, 'o'),
    properties: fc.constantFrom(undefined, {}, { P: '1' }, { $connectionDeviceId: 'y', p: '1' }),
  });
  const from = ({ module: name, output }: { module: string | undefined; output: string | undefined }) => [
    '',
    'messages',
    ...(name === undefined ? [] : ['modules', name, ...(output === undefined ? [] : ['outputs', output])]),
  ];
  fc.assert(
    fc.property(fc.array(route, { maxLength: 12 }), fc.array(message, { maxLength: 12 }), (written, sent) => {
      const routes = written.map((each, n): NamedRoute => {
        const where = each.condition === null ? '' : `WHERE ${each.condition}`;
        const text = `FROM ${each.source} ${where} INTO ${each.sink}`;
        return { name: `r${n}`, route: readRoute(text), priority: each.priority };
      });
      const table = new RouteTable(routes);
      for (const { child, module: name, output, properties } of sent) {
        const held = routeMessage({
          source: { child, ...(name !== undefined && { module: name }), ...(output !== undefined && { output }) },
          ...(properties !== undefined && { properties }),
        });
        const best = new Map<string, NamedRoute>();
        const parts = from({ module: name, output }).map((part) => part.toLowerCase());
        for (const each of routes) {
          const asked = each.route.source.text.replace(/\/\*$/, '').toLowerCase().split('/');
          const comes = asked.every((part, n) => parts[n] === part);
          if (!comes || !lets(each.route, new MessageView(held))) continue;
          const before = best.get(sinkKey(each.route.sink));
          if (before === undefined || (each.priority ?? 10) < (before.priority ?? 10))
            best.set(sinkKey(each.route.sink), each);
        }
        const names = (found: Iterable<NamedRoute>) => [...found].map((each) => each.name).sort();
        assert.deepEqual(names(table.taken(held)), names(best.values()));
      }
    }),
    { numRuns: 500, seed: 20261126 },
  );
});
