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
  const twins = new Twins({
    store: new MemoryStore(),
    changed: (change) => post.changed(change),
    forgotten: (child, module) => post.forgotten(child, module),
  });
  const post: TwinPost = new TwinPost({
    gateway: 'line-4',
    dialect: holdfastUpstream('line-4'),
    twins: () => Promise.resolve(twins),
    isOurs: () => true,
    own: () => Promise.resolve(),
    clock: new ManualClock(),
    log: pino({ enabled: false }),
  });
  return { twins, post };
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
