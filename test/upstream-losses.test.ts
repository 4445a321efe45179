import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Router } from '../src/router/router.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { startRogueBroker } from './parts/rogue-broker.ts';
import { noise } from './parts/spool-rig.ts';
import { UpstreamRig } from './parts/upstream-rig.ts';
import { until } from './parts/until.ts';
import { startWatcher } from './parts/watcher.ts';

const QUOTA = 8 * 2 ** 20;

test('a reader sees each gap reported before the first message behind it, while messages are dropped and delivered at once', async (context) => {
  const mosquitto = await startMosquitto();
  const watcher = await startWatcher({ url: mosquitto.url, qos: 0 });
  const rig = await UpstreamRig.open(mosquitto.url, { spool: { quota: { bytes: QUOTA } }, window: 32 });
  try {
    // First away for long, so that much is dropped; then there, while more comes than it takes.
    for (let n = 0; n < 60_000; n++) {
      void rig.rig.accept(noise(200));
      if (n % 400 === 399) await rig.rig.spool.flush();
      if (n === 50_000) rig.upstream.start();
    }
    await rig.drained();
    const { ledger } = rig.rig.books();
    const delivered = ledger.accepted - ledger.dropped.evicted!;
    await watcher.until('all that is left', ({ events }) => events.length >= delivered);
    await until('the reports', () => rig.rig.spool.lossesToReport().length === 0);
    assert.equal(
      watcher.losses.reduce((sum, { count }) => sum + count, 0),
      ledger.dropped.evicted,
    );
    assert.equal(watcher.outOfOrder().length, 0);
    const gaps = [{ from: 1, to: watcher.firstSights()[0]!.seq - 1 }, ...watcher.gaps()];
    for (const { from, to } of gaps) {
      const behind = watcher.events.findIndex(({ seq }) => seq === to + 1);
      const known = watcher.losses.filter(({ after }) => after <= behind);
      for (let seq = from; seq <= to; seq++) {
        const covered = known.some(({ firstSeq, lastSeq }) => firstSeq <= seq && seq <= lastSeq);
        assert.ok(covered, `number ${seq} is missing at message ${to + 1}, and no report had said so`);
      }
    }
    context.diagnostic(`${gaps.length} gaps, ${watcher.losses.length} reports, ${ledger.dropped.evicted} dropped`);
    await rig.rig.audit();
  } finally {
    await rig.end();
    await watcher.end();
    await mosquitto.end();
  }
});

test('a report that is not acknowledged comes again, also after a crash', async () => {
  const broker = await startRogueBroker({
    onPublish: (connection, { topic, messageId }) => {
      if (!topic.endsWith('/losses')) connection.puback(messageId!);
    },
  });
  const rig = await UpstreamRig.open(broker.url, { spool: { quota: { bytes: QUOTA } } });
  for (let n = 0; n < 60_000; n++) {
    void rig.rig.accept(noise(200));
    if (n % 400 === 399) await rig.rig.spool.flush();
  }
  const reports = () => broker.publishes.filter(({ topic }) => topic.endsWith('/losses'));
  rig.upstream.start();
  await broker.until('the report', () => reports().length === 1);
  broker.connections[0]!.close();
  await broker.until('the report again', () => reports().length === 2);
  assert.equal(reports()[0]!.body, reports()[1]!.body);
  await rig.drained();
  await rig.upstream.stop();
  const again = await rig.rig.crash();
  assert.equal(again.spool.lossesToReport().length, 1);
  await again.audit();
  await again.close();
  await broker.end();
});

test('what MQTT cannot say becomes a dead letter, and the rest goes on', async () => {
  for (const protocol of ['5', '3.1.1'] as const) {
    const broker = await startRogueBroker();
    const rig = await UpstreamRig.open(broker.url, { protocol });
    const accept = (more: object) => rig.rig.spool.accept({ ...rig.rig.message('body'), ...more }, true);
    void accept({});
    void accept({ properties: { long: 'x'.repeat(70_000) } });
    void accept({ properties: { ['é'.repeat(40_000)]: 'value' } });
    void accept({ contentType: 'x'.repeat(70_000) });
    void accept({ eventTime: Number.NaN });
    void accept({ eventTime: Infinity });
    void accept({ eventTime: -Infinity });
    void accept({ properties: { ['a'.repeat(30_000)]: 'b'.repeat(30_000), '': '', 'p-p-': '%&=+ #/' } });
    await accept({});
    rig.upstream.start();
    await rig.drained();
    const { deadLetters } = await rig.rig.audit();
    assert.equal(deadLetters, 3);
    assert.deepEqual(
      broker.events.map(({ seq }) => seq),
      [1, 5, 6, 7, 8, 9],
    );
    assert.equal(broker.connections.length, 1);
    await rig.end();
    await broker.end();
  }
});

test('an event time that is none does not go further than the router', async () => {
  const broker = await startRogueBroker();
  const rig = await UpstreamRig.open(broker.url);
  const router = new Router(rig.rig.spool, []);
  for (const eventTime of [Number.NaN, Infinity, 5])
    void router.reading('child', { body: Buffer.from('x'), eventTime }, true);
  await rig.rig.spool.flush();
  assert.deepEqual(
    rig.rig.take().map(({ message }) => message.eventTime),
    [undefined, undefined, 5],
  );
  await rig.end();
  await broker.end();
});
