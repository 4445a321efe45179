import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogLevel } from '../src/health/log-level.ts';
import { LogRing, type LogFormat } from '../src/health/log-ring.ts';
import { ManualClock } from './manual-clock.ts';

function logging(format: LogFormat = 'journald') {
  const clock = new ManualClock();
  const out: string[] = [];
  const ring = new LogRing(format, (text) => out.push(text));
  return { clock, out, ring, log: ring.logger(new LogLevel('debug'), clock) };
}

test('a line that comes again within a minute is counted, and the count is said when the minute is over', () => {
  const { clock, out, log } = logging();
  const meter = log.child({ child: 'meter' });
  for (let n = 0; n < 58; n++) {
    meter.warn({ attempt: n }, 'does not answer');
    clock.advance(1000);
  }
  log.child({ child: 'door' }).warn('does not answer');
  assert.deepEqual(out, ['<4>[meter] does not answer attempt=0\n', '<4>[door] does not answer\n']);
  clock.advance(2000);
  log.info('something else');
  assert.deepEqual(out.slice(2), [
    '<4>[meter] does not answer (repeated 57 times) attempt=57\n',
    '<6>something else\n',
  ]);
  meter.warn('does not answer');
  assert.equal(out.length, 5, 'a new minute begins');
});

test('who asks for the log is told the count so far', () => {
  const { ring, log } = logging();
  for (let n = 0; n < 3; n++) log.error('broken');
  assert.deepEqual(
    ring.tail(10).map(({ message }) => message),
    ['broken', 'broken (repeated 2 times)'],
  );
});

test('at the end the count so far is said', () => {
  const { out, ring, log } = logging();
  for (let n = 0; n < 3; n++) log.error('broken');
  ring.end();
  assert.deepEqual(out, ['<3>broken\n', '<3>broken (repeated 2 times)\n']);
});

test('what comes and goes is told each time, but no more than ten times a minute', () => {
  const { clock, out, log } = logging();
  for (let n = 0; n < 30; n++) {
    log.warn('lost');
    log.info('there again');
    clock.advance(1000);
  }
  assert.equal(out.length, 20);
  clock.advance(31_000);
  log.info('later');
  assert.deepEqual(out.slice(20), [
    '<4>lost (repeated 20 times)\n',
    '<6>there again (repeated 20 times)\n',
    '<6>later\n',
  ]);
});

test('information that differs in what stands with it is another line; debug and trace are never folded', () => {
  const { out, log } = logging();
  log.info({ version: 3 }, 'registry taken');
  log.info({ version: 4 }, 'registry taken');
  log.debug('tick');
  log.debug('tick');
  assert.equal(out.length, 4);
});

test('a warning of another module is another line, whatever figures stand with it', () => {
  const { out, log } = logging();
  for (const module of ['win', 'lag', 'win']) log.warn({ module, waited: out.length }, 'what it had open is let go');
  log.warn({ module: 'win', waited: 9 }, 'what it had open is let go');
  assert.equal(out.length, 3);
});

test('a storm of different lines is bounded, and a clock that is set back silences nothing', () => {
  const { clock, out, log, ring } = logging('json');
  for (let n = 0; n < 1000; n++) log.warn(`line ${n % 500}`);
  assert.equal(out.length, 1000);
  log.warn('line 1');
  log.warn('line 1');
  assert.equal(out.length, 1001);
  clock.setWall(clock.wall() - 86_400_000);
  log.warn('line 1');
  assert.equal(out.length, 1003, 'the count, and the line itself');
  const [, count] = out.slice(-2).map((text) => JSON.parse(text) as { msg: string; level: number });
  assert.equal(count!.level, 40);
  assert.equal(ring.tail(2)[0]!.message, 'line 1 (repeated once)');
});

test('lines that are long are kept for less long: what children answer does not fill the memory', () => {
  const { clock, ring, log } = logging();
  const payload = 'x'.repeat(100_000);
  for (let n = 0; n < 300; n++) {
    log.warn({ status: 500, payload }, `a command failed: ${n}`);
    clock.advance(60_000);
  }
  const kept = ring.tail(Infinity);
  assert.equal(kept.at(-1)?.message, 'a command failed: 299');
  assert.ok(kept.length >= 10 && kept.length * payload.length < 4 * 2 ** 20, `${kept.length} lines are kept`);
  for (let n = 0; n < 3000; n++) log.debug(`line ${n}`);
  assert.equal(ring.tail(Infinity).length, 2000);
});
