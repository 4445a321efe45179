import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { Pen } from '../src/hub/pen.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryStore } from './parts/memory-store.ts';

test('a letter that comes and goes while the medium takes nothing leaves nothing to be written', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore();
  let changes: readonly (readonly [string, Buffer | null])[] = [];
  let failing = true;
  const pen = new Pen(
    {
      get: (name) => store.get(name),
      names: (prefix) => store.names(prefix),
      put: async (all) => {
        changes = all;
        if (!failing) return store.put(all);
        // As a card does, after a while.
        await new Promise<void>((resolve) => clock.after(50, resolve));
        throw new Error('EIO');
      },
    },
    clock,
    pino({ level: 'silent' }),
  );
  store.records.set('letter/of before', Buffer.from('x'));
  pen.withdraw('letter/of before');
  let told = 0;
  for (let number = 0; number < 50; number++) {
    void pen.set(`letter/${number}`, Buffer.from('x')).then(() => told++);
    await clock.flow(10);
    // Its client acknowledges it while it is being written.
    pen.withdraw(`letter/${number}`);
    await clock.flow(500);
  }
  void pen.set('letter/kept', Buffer.from('y'));
  await clock.flow(500);
  assert.deepEqual(changes.map(([name]) => name).toSorted(), ['letter/kept', 'letter/of before']);
  assert.equal(told, 50, 'who brought them hears that they are delivered');
  failing = false;
  await clock.flow(2000);
  assert.deepEqual([...store.records.keys()], ['letter/kept']);
});
