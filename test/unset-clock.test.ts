import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { eventProperties } from '../src/dialects/holdfast.ts';
import { iothubUpstream } from '../src/dialects/iothub-upstream.ts';
import type { Peeked, ShownLetter } from '../src/health/shown.ts';
import { incoming, type Exchanged } from '../src/message/exchange.ts';
import { takeIn } from '../src/spool/intake.ts';
import { ManualClock } from './manual-clock.ts';
import { holdfast } from './parts/command.ts';
import { lines } from './parts/exported-spool.ts';
import { scratch } from './parts/scratch.ts';
import { SpoolRig } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';
import { upstreamRouter } from './parts/upstream-router.ts';

const PAST = Date.UTC(1973, 0, 12, 23, 50, 50);
const NOW = Date.UTC(2026, 0, 1);
const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** What a gateway holds, all of which it took on with a clock that stood in 1973. */
interface Board {
  readonly config: string;
  readonly clock: ManualClock;
  readonly rig: SpoolRig;
}

/** Measured 1.5 s before it was taken on, by our clock; with a time of the sensor's own; with none. And a dead letter like the first. */
async function board(): Promise<Board> {
  const dir = scratch();
  const config = join(dir, 'gateway.yaml');
  writeFileSync(config, 'gateway: { id: line-4, dataDir: data }\nstoreAndForward: { quota: 64MiB, keepFree: 0% }\n');
  const clock = new ManualClock({ wall: PAST, known: false, monotonic: 20 * SECOND });
  const rig = await SpoolRig.open({ dataDir: join(dir, 'data'), clock });
  const router = upstreamRouter(rig.spool);
  const body = Buffer.from('x');
  const measured = { body, measuredAt: clock.monotonic() - 1500 };
  for (const reading of [measured, measured, { body, eventTime: Date.UTC(2020, 0, 1) }, { body }])
    void router.reading('child', reading, false).catch(assert.fail);
  await rig.spool.flush();
  rig.spool.deadLetter(rig.take(1)[0]!, 'refused');
  await rig.spool.flush();
  rig.spool.rewind();
  return { config, clock, rig };
}

/** Five minutes on the clock is set. What the board held then came at the beginning of 2026. */
function learns({ clock }: Board): void {
  clock.advance(5 * MINUTE);
  clock.setWall(NOW + 5 * MINUTE);
  clock.setKnown(true);
}

const RESTORED = [
  ['2025-12-31T23:59:58.500Z', '2026-01-01T00:00:00.000Z', 'restored'],
  ['2020-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', 'restored'],
  [null, '2026-01-01T00:00:00.000Z', 'restored'],
];
const UNKNOWN = [
  ['1973-01-12T23:50:48.500Z', '1973-01-12T23:50:50.000Z', 'unknown'],
  ['2020-01-01T00:00:00.000Z', '1973-01-12T23:50:50.000Z', 'unknown'],
  [null, '1973-01-12T23:50:50.000Z', 'unknown'],
];

/** As they go upstream. */
function sent({ rig }: Pick<Board, 'rig'>) {
  const taken = rig.take().map((stored) => {
    const pairs = eventProperties(stored, rig.spool.acceptedTime(stored.message.acceptedAt));
    const value = (name: string) => {
      const place = pairs.indexOf(name);
      return place === -1 ? null : pairs[place + 1]!;
    };
    assert.deepEqual([value('tMin'), value('tMax')], [null, null]);
    return [value('t'), value('at'), value('clock')];
  });
  rig.spool.rewind();
  return taken;
}

