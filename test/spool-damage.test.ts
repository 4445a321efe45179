import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  existsSync,
  openSync,
  readFileSync,
  readSync,
  closeSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { headerAsItStands } from '../src/spool/block.ts';
import { encodeBooks, pendingOf } from '../src/spool/books.ts';
import { seal } from '../src/spool/seal.ts';
import { booksIn } from '../src/spool/files.ts';
import { BOOKS_KEY, blockKey } from '../src/spool/keys.ts';
import { Environment } from '../src/store/environment.ts';
import { StoreError } from '../src/store/store-error.ts';
import { noise, SpoolRig, text } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const EPOCH_GAP = 2 ** 20;
const PAGE = 4096;

const dataFile = (rig: SpoolRig) => join(rig.dataDir, 'spool/data.mdb');

/** Flips one bit at each place in a file where `mark` stands. Returns how many. */
function flipAt(path: string, mark: Buffer, distance: number): number {
  const bytes = readFileSync(path);
  let found = 0;
  for (let at = bytes.indexOf(mark); at !== -1; at = bytes.indexOf(mark, at + 1)) {
    bytes[at + distance]! ^= 1;
    found++;
  }
  writeFileSync(path, bytes);
  return found;
}

/** Ten blocks of lane 10, 40 messages each, on overflow pages of their own: too large to be merged. */
async function tenBlocks(): Promise<SpoolRig> {
  const rig = await SpoolRig.open();
  for (let block = 0; block < 10; block++) {
    for (let n = 0; n < 40; n++) void rig.accept(noise(700), 10, false);
    await rig.spool.flush();
  }
  return rig;
}

/** Flips a bit of the block that begins with `seq`, `distance` bytes after its first one. */
function damageBlock(path: string, seq: number, distance: number): void {
  // The header from its third byte: lane 10, zero, epoch 1, 40 messages, first number (block.ts).
  const header = Buffer.from([10, 0, 0, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 0]);
  header.writeDoubleBE(seq, 10);
  assert.equal(flipAt(path, header, distance - 2), 1);
}

for (const [name, distance] of [
  ['body', 3000],
  ['checksum', 72],
] as const) {
  test(`a block with a flipped bit in its ${name} is skipped and reported, and the rest is delivered`, async () => {
    const whole = await tenBlocks();
    await whole.close();
    damageBlock(dataFile(whole), 161, distance);
    const rig = await SpoolRig.open({ dataDir: whole.dataDir });
    const taken = rig.take();
    assert.deepEqual(
      taken.map(({ seq }) => seq),
      Array.from({ length: 400 }, (_, i) => i + 1).filter((seq) => seq <= 160 || seq > 200),
    );
    const rows = rig.spool.lossesToReport();
    assert.deepEqual(
      rows.map(({ reason, firstSeq, lastSeq, count, exact }) => ({ reason, firstSeq, lastSeq, count, exact })),
      [{ reason: 'quarantined', firstSeq: 161, lastSeq: 200, count: 40, exact: false }],
    );
    assert.ok(
      rig.log.some(({ msg }) => /checksum/.test(msg)),
      'the log says nothing',
    );
    // Sending again, before the deletion has been committed, must not count it again.
    rig.spool.rewind();
    assert.equal(rig.take().length, 360);
    rig.spool.rewind();
    for (const stored of rig.take()) rig.spool.delivered(stored, true);
    assert.equal((await rig.audit()).messages, 0);
    assert.deepEqual(rig.books().ledger.dropped, { quarantined: 40 });
    await rig.close();
  });
}

test('a damaged block behind a gap loses what it held, and not what the gap held', async () => {
  const whole = await tenBlocks();
  await whole.close();
  // Blocks 3 to 6 go as an eviction takes them, through the books: 80 messages stay in front, 160 behind.
  const env = Environment.open({
    directory: join(whole.dataDir, 'spool'),
    mapBytes: 64 * PAGE * PAGE,
    durability: 'strict',
  });
  const books = env.read(booksIn);
  books.lanes[10]!.pending -= 160;
  books.lanes[10]!.dropped.evicted = 160;
  books.ledger.dropped.evicted = 160;
  await env.write([
    [BOOKS_KEY, encodeBooks(books)],
    ...[81, 121, 161, 201].map((seq) => [blockKey(10, seq), null] as const),
  ]);
  await env.close();
  damageBlock(dataFile(whole), 41, 5000);
  const rig = await SpoolRig.open({ dataDir: whole.dataDir });
  const taken = rig.take();
  assert.equal(taken.length, 200);
  assert.equal(rig.spool.lossesToReport()[0]!.count, 40);
  for (const stored of taken) rig.spool.delivered(stored, true);
  assert.equal((await rig.audit()).messages, 0);
  assert.deepEqual(rig.books().ledger.dropped, { evicted: 160, quarantined: 40 });
  await rig.close();
});

