import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pino } from 'pino';
import { COMMAND_BODY_BYTES_MAX, commandMessage } from '../src/commands/command-message.ts';
import { Commands, PAYLOAD_BYTES_MAX, type CommandResult } from '../src/commands/commands.ts';
import { feedback, type Fate } from '../src/commands/feedback.ts';
import { Orders, type Order, type OrderRecord, type OrderSeen } from '../src/commands/orders.ts';
import { ManualClock } from './manual-clock.ts';

describe('a command', () => {
  const clock = new ManualClock();
  const commands = new Commands(clock);
  const asked: unknown[] = [];
  commands.register('wired', {
    command: (name, payload) => Promise.resolve({ status: 200, payload: [name, payload] }),
  });
  commands.register('broken', { command: () => Promise.reject(new Error('no port')) });

  test('for nobody is the gateway’s 404, until connected children are sought, too', async () => {
    const nobody = { status: 404, payload: { error: 'there is no child "panel"' }, failed: true };
    assert.deepEqual(await commands.invoke('panel', 'go', 1), nobody);
    commands.seekAmong({
      method: (...all) => {
        asked.push(all);
        return Promise.resolve({ status: 201, payload: 'done' });
      },
    });
    assert.deepEqual(await commands.invoke('panel', 'go', 1, 9, 'id-1'), { status: 201, payload: 'done' });
    assert.deepEqual(await commands.invoke('panel/m', 'go', null), { status: 201, payload: 'done' });
    assert.deepEqual(asked, [
      ['panel', null, 'go', 1, 9, 'id-1'],
      ['panel', 'm', 'go', null, 30, undefined],
    ]);
  });

  test('for a wired child goes to its driver all the same', async () => {
    assert.deepEqual(await commands.invoke('wired', 'go', 2), { status: 200, payload: ['go', 2] });
    const broken = { status: 500, payload: { error: 'no port' }, failed: true };
    assert.deepEqual(await commands.invoke('broken', 'go', 2), broken);
  });

  test('with a payload of more than 128 KB is not given to anybody', async () => {
    const fits = 'x'.repeat(PAYLOAD_BYTES_MAX - 2);
    assert.equal((await commands.invoke('wired', 'go', fits)).status, 200);
    assert.equal((await commands.invoke('wired', 'go', `${fits}x`)).status, 413);
    assert.equal((await commands.invoke('wired', 'go', undefined)).status, 200);
  });
});

describe('a message to be queued for a child', () => {
  const clock = new ManualClock();
  const content = (properties: Record<string, string> = {}, bytes = 1) => ({ body: Buffer.alloc(bytes), properties });
  const inSecs = (secs: number) => new Date(clock.wall() + secs * 1000).toISOString();
  const CASES: readonly (readonly [what: string, properties: Record<string, string>, found: unknown, life?: number])[] =
    [
      ['waits an hour when it does not say', {}, 3600],
      ['waits as long as its sender says otherwise', {}, 60, 60],
      ['waits until it expires', { 'absolute-expiry-time': inSecs(90) }, 90],
      ['waits two days at most', { 'absolute-expiry-time': inSecs(9e6) }, 172_800],
      ['is refused when it has expired', { 'absolute-expiry-time': inSecs(0) }, 'it has expired'],
      ['is refused when its expiry is no time', { 'absolute-expiry-time': 'soon' }, 'its expiry is no time'],
      [
        'is refused when its ack is none',
        { ack: 'maybe' },
        'ack is "maybe", not one of none, positive, negative, full',
      ],
    ];
  for (const [what, properties, expected, life] of CASES) {
    test(what, () => {
      const found = commandMessage(content(properties), clock, life);
      assert.equal('refused' in found ? found.refused : found.expiresAfterSecs, expected);
    });
  }

  test('keeps what it came with', () => {
    const came = { ...content({ ack: 'full', k: 'v' }), contentType: 'text/plain' };
    assert.deepEqual(commandMessage(came, clock), { ...came, ack: 'full', expiresAfterSecs: 3600 });
  });

  test('is not judged by a clock that is not known', () => {
    const unknown = new ManualClock({ known: false });
    const found = commandMessage(content({ 'absolute-expiry-time': '2000-01-01T00:00:00Z' }), unknown);
    assert.equal('expiresAfterSecs' in found && found.expiresAfterSecs, 3600);
  });

  test('has at most 64 KB', () => {
    assert.equal('refused' in commandMessage(content({}, COMMAND_BODY_BYTES_MAX), clock), false);
    assert.equal('refused' in commandMessage(content({}, COMMAND_BODY_BYTES_MAX + 1), clock), true);
  });
});

