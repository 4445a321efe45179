import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { accept } from '../bench/accept.ts';
import { cluster } from '../bench/cluster.ts';
import { day } from '../bench/day.ts';
import { drain } from '../bench/drain.ts';
import { fleet } from '../bench/fleet.ts';
import { latency } from '../bench/latency.ts';
import { hub } from '../bench/hub.ts';
import { loop } from '../bench/loop.ts';
import type { Report } from '../bench/page.ts';
import { rules } from '../bench/rules.ts';
import { scale } from '../bench/scale.ts';
import { start } from '../bench/start.ts';
import { wear } from '../bench/wear.ts';

/** Tables, and in none of them a figure that was not measured. */
function sound(report: Report): void {
  assert.ok(report.tables.length > 0);
  for (const text of [...report.tables, ...report.goals.map(({ measured }) => measured)]) {
    assert.doesNotMatch(text, /NaN|undefined|Infinity/);
  }
}

/** They take a minute, and what they measure is tested elsewhere. */
const skip = process.env['HOLDFAST_TEST_LONG'] !== '1' && 'SKIP: the benches run in test:long';

describe('the benchmarks run, with sizes that say nothing', { concurrency: true, skip }, () => {
  test('accept', async () => sound(await accept({ rounds: 1, ms: 50, stored: 100 })));
  test('drain', async () => sound(await drain({ rounds: 1, near: 500, small: 0, far: 0, level: 0 })));
  test('wear', async () => sound(await wear({ rounds: 1, count: 250, single: 10, bodyBytes: [256], sqlite: false })));
  test('latency', async () => sound(await latency({ rounds: 1, readings: 5, everyMs: 5 })));
  test('hub', async () =>
    sound(await hub({ rounds: 1, ms: 500, children: 10, perSecond: 10, idle: 20, stored: 100, long: 200 })));
  test('loop', async () => sound(await loop({ rounds: 1, ms: 50, perSecond: 1000, flushMs: [5] })));
  test('rules', async () => sound(await rules({ rounds: 1, events: 1000, nodeRed: false })));
  test('scale', async () => sound(await scale({ rounds: 1, stored: [500, 1000], count: 250 })));
  test('day', async () => sound(await day({ settleMs: 0, ms: 500 })));
  test('cluster', async () => sound(await cluster({ count: 2000, brokers: ['mosquitto'] })));
  test('fleet', async () => sound(await fleet({ gateways: 2, ms: 500, awayMs: 1000 })));
  test('start', async () => sound(await start({ rounds: 1, idleMs: 0, stored: 100 })));
});
