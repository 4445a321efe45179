import assert from 'node:assert/strict';
import {
  closeSync,
  cpSync,
  existsSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { mock, test } from 'node:test';
import { pendingOf } from '../src/spool/books.ts';
import { Quarantine } from '../src/spool/quarantine.ts';
import { bytesUnder } from '../src/spool/quota.ts';
import { Environment, type Change } from '../src/store/environment.ts';
import { PageFile } from '../src/store/page-file.ts';
import { StoreError } from '../src/store/store-error.ts';
import { scratch } from './parts/scratch.ts';
import { noise, SpoolRig, text } from './parts/spool-rig.ts';

const MIB = 2 ** 20;
const PAGE = 4096;
const QUOTA = 8 * MIB;
const LETTERS = 3;

const dataFile = (dataDir: string) => join(dataDir, 'spool/data.mdb');
const quarantined = (dataDir: string) => join(dataDir, 'quarantine/spool/data.mdb');

function overwrite(path: string, at: number, bytes: Buffer): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

/** A stopped gateway's data directory with so many messages of about 2 KB on three lanes, 50 of them delivered, some dead letters. */
async function backlog(count: number): Promise<{ dataDir: string; bodies: Map<string, string>; pending: number }> {
  const rig = await SpoolRig.open({ quota: { bytes: QUOTA } });
  const bodies = new Map<string, string>();
  for (let n = 0; n < count; n++) {
    const body = `${n} ${noise(1500).toString('base64')}`;
    void rig.accept(body, [10, 10, 10, 4, 0][n % 5], false);
    if (n % 40 === 39) await rig.spool.flush();
  }
  await rig.spool.flush();
  // The file is filled ahead to what it may come to, as it is a minute after any start.
  for (let left = 0.95 * QUOTA - rig.spool.environment.fileBytes(); left > 0; left -= MIB)
    await rig.spool.environment.fill(Math.floor(Math.min(left, MIB) / PAGE) * PAGE);
  rig.take(50 + LETTERS).forEach((stored, n) => {
    if (n < LETTERS) rig.spool.deadLetter(stored, 'for the test');
    else rig.spool.delivered(stored, true);
  });
  await rig.spool.flush();
  rig.spool.rewind();
  for (const stored of rig.take()) bodies.set(`${stored.lane}/${stored.seq}`, text(stored));
  await rig.audit();
  const { dataDir } = rig;
  await rig.close();
  return { dataDir, bodies, pending: bodies.size };
}

/** Starts on it, and holds all that is there against what was: contents, order, books, reports and the quota. */
async function heldAgainst(
  dataDir: string,
  bodies: ReadonlyMap<string, string>,
): Promise<{ carried: number; letters: number; log: SpoolRig['log'] }> {
  const rig = await SpoolRig.open({ dataDir, quota: { bytes: QUOTA } });
  const taken = rig.take();
  const before = new Map<number, number>();
  for (const stored of taken) {
    assert.equal(text(stored), bodies.get(`${stored.lane}/${stored.seq}`), `${stored.lane}/${stored.seq}`);
    assert.ok(stored.seq > (before.get(stored.lane) ?? 0), 'out of order, or twice');
    before.set(stored.lane, stored.seq);
  }
  await rig.audit();
  const books = rig.books();
  const { ledger, lanes } = books;
  assert.equal(ledger.accepted - ledger.delivered, bodies.size + LETTERS);
  assert.equal(taken.length, pendingOf(books));
  const lost = rig.spool.lossesToReport().filter(({ reason }) => reason === 'quarantined');
  assert.equal(
    lost.reduce((sum, { count }) => sum + count, 0),
    bodies.size - taken.length,
  );
  assert.ok(lost.every(({ exact }) => !exact));
  assert.ok(bytesUnder(dataDir) <= QUOTA, `${bytesUnder(dataDir)} of ${QUOTA}`);
  // What comes now stands in an epoch of its own, behind all that was there.
  const used = Math.max(
    ...[...bodies.keys()].filter((key) => key.startsWith('10/')).map((key) => Number(key.slice(3))),
  );
  assert.ok(lanes[10]!.nextSeq > used);
  await rig.accept('after');
  const last = rig.take().at(-1)!;
  assert.deepEqual([text(last), last.epoch], ['after', books.epoch]);
  for (const stored of [...taken, last]) rig.spool.delivered(stored, true);
  assert.equal((await rig.audit()).messages, 0);
  const letters = rig.books().ledger.deadLetters;
  await rig.close();
  return { carried: taken.length, letters, log: rig.log };
}

test('garbage in either meta page: all that waited goes on, the dead letters too, and the old file is kept', async () => {
  const whole = await backlog(1000);
  assert.ok(statSync(dataFile(whole.dataDir)).size > 0.9 * QUOTA, 'it is filled ahead');
  for (const meta of [0, 1]) {
    const dataDir = join(scratch(), 'data');
    cpSync(whole.dataDir, dataDir, { recursive: true });
    overwrite(dataFile(dataDir), meta * PAGE, noise(100));
    const { carried, letters, log } = await heldAgainst(dataDir, whole.bodies);
    assert.deepEqual([carried, letters], [whole.pending, LETTERS]);
    const said = log.map(({ msg }) => msg).join('\n');
    assert.match(said, new RegExp(`meta page ${meta} is not|is not an LMDB file`));
    assert.match(said, /go on in a fresh one, and 0 are lost.*the old file was moved to quarantine/);
    assert.ok(existsSync(quarantined(dataDir)));
  }
});

test('cut short: what lies before the cut goes on', async () => {
  const { dataDir, bodies, pending } = await backlog(1000);
  const used = usedBytes(dataDir);
  truncateSync(dataFile(dataDir), Math.floor(used / 2 / PAGE) * PAGE + 1000);
  const { carried } = await heldAgainst(dataDir, bodies);
  assert.ok(carried > pending * 0.25 && carried < pending, `${carried} of ${pending}`);
});

test('garbage in a page of the tree: the blocks that it led to go on as well', async () => {
  const { dataDir, bodies, pending } = await backlog(1000);
  const file = PageFile.open(dataFile(dataDir));
  const { root } = file.meta.main;
  file.close();
  overwrite(dataFile(dataDir), root! * PAGE, noise(PAGE));
  const { carried, log } = await heldAgainst(dataDir, bodies);
  assert.ok(carried > pending * 0.9, `${carried} of ${pending}`);
  assert.ok(log.some(({ level }) => level === 50));
});

test('books that do not match their checksum: the last copy of the totals says what waited, and all of it goes on', async () => {
  const { dataDir, bodies, pending } = await backlog(300);
  const bytes = readFileSync(dataFile(dataDir));
  for (
    let at = bytes.indexOf('{"version":3,"epoch":1');
    at !== -1;
    at = bytes.indexOf('{"version":3,"epoch":1', at + 1)
  )
    bytes[at + 30]! ^= 1;
  writeFileSync(dataFile(dataDir), bytes);
  const { carried } = await heldAgainst(dataDir, bodies);
  assert.equal(carried, pending);
});

test('a spool that fills its quota is carried over within it: the old file makes room as the new one grows', async (context) => {
  const dataDir = join(scratch(), 'data');
  let rig = await SpoolRig.open({ dataDir, quota: { bytes: QUOTA } });
  for (let n = 0; n < 6000; n++) {
    void rig.accept(`${n} ${noise(1500).toString('base64')}`, 10, false);
    if (n % 20 === 19) await rig.spool.flush();
  }
  await rig.audit();
  const pending = pendingOf(rig.books());
  const before = rig.books().ledger;
  assert.ok((before.dropped.evicted ?? 0) > 0, 'it never was full');
  await rig.close();
  overwrite(dataFile(dataDir), 0, noise(100));
  let most = 0;
  const watched = afterEachWrite(() => (most = Math.max(most, bytesUnder(dataDir))));
  rig = await SpoolRig.open({ dataDir, quota: { bytes: QUOTA } });
  watched.mock.restore();
  context.diagnostic(`at most ${most} of ${QUOTA} bytes under the data directory`);
  assert.ok(most <= QUOTA, `${most} of ${QUOTA}`);
  const taken = rig.take();
  assert.ok(taken.length >= pending * 0.98, `${taken.length} of ${pending}`);
  await rig.audit();
  assert.equal(rig.books().ledger.accepted, before.accepted);
  assert.ok(!existsSync(join(dataDir, 'quarantine')), 'it has no room beside the new one');
  assert.ok(rig.log.some(({ msg }) => /the old file was deleted/.test(msg)));
  assert.ok(!rig.log.some(({ msg }) => /moved to quarantine/.test(msg)));
  // It takes in what comes, as before.
  for (let n = 0; n < 400; n++) void rig.accept(noise(1500), 10, false);
  await rig.audit();
  assert.ok(bytesUnder(dataDir) <= QUOTA);
  await rig.close();
});

test('the spool in quarantine goes before any message does', async () => {
  const { dataDir, pending } = await backlog(1000);
  overwrite(dataFile(dataDir), 0, noise(100));
  const rig = await SpoolRig.open({ dataDir, quota: { bytes: QUOTA } });
  assert.ok(existsSync(quarantined(dataDir)));
  let more = 0;
  while (existsSync(quarantined(dataDir))) {
    for (let n = 0; n < 20; n++) void rig.accept(noise(2000), 10, false);
    await rig.spool.flush();
    assert.ok((more += 20) < 4000, 'it never goes');
  }
  assert.equal(rig.books().ledger.dropped.evicted ?? 0, 0);
  assert.equal(pendingOf(rig.books()), pending + more);
  assert.ok(rig.log.some(({ msg }) => /quarantine was deleted: its room is wanted/.test(msg)));
  await rig.audit();
  await rig.close();
});

test('a disk that becomes full in the middle of it: what was carried over goes on, and the rest is kept in quarantine', async () => {
  const { dataDir, bodies, pending } = await backlog(1000);
  overwrite(dataFile(dataDir), 0, noise(100));
  const write = methodOf(Environment.prototype, 'write') as (changes: readonly Change[]) => Promise<void>;
  let commits = 0;
  const full = mock.method(Environment.prototype, 'write', function (this: Environment, changes: readonly Change[]) {
    if (++commits === 4) return Promise.reject(new StoreError('full', 'No space left on device'));
    return write.call(this, changes);
  });
  const { carried } = await heldAgainst(dataDir, bodies).finally(() => full.mock.restore());
  assert.ok(carried > 0 && carried < pending, `${carried} of ${pending}`);
  assert.ok(existsSync(quarantined(dataDir)));
});

test('what goes wrong in it with us keeps no gateway from starting: a fresh spool begins, and the old file is kept', async () => {
  const { dataDir, pending } = await backlog(200);
  overwrite(dataFile(dataDir), 0, noise(100));
  const open = Environment.open.bind(Environment);
  const broken = mock.method(Environment, 'open', (options: Parameters<typeof open>[0]) => {
    if (options.directory.endsWith('fresh')) throw new TypeError('a fault of ours');
    return open(options);
  });
  const begun = SpoolRig.open({ quota: { bytes: QUOTA }, dataDir });
  const rig = await begun.finally(() => broken.mock.restore());
  assert.ok(rig.log.some(({ level, msg }) => level === 50 && /could not be carried over/.test(msg)));
  assert.ok(existsSync(quarantined(dataDir)));
  assert.equal(rig.books().ledger.dropped.quarantined, pending + LETTERS);
  await rig.accept('after');
  await rig.audit();
  await rig.close();
});

test('cut off at any step of it, the next start goes on with what was left to do', async () => {
  const { dataDir, bodies, pending } = await backlog(500);
  overwrite(dataFile(dataDir), 0, noise(100));
  const copies: { readonly step: string; readonly dataDir: string }[] = [];
  const copy = (step: string) => {
    const to = join(scratch(), 'data');
    cpSync(dataDir, to, { recursive: true });
    copies.push({ step, dataDir: to });
  };
  let commits = 0;
  const mocks = [
    afterEachWrite(({ directory }) => {
      if (directory === new Quarantine(dataDir).fresh) copy(`commit ${++commits}`);
    }),
    ...(['setAside', 'trim', 'finish', 'remove'] as const).map((step) => {
      const real = methodOf(Quarantine.prototype, step) as () => unknown;
      return mock.method(Quarantine.prototype, step, function (this: Quarantine) {
        copy(`before ${step}`);
        const result = real.call(this) as never;
        copy(`after ${step}`);
        return result;
      });
    }),
  ];
  const rig = await SpoolRig.open({ dataDir, quota: { bytes: QUOTA } });
  for (const each of mocks) each.mock.restore();
  await rig.close();
  assert.ok(commits > 4, `${commits} commits`);
  for (const { step, dataDir: there } of copies) {
    const { carried, letters } = await heldAgainst(there, bodies);
    assert.deepEqual([step, carried, letters], [step, pending, LETTERS]);
  }
});

function methodOf(prototype: object, name: string): unknown {
  return Object.getOwnPropertyDescriptor(prototype, name)!.value;
}

/** Looks at the files after each commit, while no other is under way. */
function afterEachWrite(look: (environment: Environment) => void) {
  const write = methodOf(Environment.prototype, 'write') as (changes: readonly Change[]) => Promise<void>;
  return mock.method(Environment.prototype, 'write', async function (this: Environment, changes: readonly Change[]) {
    await write.call(this, changes);
    look(this);
  });
}

function usedBytes(dataDir: string): number {
  const file = PageFile.open(dataFile(dataDir));
  try {
    return file.usedPages() * PAGE;
  } finally {
    file.close();
  }
}
