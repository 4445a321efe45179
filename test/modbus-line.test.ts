import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ModbusLine, type ModbusLineError } from '../src/drivers/modbus/line.ts';
import { framed, readRequest } from '../src/drivers/modbus/pdu.ts';
import { Unanswered } from '../src/drivers/modbus/unanswered.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { fc } from './parts/properties.ts';

const LINE = { baudRate: 115_200, dataBits: 8, parity: 'none', stopBits: 1 } as const;
const UNIT = 5;
/** What a register holds, besides its address. */
const BASE = 1000;

/** When a slave answers: the requests that came so far, each with the time at which it came; ms. Undefined: never. */
type Delay = (nth: number) => number | undefined;

/**
 * A slave whose answers take their time: `queued`, it begins with a request when it has answered the one before; otherwise
 * each is as late as the way there and back is long. Answers keep their order.
 */
class SlowSlave {
  readonly #clock: ManualClock;
  readonly #delay: Delay;
  readonly #queued: boolean;
  readonly #copies: number;
  #requests = 0;
  #answeredAt = 0;
  answer: (bytes: Buffer) => void = () => undefined;

  constructor(clock: ManualClock, delay: Delay, queued: boolean, copies = 1) {
    this.#clock = clock;
    this.#delay = delay;
    this.#queued = queued;
    this.#copies = copies;
  }

  async take(frame: Buffer): Promise<void> {
    const now = this.#clock.monotonic();
    const delay = this.#delay(this.#requests++);
    if (frame[0] !== UNIT || delay === undefined) return;
    const from = this.#queued ? Math.max(now, this.#answeredAt) : now;
    this.#answeredAt = Math.max(from + delay, this.#answeredAt);
    const [address, count] = [frame.readUInt16BE(2), frame.readUInt16BE(4)];
    const pdu = Buffer.alloc(2 + 2 * count);
    pdu.writeUInt8(frame[1]!);
    pdu.writeUInt8(2 * count, 1);
    for (let n = 0; n < count; n++) pdu.writeUInt16BE(BASE + address + n, 2 + 2 * n);
    for (let copy = 0; copy < this.#copies; copy++) {
      this.#clock.after(this.#answeredAt - now + copy, () => this.answer(framed(UNIT, pdu)));
    }
  }
}

interface Rig {
  readonly clock: ManualClock;
  readonly line: ModbusLine;
}

async function rig(make: (clock: ManualClock) => SlowSlave): Promise<Rig> {
  const clock = new ManualClock();
  const slave = make(clock);
  const line = await ModbusLine.open(
    { ...LINE, reopenAfterMs: 1e9 },
    clock,
    async (events) => {
      slave.answer = (bytes) => events.bytes(bytes);
      return { write: (frame: Buffer) => slave.take(frame), close: async () => undefined };
    },
    () => undefined,
  );
  return { clock, line };
}

interface Asked {
  readonly address: number;
  readonly count?: number;
}

/** What came of asking: the first register's value, or why there is none. */
async function ask(
  { clock, line }: Rig,
  { address, count = 1 }: Asked,
  patience: { timeoutMs: number; retries: number },
) {
  let ended: { value: number } | { error: ModbusLineError } | null = null;
  const from = clock.monotonic();
  line.request(UNIT, readRequest('holding', address, count), patience).then(
    (answer) => (ended = { value: 'data' in answer ? answer.data.readUInt16BE() : Number.NaN }),
    (error: ModbusLineError) => (ended = { error }),
  );
  for (let steps = 0; ended === null; steps++) {
    assert.ok(steps < 100_000, 'it never ends');
    await clock.flow(10);
  }
  await settle();
  return { ...(ended as { value?: number; error?: ModbusLineError }), tookMs: clock.monotonic() - from };
}