test('a damaged block that was thinned loses what was left in it, and not once more what had gone', async () => {
  const rig = await SpoolRig.open({ quota: { bytes: 4 * 2 ** 20 }, whenFull: 'thin' });
  for (let n = 1; n <= 6000; n++) {
    void rig.accept(noise(500).toString('hex'), 10, false);
    if (n % 100 === 0) await rig.spool.flush();
  }
  await rig.audit();
  const key = blockKey(10, 1);
  const value = rig.spool.environment.read((reader) => reader.get(key)!);
  const { level, count, lastSeq } = headerAsItStands(value);
  assert.ok(level > 0 && lastSeq >= count * 2, `${count} of ${lastSeq} messages are left`);
  const thinned = rig.books().ledger.dropped.thinned!;
  value[3000]! ^= 1;
  await rig.spool.environment.write([[key, value]]);
  const taken = rig.take();
  assert.equal(taken.length, 6000 - thinned - count);
  for (const stored of taken) rig.spool.delivered(stored, true);
  assert.equal((await rig.audit()).messages, 0);
  assert.deepEqual(rig.books().ledger.dropped, { thinned, quarantined: count });
  await rig.close();
});

test('a spool cut short is set aside: a new epoch, numbers that were never used, and a report of what was pending', async () => {
  let rig = await SpoolRig.open();
  for (let n = 1; n <= 1000; n++) void rig.accept(noise(100), n % 4 === 0 ? 0 : 10);
  await rig.spool.flush();
  for (const stored of rig.take(200)) rig.spool.delivered(stored, true);
  await rig.spool.flush();
  const before = rig.books();
  const { ledger } = before;
  // Half of what is in use: the file is longer than that, filled with zeros ahead of need.
  const half = Math.floor(rig.spool.environment.usedPages() / 2) * PAGE;
  await rig.close();
  truncateSync(dataFile(rig), half);

  rig = await SpoolRig.open({ dataDir: rig.dataDir });
  assert.ok(existsSync(join(rig.dataDir, 'quarantine/spool/data.mdb')), 'the old one is not in quarantine');
  const books = rig.books();
  assert.equal(books.epoch, 2);
  assert.equal(books.ledger.accepted, ledger.accepted);
  assert.equal(books.ledger.delivered, 200);
  // What lies before the cut goes on, see spool-set-aside.test.ts.
  assert.ok(books.ledger.dropped.quarantined! < 800);
  assert.equal(books.ledger.dropped.quarantined! + pendingOf(books), 800);
  for (const lane of [0, 10]) assert.equal(books.lanes[lane]!.nextSeq, before.lanes[lane]!.nextSeq + EPOCH_GAP);
  await rig.audit();
  const rows = rig.spool.lossesToReport();
  assert.deepEqual(
    rows.map(({ epoch, lane, reason, firstSeq, lastSeq, count, exact }) => ({
      epoch,
      lane,
      reason,
      firstSeq,
      lastSeq,
      count,
      exact,
    })),
    [0, 10].map((lane) => {
      const { settledTo, nextSeq, pending } = before.lanes[lane]!;
      return {
        epoch: 1,
        lane,
        reason: 'quarantined',
        firstSeq: settledTo + 1,
        lastSeq: nextSeq - 1,
        count: pending - books.lanes[lane]!.pending,
        exact: false,
      };
    }),
  );

  // A crash before anything else has happened must not forget any of it, nor begin yet another epoch.
  rig = await rig.crash();
  assert.equal(rig.books().epoch, 2);
  assert.equal(rig.spool.lossesToReport().length, 2);
  await rig.accept('after', 10);
  const after = rig.take().at(-1);
  assert.deepEqual([after!.epoch, after!.seq, text(after!)], [2, before.lanes[10]!.nextSeq + EPOCH_GAP, 'after']);
  await rig.audit();
  await rig.close();
});

test('books that do not match their checksum: the spool is set aside, and what waited in it goes on', async () => {
  let rig = await SpoolRig.open();
  for (let n = 1; n <= 100; n++) void rig.accept(noise(50));
  await rig.spool.flush();
  await rig.close();
  assert.ok(flipAt(dataFile(rig), Buffer.from('{"version":3,"epoch":1'), 30) > 0);
  rig = await SpoolRig.open({ dataDir: rig.dataDir });
  assert.equal(rig.books().epoch, 2);
  assert.deepEqual(rig.books().ledger.dropped, {});
  assert.equal(rig.take().length, 100);
  await rig.audit();
  await rig.close();
});