async function said<T>(config: string, ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await holdfast(['spool', ...args, '-c', config]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as T;
}

async function exported(config: string, ...args: string[]): Promise<Exchanged[]> {
  const { code, stdout, stderr } = await holdfast(['spool', 'export', '-c', config, ...args]);
  assert.equal(code, 0, stderr);
  return lines(stdout);
}

const times = ({ eventTime, acceptedAt, clock }: Pick<Exchanged, 'eventTime' | 'acceptedAt' | 'clock'>) => [
  eventTime,
  acceptedAt,
  clock,
];

/** Another gateway, which has known the time for a year, takes these in. */
async function imported(forms: readonly object[]): Promise<SpoolRig> {
  const clock = new ManualClock({ wall: NOW - 365 * 24 * 60 * MINUTE, bootId: 'elsewhere' });
  const rig = await SpoolRig.open({ clock });
  clock.setWall(NOW + 60 * MINUTE);
  const refused = takeIn(
    rig.spool,
    forms.map((form) => incoming(JSON.parse(JSON.stringify(form)))),
  );
  await rig.spool.flush();
  assert.deepEqual(
    await refused,
    forms.map(() => null),
  );
  return rig;
}

describe('what was taken on while nobody had set the clock, once the time is known', () => {
  test('is exported, peeked at and listed as it goes upstream', async () => {
    const at = await board();
    learns(at);
    assert.deepEqual(sent(at), RESTORED);
    await at.rig.close();
    assert.deepEqual((await exported(at.config)).map(times), RESTORED);
    assert.deepEqual((await exported(at.config, '--dead-letters')).map(times), [RESTORED[0]]);
    assert.deepEqual((await said<Peeked[]>(at.config, 'peek', '--json')).map(times), RESTORED);
    const letters = await said<ShownLetter[]>(at.config, 'dead-letters', 'list', '--json');
    assert.deepEqual(
      letters.map(({ message }) => times(message!)),
      [RESTORED[0]],
    );
  });

  test('is reported with these times when it is lost after that', async () => {
    const at = await board();
    learns(at);
    const { spool } = at.rig;
    // The report of the dead letter was made before.
    const [before] = spool.lossesToReport();
    assert.equal(before!.firstEventTime, PAST - 1500);
    spool.lossesReported([before!]);
    spool.deadLetter(at.rig.take(1)[0]!, 'refused');
    spool.rewind();
    at.clock.advance(3 * 60 * MINUTE);
    await at.rig.spool.flush();
    const rows = await until('the rest to expire', () => {
      at.clock.advance(10 * SECOND);
      const found = spool.lossesToReport();
      return found.some(({ reason }) => reason === 'expired') && found;
    });
    assert.deepEqual(
      rows.map(({ reason, firstEventTime, lastEventTime }) => [reason, firstEventTime, lastEventTime]),
      [
        ['dead-letter', NOW - 1500, NOW - 1500],
        ['expired', Date.UTC(2020, 0, 1), NOW],
      ],
    );
    await at.rig.close();
  });

  test('keeps what its times are worth in another gateway, through an export of that one as well', async () => {
    const at = await board();
    learns(at);
    await at.rig.close();
    const forms = await exported(at.config);
    let rig = await imported(forms);
    assert.deepEqual(sent({ rig }), RESTORED);
    rig = await rig.restart();
    assert.deepEqual(sent({ rig }), RESTORED);
    await rig.close();
  });
});

describe('what is exported while nobody has set the clock', () => {
  test('says so, also of the event time, and is never taken for right by who imports it', async () => {
    const at = await board();
    await at.rig.close();
    const forms = await exported(at.config);
    assert.deepEqual(forms.map(times), UNKNOWN);
    assert.deepEqual(
      forms.map(({ eventTimeOurs }) => eventTimeOurs),
      [true, undefined, undefined],
    );
    assert.deepEqual((await said<Peeked[]>(at.config, 'peek', '--json')).map(times), UNKNOWN);
    let rig = await imported(forms);
    assert.deepEqual(sent({ rig }), UNKNOWN);
    rig = await rig.restart();
    assert.deepEqual(sent({ rig }), UNKNOWN);
    assert.deepEqual(
      rig.take().map(({ message }) => message.eventTimeOurs),
      [true, undefined, undefined],
    );
    await rig.close();
  });

  test('is not taken for right by a board that knows the time no more than the first, and learns it later', async () => {
    const at = await board();
    await at.rig.close();
    const forms = await exported(at.config);
    const other = await board();
    await other.rig.spool.flush();
    const taken = takeIn(other.rig.spool, forms.map(incoming));
    await other.rig.spool.flush();
    await taken;
    learns(other);
    assert.deepEqual(sent(other), [...RESTORED, ...UNKNOWN]);
    await other.rig.close();
  });
});

test('Azure IoT Hub is told the same of what was imported', async () => {
  const at = await board();
  learns(at);
  await at.rig.close();
  const rig = await imported((await exported(at.config)).slice(0, 1));
  const dialect = iothubUpstream('line-4', 'line-4');
  const [stored] = rig.take();
  const { topic } = dialect.event(stored!, rig.spool.acceptedTime(stored!.message.acceptedAt), false);
  assert.match(decodeURIComponent(topic), /2025-12-31T23:59:58\.500Z.*holdfast-clock=restored/);
  await rig.close();
});
