import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import type { Exchanged } from '../src/message/exchange.ts';
import { BODY_BYTES_MAX } from '../src/message/message.ts';
import { quarantinedFile, spoolFile } from '../src/spool/files.ts';
import { salvage } from '../src/spool/salvage.ts';
import { PageFile } from '../src/store/page-file.ts';
import { PIECE_BYTES } from '../src/store/pieces.ts';
import { holdfast } from './parts/command.ts';
import { lines, ODD, stopped, type Stopped } from './parts/exported-spool.ts';
import { PROGRAM } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { SpoolRig } from './parts/spool-rig.ts';

/** Rows of a table as RFC 4180 has them. */
function rows(text: string): string[][] {
  const found: string[][] = [[]];
  for (const match of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    found.at(-1)!.push(match[1]?.replaceAll('""', '"') ?? match[2]!);
    if (match[3] === '\r\n') found.push([]);
  }
  return found.slice(0, -1);
}

describe('spool export of a stopped gateway', () => {
  let at: Stopped;
  before(async () => {
    at = await stopped();
  });

  test('gives what waits, in order, and nothing that is settled', () => {
    const of = (lane: number) => at.waiting.filter((each) => each.lane === lane).map(({ seq }) => seq);
    const run = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
    assert.deepEqual(of(0), run(6, 100));
    assert.deepEqual(of(4), run(1, 7));
    assert.deepEqual(of(10), run(1, 200));
    assert.deepEqual(
      at.waiting.map(({ lane }) => lane),
      at.waiting.map(({ lane }) => lane).toSorted((a, b) => a - b),
    );
    const [odd] = at.waiting.filter(({ child }) => child === 'odd');
    const { id, acceptedAt, ...rest } = odd!;
    assert.match(id, /^[0-9A-Z]{26}$/);
    assert.match(String(acceptedAt), /Z$/);
    assert.deepEqual(rest, {
      lane: 4,
      epoch: 1,
      seq: 1,
      child: 'odd',
      module: 'm',
      output: 'o',
      eventTime: 1234.5,
      clock: 'synced',
      expiresAfterSecs: 60,
      hops: 0,
      contentType: 'a/b',
      contentEncoding: null,
      properties: { 'a "b"': 'c, d', plain: 'x' },
      body: 'plain',
    });
  });

  test('of one lane, of one child, of dead letters, into a file', async () => {
    const ask = async (...args: string[]) =>
      lines((await holdfast(['spool', 'export', '-c', at.config, ...args])).stdout);
    assert.equal((await ask('--lane', '0')).length, 95);
    assert.equal((await ask('--child', 'odd')).length, 7);
    assert.equal((await ask('--lane', '3')).length, 0);
    const [letter, ...more] = await ask('--dead-letters');
    assert.deepEqual([letter!.seq, letter!.properties['dead-letter-reason'], more.length], [1, 'refused', 0]);
    const file = join(scratch(), 'out.jsonl');
    assert.deepEqual(await ask('-o', file), []);
    assert.deepEqual(lines(readFileSync(file, 'utf8')), at.waiting);
    const nowhere = await holdfast(['spool', 'export', '-c', at.config, '-o', '/nowhere/x']);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /^holdfast: there is no folder \/nowhere: make it, or name another place with -o\n$/);
  });

  test('as a table says the same', async () => {
    const { code, stdout } = await holdfast(['spool', 'export', '-c', at.config, '--format', 'csv']);
    assert.equal(code, 0);
    const [head, ...table] = rows(stdout);
    assert.equal(head!.join(), Object.keys(at.waiting[0]!).join().concat(',bodyEncoding'));
    assert.equal(table.length, at.waiting.length);
    const bodies = table
      .filter((row) => row[4] === 'odd')
      .map((row) => Buffer.from(row.at(-2)!, row.at(-1) as 'utf8' | 'base64'));
    assert.deepEqual(bodies, ODD);
    assert.deepEqual(JSON.parse(table.find((row) => row[4] === 'odd')!.at(-3)!), { 'a "b"': 'c, d', plain: 'x' });
  });

  test('into a reader that has enough ends quietly', async () => {
    const command = `"${process.execPath}" "${PROGRAM}" spool export -c "${at.config}" | head -n 1; exit \${PIPESTATUS[0]}`;
    const shell = spawn('bash', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    shell.stderr.on('data', (text: Buffer) => (said += text.toString()));
    shell.stdout.resume();
    assert.equal(await new Promise((resolve) => shell.once('close', resolve)), 0);
    assert.doesNotMatch(said, /EPIPE|Error/);
  });

  test(
    'and stats, peek and verify work on a medium that may not be written, and make no lock file',
    { skip: process.getuid?.() !== 0 && 'SKIP: needs root, to mount' },
    async () => {
      const place = scratch();
      const spool = dirname(spoolFile(at.dataDir));
      rmSync(join(spool, 'lock.mdb'), { force: true });
      execFileSync('mount', ['--bind', dirname(at.config), place]);
      try {
        execFileSync('mount', ['-o', 'remount,ro,bind', place]);
        const ends = await Promise.all(
          ['stats', 'peek', 'verify', 'export'].map((command) =>
            holdfast(['spool', command, '-c', join(place, 'gateway.yaml')]),
          ),
        );
        assert.deepEqual(
          ends.map(({ code, stderr }) => (code === 0 ? 0 : stderr)),
          [0, 0, 0, 0],
        );
        assert.throws(() => readFileSync(join(spool, 'lock.mdb')), /ENOENT/);
      } finally {
        execFileSync('umount', [place]);
      }
    },
  );
});