describe('orders', () => {
  const quiet = pino({ level: 'silent' });
  const order = (child: string, n: number): Order => ({ child, command: 'go', payload: { n }, id: `rule/${n}` });
  const done = { status: 200, payload: null };

  /** Orders, a child `there` that hears them, and `slow`, who answers when told to. */
  function rig(records: readonly OrderRecord[] = [], seen?: OrderSeen) {
    const clock = new ManualClock();
    const commands = new Commands(clock);
    const heard: string[] = [];
    const answers: ((result: CommandResult) => void)[] = [];
    const hears = (id: string | undefined) => void heard.push(id!);
    commands.register('there', { command: async (_, __, id) => (hears(id), done) });
    commands.register('slow', {
      command: (_, __, id) => (hears(id), new Promise((resolve) => void answers.push(resolve))),
    });
    const orders = new Orders({ commands, clock, log: quiet, touch: () => undefined, seen });
    orders.restore(records);
    return { clock, commands, heard, answers, orders };
  }

  test('that were carried out before a commit are in none; others are in one, and go with another', async () => {
    const { orders, answers, clock } = rig();
    orders.start();
    orders.give(order('there', 1));
    await clock.flow(0);
    assert.deepEqual([orders.bytes, orders.cut()], [0, []]);
    orders.give(order('slow', 2));
    assert.ok(orders.bytes > 0, 'it is to be written');
    const [kept] = orders.cut();
    assert.deepEqual([kept!.kind, orders.bytes, orders.cut()], [3, 0, []]);
    answers[0]!(done);
    await clock.flow(0);
    assert.ok(orders.bytes > 0, 'its end is to be written');
    assert.deepEqual(orders.cut(), [{ kind: 3, number: kept!.number, value: null }]);
  });

  test('of before a restart come first, in order, when children have been started', async () => {
    const before = rig();
    before.orders.give(order('there', 1));
    before.orders.give(order('there', 2));
    const damaged = { kind: 3, number: 9, value: Buffer.from('{') };
    const { orders, heard, clock } = rig([
      damaged,
      { kind: 1, number: 1, value: damaged.value },
      ...before.orders.cut(),
    ]);
    orders.give(order('there', 3));
    assert.deepEqual(heard, []);
    orders.start();
    await clock.flow(0);
    assert.deepEqual(heard, ['rule/1', 'rule/2', 'rule/3']);
    // The third was never written; its number is none that the medium has.
    assert.deepEqual(
      orders.cut().map(({ number, value }) => [number, value]),
      [
        [9, null],
        [1, null],
        [2, null],
      ],
    );
  });

  test('for a child that comes within a minute are given then, in order; later a child that is away ends them', async () => {
    const results: number[] = [];
    const { orders, commands, heard, clock } = rig([], (_, { status }) => results.push(status));
    orders.start();
    orders.give(order('late', 1));
    await clock.flow(30_000);
    orders.give(order('late', 2));
    orders.give(order('never', 3));
    commands.register('late', { command: async (_, __, id) => (heard.push(id!), done) });
    await clock.flow(1000);
    assert.deepEqual(
      [heard, results],
      [
        ['rule/1', 'rule/2'],
        [200, 200],
      ],
    );
    await clock.flow(30_000);
    assert.deepEqual(results, [200, 200, 404]);
    orders.give(order('never', 4));
    await clock.flow(0);
    assert.deepEqual(results, [200, 200, 404, 404]);
  });

  test('that a stop comes between, or that come after it, are kept', async () => {
    const { orders, answers, heard, clock } = rig();
    orders.start();
    orders.give(order('slow', 1));
    orders.give(order('slow', 2));
    const stopped = orders.stop();
    answers[0]!(done);
    orders.give(order('there', 3));
    await clock.flow(1000);
    await stopped;
    answers[1]!({ status: 503, payload: { error: 'the port is closed' } });
    await clock.flow(0);
    assert.deepEqual(heard, ['rule/1', 'rule/2']);
    assert.deepEqual(
      orders.cut().map(({ value }) => (JSON.parse(value!.toString()) as Order).id),
      ['rule/2', 'rule/3'],
    );
  });

  test('beyond what is kept are given all the same, unless they would have to wait', async () => {
    const results: number[] = [];
    const { orders } = rig([], (_, { status }) => results.push(status));
    for (let n = 0; n < 1001; n++) orders.give(order('there', n));
    assert.deepEqual([orders.cut().length, results], [1000, [503]]);
    const { orders: started, heard } = rig();
    started.start();
    for (let n = 0; n < 1001; n++) started.give(order('slow', n));
    assert.deepEqual([started.cut().length, heard.length], [1000, 1001]);
  });
});

test('feedback goes to those who asked for such a fate, in the words of IoT Hub', () => {
  const at = Date.UTC(2031, 4, 6);
  const asks = (ack: string | undefined, fate: Fate) =>
    feedback('pump', { properties: ack === undefined ? {} : { ack } }, fate, at) !== null;
  const asked = (ack: string | undefined) =>
    (['delivered', 'expired', 'dropped', 'refused'] as const).map((fate) => asks(ack, fate));
  assert.deepEqual(asked('positive'), [true, false, false, false]);
  assert.deepEqual(asked('negative'), [false, true, true, true]);
  assert.deepEqual(asked('full'), [true, true, true, true]);
  assert.deepEqual([...asked('none'), ...asked(undefined)], Array(8).fill(false));
  const record = (message: Parameters<typeof feedback>[1]) =>
    JSON.parse(
      feedback(
        'pump',
        { ...message, properties: { ack: 'full', ...message.properties } },
        'dropped',
        at,
      )!.body.toString(),
    );
  const found = {
    originalMessageId: null,
    enqueuedTimeUtc: '2031-05-06T00:00:00.000Z',
    statusCode: 'Purged',
    description: 'Message purged',
    deviceId: 'pump',
  };
  assert.deepEqual(record({}), [found]);
  assert.deepEqual(record({ messageId: 'ours' }), [{ ...found, originalMessageId: 'ours' }]);
  assert.deepEqual(record({ messageId: 'ours', properties: { messageId: '7' } }), [
    { ...found, originalMessageId: '7' },
  ]);
});
