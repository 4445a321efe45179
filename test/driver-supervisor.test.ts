import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackoffLimits } from '../src/drivers/backoff.ts';
import type { Driver, DriverContext } from '../src/drivers/driver.ts';
import { DriverSupervisor } from '../src/drivers/supervisor.ts';
import type { Reading } from '../src/message/message.ts';
import { Recorder } from './driver-rig.ts';
import { ManualClock, settle } from './manual-clock.ts';

const READING: Reading = { body: Buffer.from('{}') };

/** A driver that does as the test says, and what became of it. */
class Rig {
  readonly clock = new ManualClock();
  readonly heard = new Recorder();
  readonly contexts: DriverContext[] = [];
  readonly said: string[] = [];
  readonly supervisor: DriverSupervisor;
  /** What the next driver does. */
  behaviour: Partial<Driver> = {};

  constructor(
    options: {
      backoff?: BackoffLimits;
      random?: number;
      crashed?: boolean;
      onReading?: (child: string, reading: Reading) => void;
    } = {},
  ) {
    this.supervisor = new DriverSupervisor({
      child: 'c',
      kind: 'fake',
      create: (context) => {
        this.contexts.push(context);
        const { behaviour } = this;
        return {
          start: async () => {
            this.said.push('start');
            await behaviour.start?.();
          },
          stop: async () => {
            this.said.push('stop');
            await behaviour.stop?.();
          },
          ...(behaviour.lastWords && { lastWords: behaviour.lastWords }),
          ...(behaviour.command && { command: behaviour.command }),
        };
      },
      clock: this.clock,
      log: this.heard.logger,
      onReading: options.onReading ?? ((_child, reading) => void this.heard.readings.push(reading)),
      random: () => options.random ?? 0,
      afterCrash: () => options.crashed ?? false,
      ...(options.backoff && { backoff: options.backoff }),
    });
  }

  get state(): string {
    return this.supervisor.snapshot().state;
  }

  /** The latest driver's context. */
  get context(): DriverContext {
    const context = this.contexts.at(-1);
    assert.ok(context);
    return context;
  }
}

const never = (): Promise<never> => new Promise<never>(() => {});

test('a healthy driver runs, its readings are counted and handed on', async () => {
  const rig = new Rig();
  assert.equal(rig.state, 'stopped');
  await rig.supervisor.start();
  rig.clock.advance(1_000);
  rig.context.emit(READING);
  assert.deepEqual(rig.supervisor.snapshot(), {
    id: 'c',
    kind: 'fake',
    state: 'running',
    since: Date.UTC(2026, 0, 1),
    readings: 1,
    malformed: 0,
    restarts: 0,
    lastReadingAt: Date.UTC(2026, 0, 1, 0, 0, 1),
    lastError: null,
    retryInMs: null,
  });
  assert.deepEqual(rig.heard.readings, [READING]);
});

test('a start that rejects is tried again after a backoff that doubles up to its limit', async () => {
  const rig = new Rig({ random: 0.999_999 });
  rig.behaviour = { start: () => Promise.reject(new Error('no such port')) };
  await rig.supervisor.start();
  const waits: (number | null)[] = [];
  for (let attempt = 0; attempt < 9; attempt++) {
    const { state, retryInMs, lastError } = rig.supervisor.snapshot();
    assert.deepEqual([state, lastError], ['waiting', 'no such port']);
    waits.push(retryInMs);
    await rig.clock.flow(retryInMs ?? 0);
  }
  assert.deepEqual(waits, [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000]);
  assert.equal(rig.supervisor.snapshot().restarts, 9);
  assert.equal(rig.said.filter((said) => said === 'stop').length, 10);
});

test('the backoff has full jitter above its minimum', async () => {
  const waits: (number | null)[] = [];
  for (const random of [0, 0.5]) {
    const rig = new Rig({ random });
    rig.behaviour = { start: () => Promise.reject(new Error('no')) };
    await rig.supervisor.start();
    await rig.clock.flow(rig.supervisor.snapshot().retryInMs ?? 0);
    waits.push(rig.supervisor.snapshot().retryInMs);
  }
  assert.deepEqual(waits, [1_000, 2_500]);
});