test('spool stats and peek of a damaged spool show what can be read, say what cannot, and end with 1', async () => {
  const { config, dataDir, waiting } = await stopped();
  const file = PageFile.open(spoolFile(dataDir));
  const root = file.treePage(file.meta.main.root!);
  assert.ok(!root.leaf);
  const bytes = readFileSync(spoolFile(dataDir));
  bytes.fill(0, root.child(0) * 4096, root.child(0) * 4096 + 4096);
  file.close();
  writeFileSync(spoolFile(dataDir), bytes);
  const stats = await holdfast(['spool', 'stats', '--json', '-c', config]);
  assert.equal(stats.code, 1);
  assert.match(stats.stderr, /page \d+ /);
  assert.equal((JSON.parse(stats.stdout) as { ledger: { accepted: number } }).ledger.accepted, 307);
  const peeked = await holdfast(['spool', 'peek', '-n', '1000', '--json', '-c', config]);
  assert.equal(peeked.code, 1);
  assert.match(peeked.stderr, /page \d+ /);
  const seen = JSON.parse(peeked.stdout) as { seq: number; lane: number }[];
  assert.ok(seen.length > 0 && seen.length < waiting.length, `${seen.length}`);
});

describe('spool export of a damaged spool', () => {
  let at: Stopped;
  before(async () => {
    at = await stopped();
    const quarantine = dirname(quarantinedFile(at.dataDir));
    mkdirSync(dirname(quarantine), { recursive: true });
    renameSync(dirname(spoolFile(at.dataDir)), quarantine);
    copyFileSync(quarantinedFile(at.dataDir), join(at.dataDir, 'whole.mdb'));
  });
  const damage = (change: (bytes: Buffer, file: PageFile) => void) => {
    copyFileSync(join(at.dataDir, 'whole.mdb'), quarantinedFile(at.dataDir));
    const bytes = readFileSync(quarantinedFile(at.dataDir));
    const file = PageFile.open(quarantinedFile(at.dataDir));
    change(bytes, file);
    file.close();
    writeFileSync(quarantinedFile(at.dataDir), bytes);
    return holdfast(['spool', 'export', '--quarantine', '-c', at.config]);
  };

  test('in quarantine and whole gives everything', async () => {
    const { code, stdout } = await damage(() => undefined);
    assert.equal(code, 0);
    assert.deepEqual(lines(stdout), at.waiting);
  });

  test('leaves out a block that is not what was written, and says so', async () => {
    const { code, stdout, stderr } = await damage((bytes, file) => {
      file.scan(Buffer.of(10), ({ value }) => {
        const first = value.subarray(0, PIECE_BYTES);
        // Also where it lay before, and was not written over yet.
        for (let at = bytes.indexOf(first); at !== -1; at = bytes.indexOf(first, at + 1)) bytes[at + 100]! ^= 1;
        return false;
      });
    });
    assert.equal(code, 1);
    assert.match(stderr, /block of lane 10 1: block does not match its checksum\n\d+ messages exported; 1 problems/);
    const rest = lines(stdout);
    assert.ok(rest.length < at.waiting.length && rest.length > 250);
    assert.deepEqual(
      rest,
      at.waiting.filter(({ seq, lane }) => rest.some((each) => each.seq === seq && each.lane === lane)),
    );
  });

  for (const [what, change] of [
    [
      'without its root',
      (bytes: Buffer, file: PageFile) => bytes.fill(0, file.meta.main.root! * 4096, file.meta.main.root! * 4096 + 4096),
    ],
    ['without its meta pages', (bytes: Buffer) => bytes.fill(0, 0, 8192)],
  ] as const) {
    test(`${what} is searched for what waits; what else comes is said to be possible`, async () => {
      const { code, stdout, stderr } = await damage(change);
      assert.equal(code, 1);
      assert.match(stderr, /searched for blocks of messages; some may have been delivered or dropped before\n/);
      assert.match(stderr, /\d+ messages exported, \d+ of them salvaged; \d+ problems: there may have been more\n$/);
      const found = lines(stdout);
      const name = ({ lane, seq }: Exchanged) => `${lane}/${seq}`;
      const names = found.map(name);
      assert.equal(new Set(names).size, names.length, 'each number once');
      for (const each of at.waiting) assert.deepEqual(found[names.indexOf(name(each))], each);
      const sorted = found.toSorted((a, b) => a.lane - b.lane || a.seq - b.seq);
      assert.deepEqual(names, sorted.map(name));
    });
  }

  test('cut short gives what is left of it', async () => {
    copyFileSync(join(at.dataDir, 'whole.mdb'), quarantinedFile(at.dataDir));
    const bytes = readFileSync(quarantinedFile(at.dataDir));
    const file = PageFile.open(quarantinedFile(at.dataDir));
    // Half of what is in use: the file is longer than that.
    const half = Math.floor(file.usedPages() / 2) * file.pageBytes + 100;
    file.close();
    writeFileSync(quarantinedFile(at.dataDir), bytes.subarray(0, half));
    const { code, stdout, stderr } = await holdfast(['spool', 'export', '--quarantine', '-c', at.config]);
    assert.equal(code, 1);
    assert.match(stderr, /it was cut short\n/);
    assert.ok(lines(stdout).length > 50);
  });

  test('without its root still has the bodies that lie in pieces', async () => {
    const rig = await SpoolRig.open();
    const bodies = [100_000, BODY_BYTES_MAX, 20_000].map((bytes) => randomBytes(bytes));
    for (const body of bodies) await rig.accept(body);
    await rig.close();
    const bytes = readFileSync(spoolFile(rig.dataDir));
    const file = PageFile.open(spoolFile(rig.dataDir));
    bytes.fill(0, file.meta.main.root! * 4096, (file.meta.main.root! + 1) * 4096);
    file.close();
    writeFileSync(join(rig.dataDir, 'damaged.mdb'), bytes);
    const found = [...salvage(join(rig.dataDir, 'damaged.mdb'), null, (error) => assert.fail(error))];
    assert.deepEqual(
      found.map(({ message }) => message.body),
      bodies,
    );
  });

  test('where there is none in quarantine, it says so', async () => {
    const { config } = await stopped();
    const { code, stderr } = await holdfast(['spool', 'export', '--quarantine', '-c', config]);
    assert.equal(code, 1);
    assert.match(stderr, /there is no spool in quarantine in /);
  });
});
