import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { changeNotice, presenceNotice } from '../src/twins/notice.ts';
import { Twins, type TwinChange } from '../src/twins/twins.ts';
import { MemoryStore } from './parts/memory-store.ts';

function fresh(store = new MemoryStore()): { twins: Twins; store: MemoryStore; changes: TwinChange[] } {
  const changes: TwinChange[] = [];
  return { twins: new Twins({ store, changed: (change) => changes.push(change) }), store, changes };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** What a twin says, without prototypes. */
function shown(twins: Twins, child: string, module: string | null = null): unknown {
  return JSON.parse(JSON.stringify(twins.read(child, module)));
}

describe('a twin', () => {
  test('that nobody has changed is empty, with version 1 on both sides', () => {
    const { twins, store } = fresh();
    assert.deepEqual(shown(twins, 'd'), { desired: { $version: 1 }, reported: { $version: 1 } });
    assert.equal(store.puts, 0);
  });

  test('each side counts its own changes; null deletes; it is there after a restart', async () => {
    const { twins, store } = fresh();
    assert.deepEqual(await twins.report('d', null, json({ a: 1, b: { c: 2, d: 3 } })), { version: 2 });
    assert.deepEqual(await twins.report('d', null, json({ a: null, b: { c: null } })), { version: 3 });
    assert.deepEqual(await twins.desire('d', null, { speed: 5 }), { version: 2 });
    const expected = { desired: { speed: 5, $version: 2 }, reported: { b: { d: 3 }, $version: 3 } };
    assert.deepEqual(shown(twins, 'd'), expected);
    assert.deepEqual(shown(fresh(store).twins, 'd'), expected);
  });

  test('a patch that changes nothing is no change, and costs no write', async () => {
    const { twins, store, changes } = fresh();
    await twins.report('d', null, json({ a: { b: 1 } }));
    const { puts } = store;
    assert.deepEqual(await twins.report('d', null, json({ a: { b: 1 }, gone: null })), { version: 2 });
    assert.deepEqual([store.puts, changes.length], [puts, 1]);
  });

  test("a module's is its own", async () => {
    const { twins } = fresh();
    await twins.report('d', 'm', json({ a: 1 }));
    assert.deepEqual(shown(twins, 'd'), { desired: { $version: 1 }, reported: { $version: 1 } });
    assert.deepEqual(shown(twins, 'd', 'm'), { desired: { $version: 1 }, reported: { a: 1, $version: 2 } });
  });

  test('is told of when it is durable, in order, with what has changed', async () => {
    const { twins, store, changes } = fresh();
    store.holds = true;
    const all = [twins.report('d', null, json({ a: 1 })), twins.report('d', null, json({ a: 1, b: 2 }))];
    await new Promise(setImmediate);
    assert.deepEqual([store.waiting.length, changes.length], [1, 0]);
    assert.deepEqual(shown(twins, 'd'), { desired: { $version: 1 }, reported: { $version: 1 } });
    store.waiting.shift()!();
    await new Promise(setImmediate);
    assert.deepEqual([store.waiting.length, changes.length], [1, 1]);
    store.waiting.shift()!();
    assert.deepEqual(await Promise.all(all), [{ version: 2 }, { version: 3 }]);
    const told = changes.map(({ version, patch }) => [version, JSON.stringify(patch)]);
    assert.deepEqual(told, [
      [2, '{"a":1}'],
      [3, '{"b":2}'],
    ]);
  });

  test('that the medium does not take is as it was, and says so', async () => {
    const { twins, store, changes } = fresh();
    store.fails = new Error('no space');
    const failed = await twins.report('d', null, json({ a: 1 }));
    assert.deepEqual(failed, { status: 500, errorCode: 500_001, message: 'the twin could not be kept: no space' });
    assert.equal(changes.length, 0);
    assert.deepEqual(await twins.report('d', null, json({ b: 1 })), { version: 2 });
    assert.deepEqual(shown(twins, 'd'), { desired: { $version: 1 }, reported: { b: 1, $version: 2 } });
  });

  test('more changes than may wait are refused, and only those', async () => {
    const { twins, store } = fresh();
    store.holds = true;
    const all = Array.from({ length: 70 }, (_, at) => twins.report('d', null, json({ at })));
    const other = twins.report('e', null, json({ at: 0 }));
    store.holds = false;
    await new Promise(setImmediate);
    for (const resolve of store.waiting.splice(0)) resolve();
    const statuses = (await Promise.all(all)).map((answer) => ('status' in answer ? answer.status : 0));
    assert.deepEqual(
      [statuses.filter((status) => status === 0).length, statuses.filter((status) => status === 429).length],
      [64, 6],
    );
    assert.deepEqual(await other, { version: 2 });
    assert.deepEqual(await twins.report('d', null, json({ at: -1 })), { version: 66 });
  });

  test('of 32 KB is full', async () => {
    const { twins } = fresh();
    const parts = Object.fromEntries(Array.from({ length: 8 }, (_, at) => [`${at}`, 'x'.repeat(4095)]));
    assert.deepEqual(await twins.report('d', null, json(parts)), { version: 2 });
    const answer = await twins.report('d', null, json({ 8: true }));
    assert.ok('errorCode' in answer);
    assert.deepEqual([answer.status, answer.errorCode], [413, 413_001]);
    assert.deepEqual(await twins.report('d', null, json({ 0: null, 8: true })), { version: 3 });
  });

  const NOT_TAKEN: readonly (readonly [body: string, errorCode: number])[] = [
    ['', 400_006],
    ['{', 400_006],
    ['{"a":"\xff"}', 400_006],
    ['[]', 400_004],
    ['null', 400_004],
    ['{"a.b":1}', 400_004],
    ['{"a":9007199254740993}', 400_004],
  ];
  for (const [body, errorCode] of NOT_TAKEN) {
    test(`${JSON.stringify(body)} is not taken, with a code that the SDK understands`, async () => {
      const answer = await fresh().twins.report('d', null, Buffer.from(body, 'latin1'));
      assert.ok('errorCode' in answer);
      assert.deepEqual([answer.status, answer.errorCode], [400, errorCode]);
    });
  }

  test('desired properties are replaced as a whole; what is gone is deleted in the patch that goes to the child', async () => {
    const { twins, changes } = fresh();
    await twins.desire('d', null, { a: 1, b: { c: 1, d: 2 } });
    assert.deepEqual(await twins.replaceDesired('d', null, { b: { c: 1 }, e: 5, $version: 1 }), { version: 3 });
    assert.equal(JSON.stringify(changes.at(-1)?.patch), '{"a":null,"b":{"d":null},"e":5}');
  });

  test('what was set here gives way to what comes from above, whatever the numbers', async () => {
    const { twins } = fresh();
    await twins.desire('d', null, { a: 1 });
    await twins.desire('d', null, { a: 2 });
    assert.deepEqual(await twins.replaceDesired('d', null, { a: 9 }, 1), { version: 4 });
    assert.deepEqual(await twins.replaceDesired('d', null, { a: 8 }, 1), { version: 4 });
    assert.deepEqual(await twins.replaceDesired('d', null, { a: 7 }, 20), { version: 20 });
    assert.deepEqual(shown(twins, 'd'), { desired: { a: 7, $version: 20 }, reported: { $version: 1 } });
  });

  test('of what comes from above, only a later version is taken', async () => {
    const { twins, changes } = fresh();
    assert.deepEqual(await twins.replaceDesired('d', null, { a: 1 }, 9), { version: 9 });
    assert.deepEqual(await twins.replaceDesired('d', null, { a: 2 }, 9), { version: 9 });
    assert.deepEqual(await twins.replaceDesired('d', null, { a: 3 }, 4), { version: 9 });
    assert.deepEqual(await twins.replaceDesired('d', null, { a: 1 }, 10), { version: 10 });
    assert.equal(changes.length, 1);
    assert.deepEqual(shown(twins, 'd'), { desired: { a: 1, $version: 10 }, reported: { $version: 1 } });
  });

  test("is forgotten with its modules', and not with one that begins like it", async () => {
    const { twins, store } = fresh();
    await Promise.all(
      ['d', 'd2'].flatMap((child) => [null, 'm'].map((module) => twins.report(child, module, json({ a: 1 })))),
    );
    await twins.report('d', 'n', json({ a: 1 }));
    await twins.forget('d', 'n');
    assert.deepEqual(store.names('twin/'), ['twin/d', 'twin/d/m', 'twin/d2', 'twin/d2/m']);
    const late = twins.report('d', null, json({ b: 1 }));
    await twins.forget('d', null);
    await late;
    assert.deepEqual(store.names('twin/'), ['twin/d2', 'twin/d2/m']);
  });

  test('in a form of a later release is not overwritten', async () => {
    const store = new MemoryStore();
    const record = Buffer.from('{"format":2}');
    store.records.set('twin/d', record);
    const answer = await fresh(store).twins.report('d', null, json({ a: 1 }));
    assert.equal('status' in answer && answer.status, 500);
    assert.equal(store.get('twin/d'), record);
  });
});

describe('a notice', () => {
  test('of what a child reported is the patch, from the hub, and names the child', () => {
    const change = { child: 'd', module: 'm', side: 'reported', version: 2, patch: { a: null } } as const;
    const notice = changeNotice('line-4', change);
    assert.deepEqual(
      { ...notice, body: notice?.body.toString() },
      {
        source: { child: 'line-4', module: '$edgeHub' },
        body: '{"a":null}',
        contentType: 'application/json',
        contentEncoding: 'utf-8',
        properties: {
          messageType: 'twinChangeNotification',
          messageSchema: 'twinChangeNotification',
          rpSenderDeviceId: 'd',
          rpSenderModuleId: 'm',
        },
      },
    );
    assert.equal(changeNotice('line-4', { ...change, side: 'desired' }), null);
  });

  test('of who has come or gone', () => {
    const { body, properties } = presenceNotice('line-4', 'd', null, false, 0);
    const client = { status: 'Disconnected', lastDisconnectedTimeUtc: '1970-01-01T00:00:00.000Z' };
    assert.deepEqual(JSON.parse(body.toString()), { clients: { d: client } });
    assert.deepEqual([properties['rpSenderDeviceId'], properties['rpSenderModuleId']], ['line-4', '$edgeHub']);
  });
});