test('a child may have a shorter backoff', async () => {
  const rig = new Rig({ random: 0.999_999, backoff: { minMs: 1_000, maxMs: 5_000 } });
  rig.behaviour = { start: () => Promise.reject(new Error('unplugged')) };
  await rig.supervisor.start();
  for (let attempt = 0; attempt < 20; attempt++) {
    const { retryInMs } = rig.supervisor.snapshot();
    assert.ok(retryInMs !== null && retryInMs >= 1_000 && retryInMs <= 5_000);
    await rig.clock.flow(retryInMs);
  }
});

test('a driver that fails while it runs is stopped and started again', async () => {
  const rig = new Rig();
  await rig.supervisor.start();
  rig.context.failed(new Error('gone'));
  rig.context.failed(new Error('gone again'));
  await settle();
  assert.deepEqual(rig.said, ['start', 'stop']);
  assert.deepEqual([rig.state, rig.supervisor.snapshot().lastError], ['waiting', 'gone']);
  await rig.clock.flow(1_000);
  assert.deepEqual(rig.said, ['start', 'stop', 'start']);
  assert.deepEqual([rig.state, rig.supervisor.snapshot().restarts], ['running', 1]);
});

test('a driver that fails while it starts is started again, whether its start succeeds or hangs', async () => {
  for (const then of [async () => {}, never]) {
    const rig = new Rig();
    rig.behaviour = {
      start: () => {
        rig.context.failed(new Error('early'));
        return then();
      },
    };
    await rig.supervisor.start();
    assert.deepEqual([rig.state, rig.supervisor.snapshot().lastError], ['waiting', 'early']);
  }
});

test('a start that hangs is given up after 30 s', async () => {
  const rig = new Rig();
  rig.behaviour = { start: never };
  const starting = rig.supervisor.start();
  await rig.clock.flow(29_999);
  assert.equal(rig.state, 'starting');
  await rig.clock.flow(1);
  await starting;
  assert.deepEqual([rig.state, rig.supervisor.snapshot().lastError], ['waiting', 'driver did not start within 30 s']);
});

test('a driver whose making throws is tried again', async () => {
  const heard = new Recorder();
  const clock = new ManualClock();
  const supervisor = new DriverSupervisor({
    child: 'c',
    kind: 'fake',
    create: () => {
      throw new Error('bad pattern');
    },
    clock,
    log: heard.logger,
    onReading: () => {},
  });
  await supervisor.start();
  assert.deepEqual([supervisor.snapshot().state, supervisor.snapshot().lastError], ['waiting', 'bad pattern']);
  await supervisor.stop();
  assert.deepEqual([supervisor.snapshot().state, clock.timers], ['stopped', 0]);
});

test('an exception in a timer of the driver is its failure, not the end of the process', async () => {
  const rig = new Rig();
  for (const [ask, throws] of [
    ['after', () => assert.fail('in a timer')],
    ['every', () => assert.fail('in an interval')],
    ['after', (() => Promise.reject(new Error('later, in a timer'))) as unknown as () => void],
  ] as const) {
    await rig.supervisor.start();
    rig.context.clock[ask](10, throws);
    await rig.clock.flow(10);
    assert.equal(rig.state, 'waiting');
    assert.match(rig.supervisor.snapshot().lastError ?? '', /in a(n interval| timer)/);
    await rig.supervisor.stop();
    assert.equal(rig.clock.timers, 0);
  }
});

test('a minute of health makes the next failure a first one', async () => {
  const rig = new Rig({ random: 0.999_999 });
  await rig.supervisor.start();
  const failAfter = async (ms: number): Promise<number | null> => {
    await rig.clock.flow(ms);
    rig.context.failed(new Error('gone'));
    await settle();
    const { retryInMs } = rig.supervisor.snapshot();
    await rig.clock.flow(retryInMs ?? 0);
    return retryInMs;
  };
  assert.deepEqual([await failAfter(0), await failAfter(59_000), await failAfter(60_000)], [2_000, 4_000, 2_000]);
});