async function values(on: Rig, asked: readonly Asked[], patience: { timeoutMs: number; retries: number }) {
  const found: { right: number; failed: number; wrong: string[] } = { right: 0, failed: 0, wrong: [] };
  for (const each of asked) {
    const { value } = await ask(on, each, patience);
    if (value === undefined) found.failed++;
    else if (value === BASE + each.address) found.right++;
    else found.wrong.push(`${each.address} says ${value}`);
  }
  return found;
}

const PATIENCE = { timeoutMs: 300, retries: 1 };
const ROUND: readonly Asked[] = [1, 21, 41].map((address) => ({ address }));
const rounds = (count: number) => Array.from({ length: count }, () => ROUND).flat();

describe('a slave that is late', () => {
  for (const queued of [true, false]) {
    for (const ms of [280, 310, 320, 450, 600, 800, 1200, 2000]) {
      test(`by ${ms} ms, ${queued ? 'one after the other' : 'on a long way'}: no answer is taken for another's`, async () => {
        const on = await rig((clock) => new SlowSlave(clock, () => ms, queued));
        const { right, failed, wrong } = await values(on, rounds(4), PATIENCE);
        assert.deepEqual(wrong, []);
        if (ms < PATIENCE.timeoutMs) assert.equal(right, 12);
        // It is asked twice, and the first answer is one to the same question; once it is known to be late it is not hurried.
        if (ms < 2 * PATIENCE.timeoutMs) assert.ok(failed <= 1, `${failed} failed`);
        if (ms > 310) assert.ok(on.line.lateMs(UNIT) > 0, 'it is not said to be late');
      });
    }
  }

  test("now and then, by any time, with answers that never come: none is taken for another's", async () => {
    const delays = fc.array(
      fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 5, max: 290 }) },
        { weight: 2, arbitrary: fc.integer({ min: 290, max: 1200 }) },
        { weight: 1, arbitrary: fc.constant(undefined) },
      ),
      { minLength: 40, maxLength: 40 },
    );
    await fc.assert(
      fc.asyncProperty(delays, fc.boolean(), async (list, queued) => {
        const on = await rig((clock) => new SlowSlave(clock, (nth) => list[nth % list.length], queued));
        assert.deepEqual((await values(on, rounds(4), PATIENCE)).wrong, []);
      }),
      { numRuns: process.env['HOLDFAST_TEST_LONG'] === '1' ? 3000 : 40 },
    );
  });

  test('an answer of another length is believed at once', async () => {
    const late = [700, 20];
    const on = await rig((clock) => new SlowSlave(clock, (nth) => late[nth] ?? 20, false));
    assert.equal((await ask(on, { address: 1 }, { timeoutMs: 300, retries: 0 })).error?.reason, 'timeout');
    const { value, tookMs } = await ask(on, { address: 21, count: 2 }, PATIENCE);
    assert.deepEqual([value, tookMs < 450], [BASE + 21, true]);
  });
});

