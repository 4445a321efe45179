import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test, type TestContext } from 'node:test';
import { droppedOf } from '../src/spool/ledger.ts';
import { fieldWorld, type FieldWorld } from './parts/field-clock.ts';
import type { Testimony } from './parts/field-clock-witness.ts';
import type { DayResult, DaySaid, Happening } from './parts/field-day.ts';
import { BEHIND_MS } from './parts/field-plan.ts';
import { trend } from './parts/field-samples.ts';
import { dayTable } from './parts/field-table.ts';
import { scratch } from './parts/scratch.ts';
import { script } from './parts/script.ts';
import { mountSmall } from './parts/small-filesystem.ts';

/*
 * A gateway's life in the field, at a clock that goes faster: a day of it under HOLDFAST_TEST_LONG=1, minutes otherwise, with
 * the same kinds of trouble but too little for the quota, and too short to say anything of memory. docs/field-life.md
 */
const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const MIB = 2 ** 20;
/** How many times faster. In the short run less, so that a busy machine keeps the limits that are counted in seconds. */
const RATE = LONG ? 60 : 20;
/** Longest that a run takes, ms of the world's clock. */
const RUN_MS_MAX = LONG ? 3_300_000 : 240_000;
/** The medium: an ext4 in memory, so that a commit does not take 60 times as long as on a card. */
const MEDIUM_BYTES = 64 * 2 ** 20;
/** What a kill may leave sent, acknowledged and never written (docs/cloud.md): window and 1,000. */
const UNWRITTEN_MAX = 128 + 1000;
/** What a child may have said and heard nothing of when the gateway is killed: what waits for its commit, and what came meanwhile. */
const AGAIN_MAX = 20;
/** Waited for by each way that Node.js has, ms of the field's clock. */
const WITNESS_MS = 10_000;
/**
 * What the heap may climb over the last process's hours, bytes, without code. What was found to grow has an end
 * (docs/field-life.md): the log in memory, 0.45 MiB for its 2,000 lines, and what V8 learns of functions that run, some 1 MiB.
 */
const DATA_CLIMB_MAX = 2 * MIB;
/**
 * Code that V8 may have made of our program, with what it notes beside it. In a trial 3,700 functions had run often enough to be
 * watched; it would be this if each had been compiled in both ways, at the mean size of those that were.
 */
const CODE_BYTES_MAX = 16 * MIB;
/** The two above, what the allocators outside the heap keep, and pages of a heap of which only a part is in use. */
const RSS_CLIMB_MAX = 10 * MIB;
const TOO_SHORT = 'SKIP: minutes say nothing of memory (HOLDFAST_TEST_LONG=1)';
/** What a day's log may have, and that of the short run, in which more happens in an hour than in a day. */
const LOG_BYTES_PER_DAY_MAX = 2 * MIB;
const LOG_BYTES_SHORT_MAX = 100 * 1024;
/** Clocks are read one after the other, and on a busy machine something may come between: ms of the field's clock. */
const JITTER_MS_MAX = 4000;

// The world's files lie in memory where there is such a place.
if (existsSync('/dev/shm')) process.env['TMPDIR'] = '/dev/shm';

function mostFrequent(values: readonly number[]): number {
  const count = (value: number) => values.filter((each) => each === value).length;
  return values.reduce((best, value) => (count(value) > count(best) ? value : best));
}