test('a stop that hangs is abandoned after 5 s with a line in the log, and what it says later is ignored', async () => {
  const rig = new Rig();
  rig.behaviour = { stop: never };
  await rig.supervisor.start();
  const abandoned = rig.context;
  const stopping = rig.supervisor.stop();
  await rig.clock.flow(4_999);
  const late = { stopped: false };
  void stopping.then(() => {
    late.stopped = true;
  });
  await settle();
  assert.equal(late.stopped, false);
  await rig.clock.flow(1);
  await stopping;
  assert.ok(rig.heard.log.some(({ msg }) => msg.includes('abandoned')));
  abandoned.emit(READING);
  abandoned.malformed('late', 'x');
  abandoned.failed(new Error('late'));
  abandoned.finished('late');
  await settle();
  const { state, readings, malformed, lastError } = rig.supervisor.snapshot();
  assert.deepEqual(
    { state, readings, malformed, lastError },
    { state: 'stopped', readings: 0, malformed: 0, lastError: null },
  );
  assert.deepEqual(rig.heard.readings, []);
});

test('a stop waits neither for a start that hangs nor for a backoff', async () => {
  const rig = new Rig();
  rig.behaviour = { start: never };
  void rig.supervisor.start();
  await settle();
  await rig.supervisor.stop();
  assert.deepEqual([rig.state, rig.said], ['stopped', ['start', 'stop']]);
  rig.behaviour = { start: () => Promise.reject(new Error('no')) };
  await rig.supervisor.start();
  assert.equal(rig.state, 'waiting');
  await rig.supervisor.stop();
  await rig.clock.flow(120_000);
  assert.deepEqual([rig.state, rig.supervisor.snapshot().retryInMs], ['stopped', null]);
});

test('overlapping calls happen one after the other', async () => {
  const rig = new Rig();
  const running = new Set<string>();
  const alone = (name: string) => async (): Promise<void> => {
    assert.equal(running.size, 0, `${name} during ${[...running].join()}`);
    running.add(name);
    await settle();
    running.delete(name);
  };
  rig.behaviour = { start: alone('start'), stop: alone('stop') };
  await rig.supervisor.start();
  await Promise.all([
    rig.supervisor.start(),
    rig.supervisor.restart(),
    rig.supervisor.stop(),
    rig.supervisor.start(),
    rig.supervisor.restart(),
    rig.supervisor.start(),
  ]);
  assert.equal(rig.state, 'running');
  await Promise.all([rig.supervisor.restart(), rig.supervisor.stop()]);
  assert.equal(rig.state, 'stopped');
});

test('restart ends a wait at once', async () => {
  const rig = new Rig();
  rig.behaviour = { start: () => Promise.reject(new Error('no')) };
  await rig.supervisor.start();
  rig.behaviour = {};
  await rig.supervisor.restart();
  assert.deepEqual([rig.state, rig.supervisor.snapshot().retryInMs], ['running', null]);
  await rig.clock.flow(120_000);
  assert.equal(rig.said.filter((said) => said === 'start').length, 2);
});

test('a finished driver stays finished and still takes commands, until it is restarted', async () => {
  const rig = new Rig();
  rig.behaviour = { command: async (name) => ({ status: 200, payload: name }) };
  await rig.supervisor.start();
  rig.context.finished('that was all');
  await rig.clock.flow(120_000);
  assert.equal(rig.state, 'finished');
  assert.deepEqual(await rig.supervisor.command('reset', null), { status: 200, payload: 'reset' });
  await rig.supervisor.restart();
  assert.equal(rig.state, 'running');
});

test('a driver may finish before its start is over', async () => {
  const rig = new Rig();
  rig.behaviour = { start: async () => rig.context.finished('nothing to say') };
  await rig.supervisor.start();
  assert.equal(rig.state, 'finished');
});

test('commands are answered whatever the driver does', async () => {
  const rig = new Rig();
  assert.deepEqual(await rig.supervisor.command('x', null), { status: 503, payload: { error: 'c is stopped' } });
  await rig.supervisor.start();
  assert.equal((await rig.supervisor.command('x', null)).status, 404);
  rig.behaviour = { command: () => Promise.reject(new Error('jammed')) };
  await rig.supervisor.restart();
  assert.deepEqual(await rig.supervisor.command('x', null), { status: 500, payload: { error: 'jammed' } });
  assert.equal(rig.state, 'running');
  rig.behaviour = { start: () => Promise.reject(new Error('unplugged')) };
  await rig.supervisor.restart();
  assert.deepEqual(await rig.supervisor.command('x', null), {
    status: 503,
    payload: { error: 'c is waiting: unplugged' },
  });
});

