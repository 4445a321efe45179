import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Patience } from '../src/spool/patience.ts';
import { chance } from './parts/chance.ts';

/** What a run of commits came to. */
interface Outcome {
  readonly commits: number;
  readonly messages: number;
  /** From a message to its acknowledgement, on average and at most, ms. */
  readonly meanMs: number;
  readonly maxMs: number;
}

/**
 * Messages against a medium whose commits take `commitMs`, by a clock of its own: `nextAfter` says when the next message
 * comes, given the time, and whether one was acknowledged just now.
 */
function simulate(commitMs: number, forMs: number, arrivals: (now: number, acknowledged: number) => number[]): Outcome {
  const patience = new Patience();
  const latencies: number[] = [];
  let waiting: number[] = [];
  let carried: number[] = [];
  let commits = 0;
  let busyUntil = -1;
  let lookAt = -1;
  for (let now = 0; now < forMs; now += 0.1) {
    let acknowledged = 0;
    if (busyUntil >= 0 && now >= busyUntil) {
      for (const at of carried) latencies.push(now - at);
      acknowledged = carried.length;
      carried = [];
      busyUntil = -1;
      lookAt = now;
    }
    for (const at of arrivals(now, acknowledged)) {
      patience.arrival(at);
      if (waiting.length === 0 && busyUntil < 0) lookAt = now;
      waiting.push(at);
    }
    if (busyUntil >= 0 || waiting.length === 0 || now < lookAt) continue;
    const wait = patience.waitMs(now);
    if (wait > 0) {
      lookAt = now + wait;
      continue;
    }
    patience.committed();
    commits++;
    carried = waiting;
    waiting = [];
    busyUntil = now + commitMs;
  }
  const messages = latencies.length;
  return {
    commits,
    messages,
    meanMs: latencies.reduce((a, b) => a + b, 0) / messages,
    maxMs: latencies.reduce((a, b) => Math.max(a, b), 0),
  };
}

test('one sender that waits for each acknowledgement is not held up', () => {
  let free = true;
  const { messages, meanMs } = simulate(5, 10_000, (now, acknowledged) => {
    if (acknowledged > 0) free = true;
    if (!free) return [];
    free = false;
    return [now];
  });
  // 5 ms a commit, and now and then a wait, to see whether it has become worth it.
  assert.ok(meanMs < 6.5, `${meanMs} ms on average`);
  assert.ok(messages > 1500, `${messages} in 10 s`);
});

test('64 senders that wait share their commits', () => {
  let free = 64;
  const { commits, messages } = simulate(5, 10_000, (now, acknowledged) => {
    free += acknowledged;
    const come = Array.from({ length: free }, () => now);
    free = 0;
    return come;
  });
  assert.ok(messages / commits > 40, `${messages / commits} a commit`);
});

test('a stream of 1,000 messages a second is gathered, and none waits long', () => {
  let next = 0;
  const random = chance(1);
  const { commits, messages, maxMs } = simulate(1, 10_000, (now) => {
    const come: number[] = [];
    while (next <= now) {
      come.push(next);
      next += -Math.log(1 - random());
    }
    return come;
  });
  assert.ok(messages > 9000);
  assert.ok(messages / commits >= 4, `${messages / commits} a commit`);
  assert.ok(maxMs < 40, `${maxMs} ms at most`);
});

test('rare messages are committed soon', () => {
  let next = 100;
  const { maxMs, messages } = simulate(2, 20_000, (now) => {
    if (now < next) return [];
    next += 500;
    return [now];
  });
  assert.ok(messages >= 38);
  assert.ok(maxMs < 25, `${maxMs} ms at most`);
});
