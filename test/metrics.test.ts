import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { metricsText } from '../src/health/metrics.ts';
import type { GatewayStatus, Status } from '../src/health/status.ts';
import type { SpoolStats } from '../src/spool/stats.ts';
import { asked } from './parts/asked.ts';
import { holdfast } from './parts/command.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

interface Metric {
  readonly type: string;
  /** Labels in their order as `a="b",c="d"`, with values unescaped. */
  readonly samples: Map<string, number>;
}

/**
 * Reads the text format of Prometheus (0.0.4) and takes nothing that is not in its grammar: HELP and TYPE once and before
 * the samples of each metric, all samples of a metric together, each set of labels once.
 */
function parsed(text: string): Map<string, Metric> {
  assert.ok(text.endsWith('\n'));
  const metrics = new Map<string, Metric>();
  const helped: string[] = [];
  let current = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ((?:[^\\\n]|\\\\|\\n)+)$/.exec(line);
    if (help !== null) {
      assert.ok(!helped.includes(help[1]!), `a second HELP: ${line}`);
      helped.push(help[1]!);
      continue;
    }
    const type = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge)$/.exec(line);
    if (type !== null) {
      const [, name, kind] = type;
      assert.equal(name, helped.at(-1), `TYPE without HELP: ${line}`);
      assert.ok(!metrics.has(name!), `a second TYPE: ${line}`);
      assert.equal(kind === 'counter', name!.endsWith('_total'), `counters, and only they, end with _total: ${line}`);
      metrics.set(name!, { type: kind!, samples: new Map() });
      current = name!;
      continue;
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)+)\})? (-?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/.exec(
        line,
      );
    assert.ok(sample !== null, `not in the grammar: ${JSON.stringify(line)}`);
    const [, name, labels = '', value] = sample;
    assert.ok(name === current, `not with its metric: ${line}`);
    const { samples } = metrics.get(name)!;
    const plain = labels.replaceAll(/\\(.)/g, (_, escape: string) => (escape === 'n' ? '\n' : escape));
    assert.ok(!samples.has(plain), `twice: ${line}`);
    samples.set(plain, Number(value));
  }
  for (const [name, { samples }] of metrics) {
    assert.match(name, /^holdfast_/);
    assert.ok(samples.size > 0, `${name} has no samples`);
  }
  return metrics;
}

let broker: Mosquitto;
let gateway: GatewayProcess;
before(async () => {
  broker = await startMosquitto();
  const yaml = `
gateway: { id: line-4, dataDir: data }
upstream: { url: "${broker.url}" }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 20, wearBudget: 100GiB/day }
children: [{ id: press-1, simulated: { sendIntervalMs: 20, messageCount: 30 } }]
`;
  gateway = await startGateway({ dir: scratch(), yaml });
});
after(async () => {
  await gateway.kill();
  await broker.end();
});

const json = async <T>(...args: string[]) =>
  JSON.parse((await holdfast([...args, '--json', '-c', gateway.config])).stdout) as T;

test('metrics are what stats and status say, in the format of Prometheus', async () => {
  await until(
    'all to be delivered',
    async () => (await asked<SpoolStats>(gateway.config, 'spool stats')).ledger.delivered === 30,
  );
  const { code, stdout, stderr } = await holdfast(['metrics', '-c', gateway.config]);
  assert.deepEqual([code, stderr], [0, '']);
  const metrics = parsed(stdout);
  const value = (name: string, labels = '') => metrics.get(`holdfast_${name}`)?.samples.get(labels);
  assert.equal(value('messages_accepted_total'), 30);
  assert.equal(value('messages_delivered_total'), 30);
  assert.equal(value('messages_unmatched_total'), 30);
  assert.equal(value('messages_pending'), 0);
  assert.equal(value('dead_letters'), 0);
  for (const reason of ['expired', 'evicted', 'thinned', 'no-route', 'loop', 'quarantined', 'discarded']) {
    assert.equal(value('messages_dropped_total', `reason="${reason}"`), 0);
  }
  for (const reason of ['rejected', 'too-large', 'malformed']) {
    assert.equal(value('messages_refused_total', `reason="${reason}"`), 0);
  }
  assert.equal(value('lane_accepted_total', 'lane="10"'), 30);
  assert.equal(value('lane_pending', 'lane="10"'), 0);
  // Nothing waits, so nothing has an age.
  assert.equal(metrics.has('holdfast_lane_oldest_age_seconds'), false);
  assert.equal(value('child_delivered_total', 'child="press-1"'), 30);
  assert.equal(value('child_dropped_total', 'child="press-1"'), 0);
  assert.equal(value('upstream_state', 'state="online"'), 1);
  assert.equal(value('upstream_state', 'state="waiting"'), 0);
  assert.equal(value('spool_quota_bytes'), 16 * 2 ** 20);
  assert.equal(value('spool_fault'), 0);
  assert.equal(value('wear_budget_bytes_per_day'), 100 * 2 ** 30);
  assert.equal(value('wear_budget_kept'), 1);
  assert.ok(value('wear_bytes_per_day')! >= 0);
  const { version } = await json<GatewayStatus>('status');
  assert.equal(value('info', `gateway="line-4",version="${version}",profile="simulated"`), 1);
});

test('a label holds any name, without an upstream there is nothing of it, and a fault is 1', async () => {
  const { pid: _, ...now } = await json<GatewayStatus>('status');
  const odd = 'a "quoted" \\ name\nof two lines';
  const account = { accepted: 9, delivered: 2, pending: 4, deadLetters: 0, dropped: { evicted: 2, expired: 1 } };
  const stats = await json<SpoolStats>('spool', 'stats');
  const spool = { ...now.spool, fault: 'EIO' };
  const over = [{ what: 'disk', message: 'full', since: 0 }];
  const board = { ...now.board, temperatureCelsius: 61.5, silentSecs: { [odd]: 7 }, over };
  const status: Status = { ...now, upstream: null, modules: [], spool, board, lastReadings: {} };
  const lanes = [{ ...stats.lanes[0]!, pending: 3, oldestAgeSecs: 7 }];
  const metrics = parsed(metricsText(status, { ...stats, lanes, children: { [odd]: account } }));
  assert.deepEqual(metrics.get('holdfast_child_dropped_total'), {
    type: 'counter',
    samples: new Map([[`child="${odd}"`, 3]]),
  });
  assert.equal(metrics.get('holdfast_lane_oldest_age_seconds')!.samples.get('lane="10"'), 7);
  assert.equal(metrics.get('holdfast_spool_fault')!.samples.get(''), 1);
  assert.equal(metrics.get('holdfast_board_temperature_celsius')!.samples.get(''), 61.5);
  assert.equal(metrics.get('holdfast_limit_over')!.samples.get('limit="disk"'), 1);
  assert.equal(metrics.get('holdfast_child_silent_seconds')!.samples.get(`child="${odd}"`), 7);
  assert.deepEqual(
    [...metrics.keys()].filter((name) => name.includes('upstream')),
    [],
  );
});
