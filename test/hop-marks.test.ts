import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { Relay } from '../src/above/relay.ts';
import { HopMarks } from '../src/above/hop-marks.ts';
import { ulid, ulidText } from '../src/message/ulid.ts';
import { SpoolRig, systemClock } from './parts/spool-rig.ts';

const log = pino({ level: 'silent' });
const T = 1_700_000_000_000;

function id(ms: number): string {
  return ulidText(ulid(T + ms));
}

function place(seq: number, epoch = 1, lane = 10) {
  return { epoch, lane, seq };
}

test('what was taken is known again, also in an older epoch; what comes next is new', () => {
  const marks = new HopMarks(log);
  const ids = Array.from({ length: 6 }, (_, n) => id(n));
  for (const seq of [1, 2, 3]) marks.take('line-4', place(seq), ids[seq]!);
  for (const seq of [1, 2, 3]) assert.equal(marks.knows('line-4', place(seq), ids[seq]!), true, `number ${seq}`);
  assert.equal(marks.knows('line-4', place(4), ids[4]!), false, 'the next number');
  assert.equal(marks.knows('line-4', place(3, 1, 0), ids[3]!), false, 'another lane');
  assert.equal(marks.knows('line-5', place(3), ids[3]!), false, 'another gateway');
  marks.take('line-4', place(2 ** 20 + 3, 2), ids[5]!);
  assert.equal(marks.knows('line-4', place(3), ids[3]!), true, 'the epoch before');
});

test('a gateway that has lost its data directory and counts from 1 again is heard', () => {
  const marks = new HopMarks(log);
  for (let seq = 1; seq <= 20; seq++) marks.take('line-4', place(seq), id(seq));
  assert.equal(marks.knows('line-4', place(20), id(1000)), false, 'the last number, and another message');
  assert.equal(marks.knows('line-4', place(1), id(1000)), false, 'a number of before, later than all of them');
  marks.take('line-4', place(1), id(1000));
  assert.equal(marks.knows('line-4', place(2), id(1001)), false, 'from then on these numbers count');
  for (let seq = 2; seq <= 100_000; seq += 9_999) marks.take('line-4', place(seq), id(2000 + seq));
  // Its clock has not been set yet: only the distance tells.
  assert.equal(marks.knows('line-4', place(1), id(-1_000_000)), false, 'further back than anybody sends again');
});

test('a clock that is set back makes no repeat a new message', () => {
  const marks = new HopMarks(log);
  const [early, late] = [id(10), id(5000)];
  marks.take('line-4', place(1), late);
  marks.take('line-4', place(2), early);
  assert.equal(marks.knows('line-4', place(1), late), true);
});

test('a message that was refused after all is as if it had not come', () => {
  const marks = new HopMarks(log);
  const [one, two] = [id(1), id(2)];
  marks.take('line-4', place(1), one);
  const undo = marks.take('line-4', place(2), two);
  undo();
  assert.equal(marks.knows('line-4', place(2), two), false);
  assert.equal(marks.knows('line-4', place(1), one), true);
});

test('marks are on the medium with the messages and outlast a crash; those of a gateway that is gone are not', async () => {
  let rig = await SpoolRig.open();
  let marks = new HopMarks(log);
  const ids = [id(1), id(2)];
  const others = { bytes: 0, cut: () => [{ kind: 2, number: 0, value: Buffer.from('of others') }] };
  const begin = () => {
    marks = new HopMarks(log);
    marks.start(rig.spool.companionRecords());
    rig.spool.accompany(others, marks);
  };
  begin();
  for (const [n, each] of ids.entries()) {
    for (const gateway of ['line-4', 'line-5']) marks.take(gateway, place(n + 1), each);
    await rig.accept(`message ${n}`);
  }
  rig = await rig.crash();
  begin();
  assert.equal(marks.knows('line-4', place(2), ids[1]!), true);
  marks.forget('line-4');
  await rig.spool.kept(true);
  rig = await rig.crash();
  begin();
  assert.equal(marks.knows('line-4', place(2), ids[1]!), false);
  assert.equal(marks.knows('line-5', place(2), ids[1]!), true);
  await rig.close();
});

test('after one that found no room nothing of its lane is taken until it has come again', async () => {
  const refused = { rejected: 0 };
  let full = false;
  const taken: string[] = [];
  const relay = new Relay({
    config: { gateway: { id: 'site' }, upstream: { dialect: 'holdfast' } },
    spool: { books: { ledger: { refused } }, kept: () => Promise.resolve() },
    accept: async (_, { body }) => {
      if (full) {
        refused.rejected++;
        throw Object.assign(new Error('no room'), { reason: 'rejected' });
      }
      taken.push(body.toString());
    },
    mustBeKnown: () => null,
    clock: systemClock,
    log,
  });
  const ids = [1, 2, 3, 4].map((n) => id(n));
  const say = (seq: number, lane = 10) =>
    relay.event({
      kind: 'lower event',
      gateway: 'line-4',
      source: { child: 'press' },
      place: place(seq, 1, lane),
      id: ids[seq - 1]!,
      hops: 0,
      body: Buffer.from(`${lane}/${seq}`),
      properties: {},
    });
  await say(1);
  full = true;
  await assert.rejects(say(2), { reason: 'rejected' });
  full = false;
  await assert.rejects(say(3), { reason: 'rejected' }, 'it would make number 2 look like a repeat');
  await say(1, 0);
  await say(2);
  await say(3);
  full = true;
  await assert.rejects(say(4), { reason: 'rejected' });
  full = false;
  // It has let number 4 go meanwhile, and says so in a loss report: with a new connection it begins where it is.
  relay.came('line-4');
  await say(2);
  assert.deepEqual(taken, ['10/1', '0/1', '10/2', '10/3']);
  assert.equal(relay.status().repeats, 1);
});
