import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pino } from 'pino';
import { Downward } from '../src/above/downward.ts';
import { Errands, type ErrandsOptions } from '../src/above/errands.ts';
import { Rejections, type Reason } from '../src/above/rejections.ts';
import { MailboxFull } from '../src/hub/mailbox.ts';
import { ManualClock } from './manual-clock.ts';
import { hubRig } from './parts/hub-rig.ts';
import { RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';

const QUIET = pino({ level: 'silent' });

describe('what is refused for good of what comes from above', () => {
  function rig() {
    const clock = new ManualClock();
    const said: { readonly msg: string; readonly child?: string; readonly count?: number }[] = [];
    const log = pino({ base: null }, { write: (line: string) => void said.push(JSON.parse(line)) });
    const rejections = new Rejections(clock, log);
    const refuse = (child: string, reason: Reason = 'full') => rejections.add({ child, reason, why: 'so' });
    return { clock, said, rejections, refuse };
  }

  test('is said at once, then once a minute in one line, also when nothing more comes', async () => {
    const { clock, said, rejections, refuse } = rig();
    refuse('pump');
    assert.deepEqual(
      said.map(({ msg, child }) => [child, msg]),
      [['pump', 'a message from above is refused: so']],
    );
    for (let n = 0; n < 4; n++) refuse('pump');
    refuse('nobody', 'unknown');
    await clock.flow(59_000);
    assert.equal(said.length, 1);
    await clock.flow(1000);
    assert.equal(said.length, 2);
    const { count, msg } = said[1]!;
    assert.deepEqual([count, msg], [5, 'more messages from above were refused: pump: full, 4; nobody: unknown, 1']);
    // Within the minute after that line nothing is said at once ...
    refuse('fan');
    assert.equal(said.length, 2);
    await clock.flow(60_000);
    assert.equal(said.length, 3);
    // ... and after a minute without any the next is.
    await clock.flow(60_000);
    refuse('fan');
    assert.equal(said.length, 4);
    assert.equal(said[3]!.child, 'fan');
    assert.deepEqual([rejections.counts.full, rejections.counts.unknown], [7, 1]);
  });

  test('names ten addressees in a line, and counts the others', async () => {
    const { clock, said, refuse } = rig();
    for (let n = 0; n < 100; n++) refuse(`c-${n}`);
    await clock.flow(60_000);
    assert.equal(said[1]!.count, 99);
    assert.match(said[1]!.msg, /: c-1: full, 1; .*; c-10: full, 1; others, 89$/);
  });

  test('is said when the gateway stops, and never after it', async () => {
    const { clock, said, rejections, refuse } = rig();
    refuse('pump');
    refuse('pump');
    rejections.stop();
    assert.equal(said.length, 2);
    await clock.flow(200_000);
    assert.equal(said.length, 2);
  });
});

describe('a message from above', () => {
  function errands(over: Partial<ErrandsOptions>) {
    return new Errands({
      gateway: 'line-4',
      clock: new ManualClock(),
      log: QUIET,
      invoke: async () => ({ status: 200, payload: null }),
      takesMessages: () => true,
      isWired: () => false,
      queue: () => Promise.resolve(),
      accept: () => Promise.resolve(),
      ...over,
    });
  }
  const message = (properties: Record<string, string> = {}) =>
    ({ kind: 'command', child: 'pump', module: null, body: Buffer.from('x'), properties }) as const;

  test('that the medium does not take is to come again, and is not counted as refused', async () => {
    const failing = errands({ queue: () => Promise.reject(new Error('the medium refuses')) });
    await assert.rejects(failing.message(message()), /the medium refuses/);
    assert.ok(Object.values(failing.rejections.counts).every((count) => count === 0));
  });

  test('for a full mailbox is refused for good once its sender will hear of it; that it cannot be told changes nothing', async () => {
    let durable = () => undefined as void;
    const told: string[] = [];
    const full = errands({
      queue: () => Promise.reject(new MailboxFull('5 messages wait already')),
      accept: (_, { body }) => {
        told.push(body.toString());
        return new Promise((resolve) => (durable = resolve));
      },
    });
    await full.message(message());
    assert.deepEqual(told, []);
    let done = false;
    const waiting = full.message(message({ ack: 'full' })).then(() => (done = true));
    await new Promise(setImmediate);
    assert.deepEqual([done, told.length], [false, 1]);
    durable();
    await waiting;
    assert.equal(full.rejections.counts.full, 2);
    const mute = errands({
      queue: () => Promise.reject(new MailboxFull('5 messages wait already')),
      accept: () => Promise.reject(new Error('no room')),
    });
    await mute.message(message({ ack: 'full' }));
    assert.equal(mute.rejections.counts.full, 1);
  });

  test('that has expired on its way is refused, and its sender hears that it expired', async () => {
    const told: string[] = [];
    const clock = new ManualClock();
    const late = errands({ clock, accept: async (_, { body }) => void told.push(body.toString()) });
    const expiry = new Date(clock.wall() - 1000).toISOString();
    await late.message(message({ ack: 'negative', 'absolute-expiry-time': expiry }));
    assert.equal(late.rejections.counts.expired, 1);
    assert.match(told.join(), /"statusCode":"Expired","description":"Message expired"/);
  });
});

test('a command for a gateway below is refused for good when the mailbox of the one that leads to it is full; its documents are taken', async (t) => {
  const rig = await new RegistryRig(scratch()).open();
  t.after(() => rig.close());
  const { store } = rig.enrolment;
  const { hub } = await hubRig({ limits: { queuedMax: 1 } });
  t.after(() => hub.stop());
  const downward = new Downward({
    house: { hub, store },
    way: (gateway) => (gateway === 'line-9' ? 'site' : null),
    answer: () => undefined,
    clock: rig.clock,
    log: QUIET,
  });
  const receive = (gateway: string, topic: string) =>
    downward.receive(gateway, {
      topic: `holdfast/v1/${gateway}/${topic}`,
      body: Buffer.from('{"$version":1}'),
      qos: 1,
      retain: false,
    });
  assert.equal(await receive('line-9', 'line-9/commands'), null);
  const why = '1 messages wait already, and it was for line-9';
  assert.deepEqual(await receive('line-9', 'line-9/commands'), { child: 'site', reason: 'full', why });
  assert.equal((await receive('line-8', 'line-8/commands'))?.reason, 'unknown');
  assert.equal(await receive('line-9', 'line-9/twin/desired'), null);
  assert.equal(await receive('line-9', 'children'), null);
  assert.equal(store.names('below/doc/').length, 2);
  assert.deepEqual(
    hub.clients().map(({ child, queued, overflow, full }) => [child, queued, overflow, full]),
    [['site', 1, 1, true]],
  );
  downward.stop();
});