describe('a slave that is prompt', () => {
  test('and misses a request is asked again, and only the next two take longer', async () => {
    const on = await rig((clock) => new SlowSlave(clock, (nth) => (nth === 6 ? undefined : 20), true));
    assert.equal((await values(on, rounds(2), PATIENCE)).right, 6);
    const missed = await ask(on, { address: 1 }, PATIENCE);
    assert.deepEqual([missed.value, missed.tookMs < 400], [BASE + 1, true]);
    const next = await ask(on, { address: 21 }, PATIENCE);
    assert.deepEqual([next.value, next.tookMs < 500], [BASE + 21, true], `${next.tookMs} ms`);
    // Once more, to be sure; then it is as it was.
    await ask(on, { address: 41 }, PATIENCE);
    const then = await ask(on, { address: 1 }, PATIENCE);
    assert.deepEqual([then.value, then.tookMs < 50], [BASE + 1, true]);
    assert.equal(on.line.lateMs(UNIT), 0);
  });

  test('and was away for long is read again after little more than the time between two requests', async () => {
    let there = true;
    const on = await rig((clock) => new SlowSlave(clock, () => (there ? 20 : undefined), true));
    await values(on, rounds(2), PATIENCE);
    there = false;
    for (const { address } of rounds(8)) assert.equal((await ask(on, { address }, PATIENCE)).error?.reason, 'timeout');
    there = true;
    const { value, tookMs } = await ask(on, { address: 21 }, PATIENCE);
    assert.equal(value, BASE + 21);
    assert.ok(tookMs < 1500, `${tookMs} ms`);
    assert.deepEqual(await values(on, rounds(4), PATIENCE), { right: 12, failed: 0, wrong: [] });
  });

  test('but answers everything twice, is read; also after it was late', async () => {
    let ms = 20;
    const on = await rig((clock) => new SlowSlave(clock, () => ms, true, 2));
    assert.deepEqual(await values(on, rounds(2), PATIENCE), { right: 6, failed: 0, wrong: [] });
    ms = 700;
    assert.deepEqual((await values(on, rounds(1), PATIENCE)).wrong, []);
    ms = 20;
    await on.clock.flow(5000);
    assert.deepEqual(await values(on, rounds(2), PATIENCE), { right: 6, failed: 0, wrong: [] });
  });
});

test('while a late unit rests the others are asked', async () => {
  const on = await rig((clock) => new SlowSlave(clock, () => 700, true));
  const { clock, line } = on;
  await ask(on, { address: 1 }, PATIENCE);
  const asked: string[] = [];
  const late = line.request(UNIT, readRequest('holding', 21, 1), PATIENCE).then(
    () => asked.push('late'),
    () => asked.push('late'),
  );
  const other = line
    .request(9, readRequest('holding', 1, 1), { timeoutMs: 50, retries: 0 })
    .catch(({ reason }: ModbusLineError) => asked.push(`other: ${reason}`));
  for (let n = 0; n < 2000 && asked.length < 2; n++) await clock.flow(10);
  await Promise.all([late, other]);
  assert.deepEqual(asked, ['other: timeout', 'late']);
});

test('on a line that is never quiet a request ends, and says what is heard', async () => {
  const clock = new ManualClock();
  let hear = (_bytes: Buffer): void => undefined;
  const sent: Buffer[] = [];
  const slave = new SlowSlave(clock, () => 20, false);
  const line = await ModbusLine.open(
    LINE,
    clock,
    async (events) => {
      hear = slave.answer = (bytes) => events.bytes(bytes);
      const write = async (frame: Buffer): Promise<void> => {
        sent.push(frame);
        await slave.take(frame);
      };
      return { write, close: async () => undefined };
    },
    () => undefined,
  );
  const babble = clock.every(1, () => hear(Buffer.from('U')));
  const error = await ask({ clock, line }, { address: 1 }, PATIENCE).then((ended) => ended.error);
  assert.match(error?.message ?? '', /^unit 5 cannot be asked: the line is never quiet$/);
  assert.deepEqual([error?.reason, sent.length, error?.sample.toString().slice(0, 3)], ['garbled', 0, 'UUU']);
  babble.cancel();
  assert.equal((await ask({ clock, line }, { address: 1 }, PATIENCE)).value, BASE + 1);
  await line.close();
});

test('a line on which a second master asks the same unit does not make more and more be remembered', () => {
  const unanswered = new Unanswered();
  const old = readRequest('input', 1, 1);
  const answer = { data: Buffer.alloc(2) };
  unanswered.missed(old, 0, 1000);
  assert.equal(
    unanswered.believes(readRequest('input', 2, 1), 1, answer, 1),
    false,
    'as long as it may be of the other',
  );
  // Each is doubted, since something comes all the time, and none is overdue.
  for (let at = 2; at < 1000; at++) unanswered.missed(readRequest('holding', at, 1), at, 1000);
  assert.equal(unanswered.believes(readRequest('input', 3, 1), 1000, answer, 1000), true);
});
