import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import pino from 'pino';
import { TwinPost } from '../src/above/twin-post.ts';
import { iothubUpstream } from '../src/dialects/iothub-upstream.ts';
import type { FromAbove, UpPublication } from '../src/dialects/upstream-dialect.ts';
import type { JsonObject } from '../src/twins/patch.ts';
import { Twins } from '../src/twins/twins.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { MemoryStore } from './parts/memory-store.ts';

/*
 * The gateway's own twin where it is a device of an IoT Hub: questions and answers travel at QoS 0, and any of them may be lost or
 * cross another.
 */
const GATEWAY = 'line-5';
const dialect = iothubUpstream(GATEWAY, 'cell-5');

/** Real twins, a clock that stands, and the test as the hub. */
class Scene {
  readonly clock = new ManualClock();
  readonly store = new MemoryStore();
  readonly sent: UpPublication[] = [];
  readonly own: { readonly desired: JsonObject; readonly version: number }[] = [];
  readonly log: string[] = [];
  readonly twins: Twins;
  readonly post: TwinPost;

  constructor() {
    this.twins = new Twins({ store: this.store, changed: (change) => this.post.changed(change) });
    this.post = new TwinPost({
      gateway: GATEWAY,
      dialect,
      twins: () => Promise.resolve(this.twins),
      isOurs: () => true,
      own: (_, desired, version) => Promise.resolve(void this.own.push({ desired, version })),
      clock: this.clock,
      log: pino(
        { base: null },
        { write: (line: string) => void this.log.push((JSON.parse(line) as { msg: string }).msg) },
      ),
    });
  }

  /** True when the greeting is over. */
  connect(): { done: boolean } {
    const greeting = { done: false };
    void this.post.connected((publication) => this.sent.push(publication), true).then(() => (greeting.done = true));
    return greeting;
  }

  async hear(topic: string, body: object | null = null): Promise<void> {
    const from = dialect.heard({
      topic: `$iothub/twin/${topic}`,
      body: body === null ? Buffer.alloc(0) : Buffer.from(JSON.stringify(body)),
      qos: 0,
      retain: false,
    });
    await this.post.received(from as FromAbove & { kind: 'twin' }).catch(() => undefined);
    await settle();
  }

  patch(version: number, patch: object): Promise<void> {
    return this.hear(`PATCH/properties/desired/?$version=${version}`, patch);
  }

  /** Answers the last question about the twin. */
  answer(desired: object, reported: object = {}): Promise<void> {
    return this.hear(`res/200/?$rid=${rid(this.questions().at(-1)!)}`, { desired, reported });
  }

  questions(): UpPublication[] {
    return this.sent.filter(({ topic }) => topic.startsWith('$iothub/twin/GET/'));
  }

  reports(): UpPublication[] {
    return this.sent.filter(({ topic }) => topic.startsWith('$iothub/twin/PATCH/'));
  }

  async report(patch: object): Promise<void> {
    await this.twins.report(GATEWAY, null, Buffer.from(JSON.stringify(patch)));
    await settle();
  }
}

function rid({ topic }: UpPublication): string {
  return topic.split('$rid=')[1]!;
}

function bodyOf({ body }: UpPublication): unknown {
  return JSON.parse(body.toString());
}

/** Connected, and its twin known: desired `{a: 1}` of version 4. */
async function known(): Promise<Scene> {
  const scene = new Scene();
  const greeting = scene.connect();
  await settle();
  await scene.answer({ a: 1, $version: 4 });
  await settle();
  assert.equal(greeting.done, true);
  return scene;
}

