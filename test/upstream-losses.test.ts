import assert from 'node:assert/strict';
import { test } from 'node:test';
import { upstreamRouter } from './parts/upstream-router.ts';
import { ManualClock } from './manual-clock.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { startRogueBroker, type RogueBroker } from './parts/rogue-broker.ts';
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

/** A loss report's body. */
interface Report {
  readonly id: string;
  readonly reason: string;
  readonly count: number;
}

/** What was reported, by the rows' ids; a row that came twice must have been the same. */
function distinct(broker: RogueBroker): Report[] {
  const rows = new Map<string, Report>();
  for (const { topic, body } of broker.publishes) {
    if (!topic.endsWith('/losses')) continue;
    const row = JSON.parse(body) as Report;
    assert.deepEqual(rows.get(row.id) ?? row, row, 'it has grown');
    assert.ok(!('sent' in row));
    rows.set(row.id, row);
  }
  return [...rows.values()];
}

const countOf = (rows: readonly { readonly count: number }[]) => rows.reduce((sum, { count }) => sum + count, 0);
const isDue = ({ seq }: { readonly seq: number | null }) => seq !== null && seq % 10 === 3;

test('reports that come again, through reconnects and a crash, are the same: who adds up by id counts each loss once', async () => {
  let taken = 0;
  // Events number 3, 13, 23 ... are refused for good; of the reports only each second is acknowledged, at the other it closes.
  const broker = await startRogueBroker({
    onPublish: (connection, packet) => {
      const seq = Number(packet.properties?.userProperties?.['seq'] ?? 0);
      if (!packet.topic.endsWith('/losses')) connection.puback(packet.messageId!, isDue({ seq }) ? 0x80 : 0);
      else if (connection.socket.destroyed) return;
      else if (++taken % 2 === 0) connection.puback(packet.messageId!);
      else connection.close();
    },
  });
  let rig = await UpstreamRig.open(broker.url);
  await rig.fill(300);
  rig.upstream.start();
  await broker.until('some of it', ({ events }) => events.length > 100);
  await rig.upstream.stop();
  const crashed = await rig.rig.crash();
  await crashed.close();
  rig = await UpstreamRig.open(broker.url, { spool: { dataDir: crashed.dataDir } });
  rig.upstream.start();
  await until(
    'all to be reported',
    () => rig.rig.spool.snapshot().lossRows === 0 && rig.rig.spool.snapshot().pending === 0,
  );
  assert.equal(countOf(distinct(broker)), 30);
  assert.equal((await rig.rig.audit()).deadLetters, 30);
  await rig.end();
  await broker.end();
});

test('a broker that closes on each loss report gets none for a minute, and all messages; no message is blamed', async () => {
  const clock = new ManualClock();
  let good = false;
  const broker = await startRogueBroker({
    onPublish: (connection, packet) => {
      const seq = Number(packet.properties?.userProperties?.['seq'] ?? 0);
      if (connection.socket.destroyed) return;
      if (packet.topic.endsWith('/losses') && !good) connection.close();
      else connection.puback(packet.messageId!, isDue({ seq }) ? 0x80 : 0);
    },
  });
  const rig = await UpstreamRig.open(broker.url, { clock });
  await rig.fill(300);
  rig.upstream.start();
  const step = async (what: string, check: () => boolean) =>
    until(what, async () => {
      await clock.flow(1);
      return check();
    });
  await step('all to be sent', () => rig.rig.spool.snapshot().pending === 0);
  assert.ok(broker.connections.length <= 5, `${broker.connections.length} connections`);
  assert.equal(rig.complaints().filter((msg) => /refuses loss reports by closing/.test(msg)).length, 1);
  const before = broker.connections.length;
  await clock.flow(61_000);
  await step('one more try', () => broker.connections.length === before + 1);
  good = true;
  await clock.flow(61_000);
  await step('the reports to be taken', () => rig.rig.spool.snapshot().lossRows === 0);
  assert.equal(countOf(distinct(broker)), 30);
  await rig.rig.spool.flush();
  assert.equal((await rig.rig.audit()).deadLetters, 30);
  const ended = rig.end();
  await clock.flow(5000);
  await ended;
  await broker.end();
});

test('a report that the broker refuses is kept and tried each minute, said once, and messages go on', async () => {
  const clock = new ManualClock();
  let reason = 0x87;
  const broker = await startRogueBroker({
    onPublish: (connection, packet) => {
      const seq = Number(packet.properties?.userProperties?.['seq'] ?? 0);
      if (packet.topic.endsWith('/losses')) connection.puback(packet.messageId!, reason);
      else connection.puback(packet.messageId!, isDue({ seq }) ? 0x80 : 0);
    },
  });
  const rig = await UpstreamRig.open(broker.url, { clock });
  const reports = () => broker.publishes.filter(({ topic }) => topic.endsWith('/losses')).length;
  const flowing = async (what: string, check: () => boolean) =>
    until(what, async () => {
      await clock.flow(1);
      return check();
    });
  await rig.fill(100);
  rig.upstream.start();
  await flowing('all to be sent', () => rig.rig.spool.snapshot().pending === 0);
  const before = reports();
  assert.ok(before >= 1 && before <= 10);
  await clock.flow(50_000);
  assert.equal(reports(), before, 'not before a minute is over');
  await rig.fill(100, 101);
  await flowing('the next to be sent', () => rig.rig.spool.snapshot().pending === 0);
  for (let minute = 0; minute < 5; minute++) {
    const had = reports();
    await clock.flow(60_000);
    await flowing('another try', () => reports() > had);
    // A few rows at the most: what is not being sent folds.
    assert.ok(reports() - had <= 5, `${reports() - had} in one try`);
  }
  assert.equal(rig.complaints().filter((msg) => /refuses loss reports/.test(msg)).length, 1);
  assert.equal(countOf(rig.rig.spool.lossesToReport()), 20);
  reason = 0;
  await clock.flow(60_000);
  await flowing('the reports to be taken', () => rig.rig.spool.snapshot().lossRows === 0);
  assert.equal(countOf(distinct(broker)), 20);
  const ended = rig.end();
  await clock.flow(5000);
  await ended;
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
  const router = upstreamRouter(rig.rig.spool);
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