/** A program of `test/parts` in a world of its own. */
function inWorld({ env }: FieldWorld, name: string, ...args: string[]): ChildProcess {
  return spawn(process.execPath, [...script(`test/parts/${name}`), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

test('everything that Node.js waits by goes by the clock of the field, and a step moves only the wall clock', async (context) => {
  const world = fieldWorld(RATE, BEHIND_MS);
  const started = process.hrtime.bigint();
  const program = inWorld(world, 'field-clock-witness', String(WITNESS_MS));
  let said = '';
  for await (const chunk of program.stdout!) said += String(chunk);
  const ended = process.hrtime.bigint();
  const seen = JSON.parse(said) as Testimony;
  // Its clocks stand where they must, seen from outside.
  assert.ok(BigInt(seen.first) >= world.monotonic(started) && BigInt(seen.last) <= world.monotonic(ended));
  assert.ok(seen.wallAtFirst >= world.wall(started) - 1 && seen.wallAtFirst <= world.wall(ended) + 1);
  for (const [way, { monotonic, wall, performance }] of Object.entries(seen.waits)) {
    assert.ok(monotonic >= WITNESS_MS - 2, `${way}: ${monotonic} ms instead of ${WITNESS_MS}`);
    // At the world's pace it would be RATE times as long; what is over is the machine's, which is slow from there.
    assert.ok(monotonic < WITNESS_MS * 10, `${way}: ${monotonic} ms instead of ${WITNESS_MS}`);
    for (const other of [wall, performance]) assert.ok(Math.abs(other - monotonic) < JITTER_MS_MAX, `${way}: ${other}`);
  }
  assert.ok(Math.abs(seen.stepped - 3_600_000) < JITTER_MS_MAX, `a step of an hour moved it ${seen.stepped} ms`);
  assert.deepEqual(seen.known, [existsSync('/run/systemd/timesync/synchronized'), true]);
  const waits = Object.entries(seen.waits).map(([way, { monotonic }]) => `${way} ${Math.round(monotonic)} ms`);
  context.diagnostic(
    `${RATE} times as fast, ${WITNESS_MS} ms asked: ${waits.join(', ')}; ${seen.ticks} ticks of a second`,
  );
});

describe(LONG ? 'a day in the field' : 'a few minutes in the field', () => {
  const happenings: Happening[] = [];
  let result: DayResult;
  let unmount = () => {};

  before(async () => {
    const medium = LONG ? mountSmall('ext4', MEDIUM_BYTES) : 'the short run counts no device';
    const log = join(scratch(), 'log');
    const args = typeof medium === 'string' ? [] : [medium.dir];
    if (typeof medium !== 'string') unmount = medium.unmount;
    const program = inWorld(fieldWorld(RATE, BEHIND_MS), 'field-day', LONG ? 'day' : 'short', log, ...args);
    const deadline = setTimeout(() => program.kill('SIGKILL'), RUN_MS_MAX);
    let found: DayResult | undefined;
    for await (const line of createInterface(program.stdout!)) {
      const said = JSON.parse(line) as DaySaid;
      if ('result' in said) found = said.result;
      else happenings.push(said.happening);
    }
    clearTimeout(deadline);
    if (found === undefined) {
      const logged = existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(-30).join('\n') : '';
      throw new Error(`it came to an end after "${happenings.at(-1)?.what}"; the gateway's log ends with\n${logged}`);
    }
    result = found;
  });

  after(() => {
    unmount();
    if (result !== undefined) process.stdout.write(`${dayTable(result, happenings)}\n`);
  });

  test('the ledger is balanced: the whole, and each child', () => {
    assert.deepEqual(result.problems, []);
    for (const [id, account] of [['all', result.ledger] as const, ...Object.entries(result.children)]) {
      const { accepted, delivered, deadLetters, pending } = account;
      assert.deepEqual([deadLetters, pending], [0, 0], id);
      assert.equal(accepted, delivered + droppedOf(account), id);
    }
  });

  test('above, each message is there once or stands in a loss report', (context: TestContext) => {
    const { above, ledger, kills } = result;
    assert.deepEqual([above.unreported, above.contradictions, above.outOfOrder], [0, 0, 0]);
    assert.deepEqual(above.reported, ledger.dropped);
    const unwritten = above.arrived - ledger.delivered;
    assert.ok(
      unwritten >= 0 && unwritten <= kills * UNWRITTEN_MAX,
      `${unwritten} more have arrived than were delivered`,
    );
    const { medium, hours, samples } = result;
    const written =
      medium === null
        ? ''
        : `; ${Math.round(medium.bytes / 1e6)} MB in ${medium.flushes} flushes reached the device in ${medium.hours.toFixed(1)} h`;
    context.diagnostic(
      `${hours.toFixed(1)} hours, ${kills} kills; the last process has used ${samples.at(-1)!.cpuSecs} s of processor${written}`,
    );
    context.diagnostic(
      `${ledger.accepted} accepted, ${ledger.delivered} delivered, dropped ${JSON.stringify(ledger.dropped)}; above ` +
        `${above.arrived} each once and ${above.repeats} repeats; ${unwritten} had been sent and not written when it was killed`,
    );
  });

  test('what was acknowledged to a child is there, or dropped and in its account', () => {
    for (const { id, said, acknowledged, absent } of result.connected) {
      assert.equal(acknowledged, said, id);
      const account = result.children[id]!;
      const dropped = droppedOf(account);
      // Sent, acknowledged, and killed before it was written: it is above and in no account.
      const unwritten = (result.above.children[id] ?? 0) - account.delivered;
      // What a child said again since its acknowledgement was lost in a kill is there twice, and one of the two may have been
      // dropped.
      const again = account.accepted + unwritten - said;
      assert.ok(again >= 0 && again <= result.kills * AGAIN_MAX, `${id}: ${again} were taken twice`);
      assert.ok(
        absent <= dropped && dropped <= absent + again,
        `${id}: ${absent} are absent, ${dropped} were dropped, ${again} taken twice, ${unwritten} not written`,
      );
    }
  });

  test('commands have come, and methods were answered', () => {
    assert.deepEqual(result.orders.missing, []);
    assert.ok(result.methods.answered > 0);
  });

  test('in the same state it has the same files open, and as many threads', (context) => {
    const life = Math.max(...result.samples.map((sample) => sample.life));
    const calm = result.samples.filter((sample) => sample.life === life && sample.calm);
    assert.ok(calm.length >= 3, `${calm.length} calm moments`);
    // A look at the board, or a port that is opened again just then, may fall into a moment: what is usual must stay the same.
    const files = calm.map((sample) => sample.files);
    const middle = Math.ceil(files.length / 2);
    const usual = mostFrequent(files.slice(middle));
    context.diagnostic(
      `${usual} open files in ${files.filter((n) => n === usual).length} of ${files.length} calm moments`,
    );
    assert.equal(mostFrequent(files.slice(0, middle)), usual);
    assert.ok(Math.min(...files.slice(-3)) <= usual, `in the end ${files.slice(-3).join(', ')} files are open`);
    assert.deepEqual([...new Set(calm.map(({ threads }) => threads))], [calm[0]!.threads]);
  });

  test('everything durable stays within the quota', () => {
    for (const { hour, dataBytes } of result.samples)
      assert.ok(dataBytes <= result.quotaBytes, `${dataBytes} bytes after ${hour} hours`);
  });

  test('the log stays small', (context) => {
    const { logBytes } = result.samples.at(-1)!;
    const perDay = (logBytes / result.hours) * 24;
    const warnings = Object.values(result.warnings).reduce((sum, count) => sum + count, 0);
    context.diagnostic(
      `${result.logLines} lines, ${Math.round(logBytes / 1024)} KiB; ${warnings} warnings, ${result.errors.length} errors: ${result.errors.join('; ')}`,
    );
    if (LONG) assert.ok(perDay < LOG_BYTES_PER_DAY_MAX, `${perDay} bytes a day`);
    else assert.ok(logBytes < LOG_BYTES_SHORT_MAX, `${logBytes} bytes`);
  });

  test('memory keeps within its bounds over the last 16 hours', { skip: LONG ? false : TOO_SHORT }, (context) => {
    const life = Math.max(...result.samples.map((sample) => sample.life));
    const begun = result.samples.find((sample) => sample.life === life)!.hour;
    // The first hour of a process is its start, and what it had to send.
    const samples = result.samples.filter((sample) => sample.life === life && sample.hour > begun + 1);
    const lives = samples.flatMap(({ hour, live }) => (live === null ? [] : [{ hour, ...live }]));
    const { codeBytes } = lives.at(-1)!;
    context.diagnostic(`code: ${(lives[0]!.codeBytes / MIB).toFixed(1)} MiB, then ${(codeBytes / MIB).toFixed(1)} MiB`);
    assert.ok(codeBytes <= CODE_BYTES_MAX, `${codeBytes} bytes of code`);
    for (const [name, climbMax, points] of [
      [
        'heap without code',
        DATA_CLIMB_MAX,
        lives.map(({ hour, heapBytes, codeBytes: code }) => [hour, heapBytes - code] as const),
      ],
      ['resident', RSS_CLIMB_MAX, samples.map(({ hour, rssBytes }) => [hour, rssBytes] as const)],
    ] as const) {
      const hours = points.at(-1)![0] - points[0]![0];
      const { slope, mean, error } = trend(points);
      const climb = slope * hours;
      context.diagnostic(
        `${name}: ${(mean / MIB).toFixed(1)} MiB, climbs ${(climb / MIB).toFixed(2)} MiB (+- ${((error * hours) / MIB).toFixed(2)}) in ${hours.toFixed(1)} hours`,
      );
      assert.ok(hours > 14, `${hours} hours`);
      assert.ok(climb <= climbMax, `${name}: ${climb} bytes in ${hours} hours`);
    }
  });
});
