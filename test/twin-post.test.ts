import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import pino from 'pino';
import { TwinPost } from '../src/above/twin-post.ts';
import { holdfastUpstream } from '../src/dialects/holdfast-upstream.ts';
import type { UpPublication } from '../src/dialects/upstream-dialect.ts';
import { Twins } from '../src/twins/twins.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryStore } from './parts/memory-store.ts';
import { until } from './parts/until.ts';

const REFUSED = 0x87;

/** A connection: what went up over it, each with the means to answer it. */
class Above {
  readonly posted: { readonly what: string; readonly answer: (reason: number) => void }[] = [];

  readonly publish = ({ topic, body }: UpPublication, answer: (reason: number) => void = () => undefined): void => {
    this.posted.push({ what: `${topic.split('/')[3]} ${body.toString()}`, answer });
  };

  get what(): string[] {
    return this.posted.map(({ what }) => what);
  }

  /** Resolves when so many have come. */
  until(count: number): Promise<boolean> {
    return until(
      () => `${count} to be posted; there are ${this.what.join(', ')}`,
      () => this.posted.length >= count,
    );
  }
}

function rig() {
  const clock = new ManualClock();
  const store = new MemoryStore();
  const said: string[] = [];
  const twins = new Twins({
    store,
    changed: (change) => post.changed(change),
    forgotten: (child, module) => post.forgotten(child, module),
  });
  const post: TwinPost = new TwinPost({
    gateway: 'line-4',
    dialect: holdfastUpstream('line-4'),
    twins: () => Promise.resolve(twins),
    isOurs: () => true,
    own: () => Promise.resolve(),
    clock,
    log: pino({ base: null }, { write: (line: string) => void said.push((JSON.parse(line) as { msg: string }).msg) }),
  });
  return { clock, store, twins, post, said };
}

describe('reported properties on their way when a connection ends', () => {
  test('go up over the next one, and no others when the broker has kept our session', async () => {
    const { twins, post } = rig();
    const [first, second] = [new Above(), new Above()];
    await twins.report('fan', null, Buffer.from('{"on":true}'));
    await twins.report('pump', null, Buffer.from('{"on":true}'));
    await post.connected(first.publish, true);
    await first.until(2);
    first.posted[0]!.answer(0);
    post.lost();
    await post.connected(second.publish, true);
    await second.until(1);
    await twins.report('lamp', null, Buffer.from('{"on":true}'));
    await second.until(2);
    assert.deepEqual(second.what, ['pump {"on":true,"$version":2}', 'lamp {"on":true,"$version":2}']);
  });

  test('of a child that is gone, are still taken away', async () => {
    const { twins, post } = rig();
    const [first, second] = [new Above(), new Above()];
    await twins.report('fan', null, Buffer.from('{"on":true}'));
    await post.connected(first.publish, true);
    await first.until(1);
    first.posted[0]!.answer(0);
    await twins.forget('fan', null);
    await first.until(2);
    assert.equal(first.what[1], 'fan ');
    post.lost();
    await post.connected(second.publish, true);
    await second.until(1);
    assert.deepEqual(second.what, ['fan ']);
  });

  test('and what was refused over one is tried over the next', async () => {
    const { twins, post } = rig();
    const [first, second, third] = [new Above(), new Above(), new Above()];
    await twins.report('fan', null, Buffer.from('{"on":true}'));
    await post.connected(first.publish, true);
    await first.until(1);
    first.posted[0]!.answer(REFUSED);
    post.lost();
    await post.connected(second.publish, true);
    await second.until(1);
    assert.deepEqual(second.what, ['fan {"on":true,"$version":2}']);
    second.posted[0]!.answer(0);
    post.lost();
    await post.connected(third.publish, true);
    await twins.report('pump', null, Buffer.from('{"on":true}'));
    await third.until(1);
    assert.deepEqual(third.what, ['pump {"on":true,"$version":2}']);
  });
});

test('reported properties that are refused are tried again over the same connection, ever more rarely, until they are taken', async () => {
  const MINUTE = 60_000;
  const { clock, twins, post } = rig();
  const above = new Above();
  await twins.report('fan', null, Buffer.from('{"on":true}'));
  await post.connected(above.publish, true);
  await above.until(1);
  let tries = 1;
  for (const minutes of [1, 2, 4, 8, 16, 32, 60, 60]) {
    above.posted[tries - 1]!.answer(REFUSED);
    await clock.flow(minutes * MINUTE - 1);
    assert.equal(above.posted.length, tries, `before ${minutes} minutes`);
    await clock.flow(1);
    await above.until(++tries);
  }
  // A change does not wait.
  above.posted[tries - 1]!.answer(REFUSED);
  await twins.report('fan', null, Buffer.from('{"on":false}'));
  await above.until(++tries);
  assert.equal(above.what.at(-1), 'fan {"on":false,"$version":3}');
  above.posted[tries - 1]!.answer(0);
  await clock.flow(3 * 60 * MINUTE);
  assert.equal(above.posted.length, tries);
});

describe('a twin that cannot be read', () => {
  async function damaged() {
    const { store, twins, post, said } = rig();
    await twins.report('fan', null, Buffer.from('{"on":true}'));
    await twins.report('pump', null, Buffer.from('{"on":true}'));
    store.records.set('twin/fan', Buffer.from('{"format":99}'));
    return { store, twins, post, said };
  }

  test('is said, and the others go up', async () => {
    const { post, said } = await damaged();
    const above = new Above();
    await post.connected(above.publish, false);
    await above.until(1);
    assert.deepEqual(above.what, ['pump {"on":true,"$version":2}']);
    assert.match(said.join(), /^the reported properties of fan cannot be read: the twin of fan has a format/);
  });

  test('takes no desired properties, and these do not come again and again: nothing could be acknowledged behind them', async () => {
    const { store, post, said } = await damaged();
    const desired = (child: string) =>
      post.received({ kind: 'desired', child, module: null, body: Buffer.from('{"$version":3,"speed":7}') });
    await desired('fan');
    assert.match(said.join(), /^the desired properties of fan are not taken: .* has a format/);
    // A medium that takes nothing may take it soon.
    store.fails = new Error('read-only');
    await assert.rejects(desired('pump'), /read-only/);
    await desired('pump');
  });
});

test('desired properties that find too many changes of their twin waiting come again', async () => {
  const { store, twins, post } = rig();
  store.holds = true;
  const reports = Array.from({ length: 64 }, (_, n) => twins.report('fan', null, Buffer.from(`{"n":${n}}`)));
  const desired = () =>
    post.received({ kind: 'desired', child: 'fan', module: null, body: Buffer.from('{"$version":3,"speed":7}') });
  await assert.rejects(desired(), /64 changes of this twin are waiting already/);
  store.holds = false;
  for (const write of store.waiting.splice(0)) write();
  await Promise.all(reports);
  await desired();
  assert.deepEqual({ ...twins.read('fan', null).desired }, { speed: 7, $version: 3 });
});