describe("a gateway's own twin at an IoT Hub", () => {
  test('changes follow one on the other; what has been had already is nothing', async () => {
    const scene = await known();
    await Promise.all([scene.patch(5, { b: 2 }), scene.patch(6, { a: null }), scene.patch(6, { c: 3 })]);
    assert.deepEqual(
      scene.own.map(({ version }) => version),
      [4, 5, 6],
    );
    assert.deepEqual(scene.own.at(-1)?.desired, { b: 2 });
    assert.equal(scene.questions().length, 1);
  });

  test('a change that does not follow has the whole asked for', async () => {
    const scene = await known();
    await scene.patch(9, { z: 1 });
    assert.equal(scene.questions().length, 2);
    await scene.answer({ z: 1, y: 2, $version: 9 });
    await scene.patch(10, { y: null });
    assert.deepEqual(scene.own.at(-1), { desired: { z: 1 }, version: 10 });
  });

  test('one that comes while the twin is asked for does not hold up the greeting, and is not missed', async () => {
    const scene = new Scene();
    const greeting = scene.connect();
    await settle();
    await scene.patch(5, { b: 2 });
    assert.equal(scene.questions().length, 1, 'one question at a time');
    // The answer was on its way before the change was made.
    await scene.answer({ a: 1, $version: 4 });
    assert.equal(greeting.done, true);
    await scene.clock.flow(10_000);
    await scene.answer({ a: 1, b: 2, $version: 5 });
    assert.deepEqual(scene.own.at(-1), { desired: { a: 1, b: 2 }, version: 5 });
  });

  test('what was set here meanwhile hides no change from above', async () => {
    const scene = await known();
    await scene.twins.desire(GATEWAY, null, { here: true });
    await scene.twins.desire(GATEWAY, null, { here: 2 });
    await scene.patch(5, { b: 2 });
    assert.deepEqual(scene.own.at(-1)?.desired, { a: 1, b: 2 });
    assert.equal(scene.questions().length, 1);
  });

  for (const [what, status] of [
    ['that never comes', null],
    ['that says "too many"', 429],
  ] as const) {
    test(`an answer ${what} has it asked again`, async () => {
      const scene = new Scene();
      const greeting = scene.connect();
      await settle();
      if (status === null) await scene.clock.flow(10_000);
      else await scene.hear(`res/${status}/?$rid=${rid(scene.sent[0]!)}`, { errorCode: 429_001, message: 'slow down' });
      assert.equal(greeting.done, true);
      await scene.clock.flow(10_000);
      assert.equal(scene.questions().length, 2);
      await scene.answer({ a: 1, $version: 4 });
      assert.deepEqual(scene.own, [{ desired: { a: 1 }, version: 4 }]);
      scene.post.lost();
      assert.equal(scene.clock.timers, 0);
    });
  }

  test('what the medium did not take is had anew', async () => {
    const scene = await known();
    scene.store.fails = new Error('read-only');
    await scene.patch(5, { b: 2 });
    // What is tried again has nothing to follow on.
    await scene.patch(5, { b: 2 });
    scene.store.fails = new Error('read-only');
    await scene.answer({ a: 1, b: 2, $version: 5 });
    await scene.clock.flow(10_000);
    await scene.answer({ a: 1, b: 2, $version: 5 });
    assert.deepEqual(scene.own.at(-1), { desired: { a: 1, b: 2 }, version: 5 });
  });

  test('a report goes up as what is new; one without an answer, or refused for now, is made good by what the hub knows', async () => {
    const scene = await known();
    await scene.report({ holdfast: { version: '1' } });
    const [first] = scene.reports();
    assert.deepEqual(bodyOf(first!), { holdfast: { version: '1' } });
    await scene.hear(`res/204/?$rid=${rid(first!)}&$version=2`);
    await scene.report({ n: 1 });
    await scene.report({ n: 2 });
    assert.equal(scene.reports().length, 2, 'one at a time');
    await scene.clock.flow(10_000);
    assert.deepEqual(bodyOf(scene.reports().at(-1)!), { holdfast: { version: '1' }, n: 2 }, 'whole: it is not known');
    await scene.hear(`res/429/?$rid=${rid(scene.reports().at(-1)!)}`, { errorCode: 429_001 });
    await scene.clock.flow(10_000);
    await scene.answer({ a: 1, $version: 4 }, { holdfast: { version: '1' }, n: 1, old: true, $version: 7 });
    assert.deepEqual(bodyOf(scene.reports().at(-1)!), { n: 2, old: null });
    await scene.hear(`res/204/?$rid=${rid(scene.reports().at(-1)!)}&$version=8`);
    await scene.clock.flow(60_000);
    scene.post.lost();
    assert.deepEqual([scene.questions().length, scene.clock.timers], [2, 0]);
  });

  test('one that the hub refuses for good is not sent again until something changes', async () => {
    const scene = await known();
    await scene.report({ bad: 1 });
    await scene.hear(`res/400/?$rid=${rid(scene.reports()[0]!)}`, { errorCode: 400_004 });
    await scene.clock.flow(60_000);
    assert.equal(scene.reports().length, 1);
    await scene.report({ bad: null, good: 1 });
    assert.deepEqual(bodyOf(scene.reports()[1]!), { good: 1 });
    assert.equal(scene.log.length, 1);
  });
});