test('a spool of a newer format is refused and left as it is', async () => {
  const rig = await SpoolRig.open();
  await rig.accept('one');
  await rig.close();
  const env = Environment.open({ directory: join(rig.dataDir, 'spool'), mapBytes: 2 ** 24, durability: 'strict' });
  await env.write([[BOOKS_KEY, seal({ version: 4, whatever: true })]]);
  await env.close();
  const hash = () =>
    createHash('sha256')
      .update(readFileSync(dataFile(rig)))
      .digest('hex');
  const before = hash();
  await assert.rejects(SpoolRig.open({ dataDir: rig.dataDir }), (error: Error) => {
    assert.match(error.message, /format 4/);
    assert.ok(!(error instanceof StoreError));
    return true;
  });
  assert.equal(hash(), before);
  assert.ok(!existsSync(join(rig.dataDir, 'quarantine')));
  // Nor does the refusal keep it open: the newer program may have it.
  const again = Environment.open({ directory: join(rig.dataDir, 'spool'), mapBytes: 2 ** 24, durability: 'strict' });
  await again.close();
});

test('a second damage takes the place of the first in quarantine', async () => {
  let rig = await SpoolRig.open();
  for (let round = 1; round <= 2; round++) {
    for (let n = 1; n <= 100; n++) void rig.accept(noise(500));
    await rig.spool.flush();
    await rig.close();
    truncateSync(dataFile(rig), 3 * PAGE);
    rig = await SpoolRig.open({ dataDir: rig.dataDir });
    assert.equal(rig.books().epoch, round + 1);
    assert.deepEqual(rig.books().ledger.dropped, { quarantined: 100 * round });
    assert.equal(
      rig.spool.lossesToReport().length,
      1,
      'the report of the last one only: the first went with its spool',
    );
  }
  await rig.audit();
  await rig.close();
});

test('a file that LMDB did not write is set aside', async () => {
  for (const bytes of [noise(10 * PAGE), Buffer.from('not a database'), Buffer.alloc(PAGE)]) {
    let rig = await SpoolRig.open();
    await rig.accept('one');
    await rig.close();
    writeFileSync(dataFile(rig), bytes);
    rig = await SpoolRig.open({ dataDir: rig.dataDir });
    assert.equal(rig.books().epoch, 2);
    assert.deepEqual(rig.books().ledger.dropped, { quarantined: 1 });
    await rig.close();
  }
});

test('a spool that is gone altogether counts as lost', async () => {
  let rig = await SpoolRig.open();
  for (let n = 1; n <= 10; n++) void rig.accept(String(n));
  await rig.spool.flush();
  await rig.close();
  writeFileSync(dataFile(rig), '');
  rig = await SpoolRig.open({ dataDir: rig.dataDir });
  assert.equal(rig.books().epoch, 2);
  assert.deepEqual(rig.books().ledger.dropped, { quarantined: 10 });
  await rig.audit();
  await rig.close();
});

test('any page of the file may be torn: the spool opens, or is set aside, and the account is even', async (context) => {
  // Not closed: what tears a page is no clean stop, after which nothing would be looked at before LMDB has it.
  const whole = await tenBlocks();
  await until('the commit under way to end', () => !whole.spool.snapshot().commitUnderWay);
  const { size } = statSync(dataFile(whole));
  let setAside = 0;
  let lost = 0;
  for (let page = 2; page < size / PAGE; page += 7) {
    const copy = whole.copy();
    const fd = openSync(join(copy, 'spool/data.mdb'), 'r+');
    const torn = Buffer.alloc(PAGE);
    readSync(fd, torn, 0, PAGE, page * PAGE);
    // The second half of the page was not written: the old contents, or nothing, stand there.
    writeSync(fd, noise(PAGE / 2), 0, PAGE / 2, page * PAGE + PAGE / 2);
    closeSync(fd);
    const rig = await SpoolRig.open({ dataDir: copy });
    const taken = rig.take();
    for (const stored of taken) rig.spool.delivered(stored, true);
    await rig.spool.flush();
    const { accepted, delivered, dropped } = rig.books().ledger;
    assert.equal(accepted, 400);
    assert.equal(delivered + (dropped.quarantined ?? 0), 400, `page ${page}`);
    if (rig.books().epoch === 2) setAside++;
    else if (delivered < 400) lost++;
    await rig.close();
  }
  await whole.close();
  context.diagnostic(`${lost} tears lost a block, ${setAside} the spool`);
  assert.ok(lost > 0);
});
