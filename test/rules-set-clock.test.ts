import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pino } from 'pino';
import { ModulesSchema } from '../src/config/modules.ts';
import type { Message } from '../src/message/message.ts';
import { Modules } from '../src/rules/modules.ts';
import { ManualClock } from './manual-clock.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const COUNT = 'SELECT COUNT(*) AS c INTO out FROM input TIMESTAMP BY t GROUP BY TumblingWindow(minute, 1)';

/** A module of which each event says its time, by a clock that is right. */
class Stage {
  readonly clock = new ManualClock();
  readonly out: { readonly at: number; readonly body: string }[] = [];
  readonly modules: Modules;

  constructor(onLate: 'adjust' | 'drop') {
    const { clock, out } = this;
    this.modules = new Modules({
      modules: ModulesSchema.parse([{ id: 'm', query: COUNT, onLate }]),
      clock,
      log: pino({ level: 'silent' }),
      quotaBytes: () => 2 ** 30,
      put: ({ eventTime, body }) => void out.push({ at: eventTime!, body: body.toString() }),
      order: () => assert.fail('no output gives orders'),
      touch: () => undefined,
    });
  }

  /** An event every ten seconds. */
  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10 * SECOND) {
      await this.clock.flow(10 * SECOND);
      const body = Buffer.from(JSON.stringify({ t: new Date(this.clock.wall()).toISOString() }));
      const acceptedAt = { monotonic: this.clock.monotonic() };
      this.modules.feed({ body, hops: 0, acceptedAt } as unknown as Message, [{ module: 'm', input: 'input' }]);
    }
  }

  get counted(): readonly number[] {
    const { late, early, unordered } = this.modules.status()[0]!;
    return [late, early, unordered];
  }
}

describe('a clock that is set while rules run', () => {
  for (const minutes of [-0.5, -90, 0.5, 90]) {
    test(`by ${minutes} min: after an hour events are by their own time again`, async () => {
      const stage = new Stage('drop');
      await stage.modules.start([]);
      await stage.run(HOUR);
      assert.equal(stage.out.length, 59);
      stage.clock.setWall(stage.clock.wall() + minutes * 60 * SECOND);
      await stage.run(HOUR + 3 * 60 * SECOND);
      const { counted } = stage;
      stage.out.splice(0);
      await stage.run(HOUR);
      assert.deepEqual(stage.counted, counted, 'nothing is late, early or out of order any more');
      assert.equal(stage.out.length, 60);
      assert.ok(stage.out.every(({ body }) => body === '{"c":6}'));
      assert.ok(stage.clock.wall() - stage.out.at(-1)!.at < 120 * SECOND);
      await stage.modules.stop();
    });
  }

  test('and is put right again soon: it was never followed', async () => {
    const stage = new Stage('adjust');
    await stage.modules.start([]);
    await stage.run(10 * 60 * SECOND);
    stage.clock.setWall(stage.clock.wall() - 24 * HOUR);
    await stage.clock.flow(HOUR / 2);
    stage.clock.setWall(stage.clock.wall() + 24 * HOUR);
    await stage.run(2 * HOUR);
    assert.deepEqual(stage.counted, [0, 0, 0]);
    await stage.modules.stop();
  });
});

test('what was accepted before a process stood still arrived then, and counts in the window of then', async () => {
  const clock = new ManualClock();
  const ends: number[] = [];
  const modules = new Modules({
    modules: ModulesSchema.parse([
      { id: 'm', query: 'SELECT COUNT(*) AS c INTO out FROM input GROUP BY TumblingWindow(minute, 1)' },
    ]),
    clock,
    log: pino({ level: 'silent' }),
    quotaBytes: () => 2 ** 30,
    put: ({ eventTime }) => void ends.push(eventTime!),
    order: () => assert.fail('no output gives orders'),
    touch: () => undefined,
  });
  await modules.start([]);
  const minute = 60 * SECOND;
  // Just before the end of a minute of the clock.
  await clock.flow(minute - (clock.wall() % minute) - 10);
  const end = clock.wall() + 10;
  const acceptedAt = { monotonic: clock.monotonic() };
  clock.advance(100);
  const body = Buffer.from('{}');
  modules.feed({ body, hops: 0, acceptedAt } as unknown as Message, [{ module: 'm', input: 'input' }]);
  await clock.flow(2 * minute);
  assert.deepEqual(ends, [end]);
});