test('a command reaches the driver with its id, where it has one', async () => {
  const rig = new Rig();
  rig.behaviour = { command: async (name, payload, id) => ({ status: 200, payload: [name, payload, id] }) };
  await rig.supervisor.start();
  assert.deepEqual((await rig.supervisor.command('x', 1, 'm/t/0')).payload, ['x', 1, 'm/t/0']);
  assert.deepEqual((await rig.supervisor.command('x', 1)).payload, ['x', 1, undefined]);
});

test('a receiver that throws does not hurt the driver', async () => {
  const rig = new Rig({
    onReading: () => {
      throw new Error('spool is closed');
    },
  });
  await rig.supervisor.start();
  rig.context.emit(READING);
  assert.equal(rig.state, 'running');
  assert.ok(rig.heard.log.some(({ msg }) => msg === 'a reading was not taken'));
});

test('the same failure over and over is logged now and then only', async () => {
  const rig = new Rig({ backoff: { minMs: 1_000, maxMs: 5_000 } });
  rig.behaviour = { start: () => Promise.reject(new Error('unplugged')) };
  await rig.supervisor.start();
  await rig.clock.flow(1_100_000);
  assert.equal(rig.heard.log.filter(({ level, msg }) => level >= 40 && msg === 'driver failed').length, 2);
});

test('malformed input is counted; the log has the first, then at most one line each 10 s', async () => {
  const rig = new Rig();
  await rig.supervisor.start();
  const lines = (): unknown[] =>
    rig.heard.log.filter(({ level }) => level === 40).map(({ why, sample, msg, child }) => [why, sample, msg, child]);
  const buffer = Buffer.from('reused\xff\n', 'latin1');
  rig.context.malformed('first', buffer);
  rig.context.malformed('second', buffer);
  rig.context.malformed('third', buffer);
  buffer.fill('?');
  assert.deepEqual(lines(), [['first', 'reused\\xff\\x0a', 'malformed input', 'c']]);
  await rig.clock.flow(10_000);
  assert.deepEqual(lines().slice(1), [['third', 'reused\\xff\\x0a', 'malformed input, and 1 more', 'c']]);
  await rig.clock.flow(20_000);
  rig.context.malformed('fourth', 'y'.repeat(1_000));
  assert.deepEqual(lines().slice(2), [['fourth', `${'y'.repeat(77)}...`, 'malformed input', 'c']]);
  rig.context.malformed('fifth', 'z');
  await rig.supervisor.stop();
  assert.deepEqual(lines().slice(3), [['fifth', 'z', 'malformed input', 'c']]);
  assert.equal(rig.supervisor.snapshot().malformed, 5);
  assert.equal(rig.clock.timers, 0);
});

test('a driver is told whether what ran before it failed, or crashed with the process', async () => {
  for (const crashed of [false, true]) {
    const rig = new Rig({ crashed });
    await rig.supervisor.start();
    rig.context.failed(new Error('gone'));
    await settle();
    await rig.clock.flow(60_000);
    await rig.supervisor.restart();
    assert.deepEqual(
      rig.contexts.map(({ afterFailure }) => afterFailure),
      [crashed, true, false],
    );
    await rig.supervisor.stop();
  }
});

test('a driver that is stopped has a last word, and one that failed has none', async () => {
  const rig = new Rig();
  rig.behaviour = {
    lastWords: () => {
      rig.said.push('last words');
      rig.context.emit(READING);
    },
  };
  await rig.supervisor.start();
  rig.context.failed(new Error('gone'));
  await settle();
  assert.deepEqual(rig.heard.readings.length, 0);
  await rig.supervisor.restart();
  await rig.supervisor.stop();
  assert.equal(rig.heard.readings.length, 1);
  assert.deepEqual(rig.said, ['start', 'stop', 'start', 'last words', 'stop']);
});
