import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Exchanged } from '../src/message/exchange.ts';
import { quarantinedFile, spoolFile } from '../src/spool/files.ts';
import { PageFile } from '../src/store/page-file.ts';
import { holdfast } from './parts/command.ts';
import { BUNDLE, startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { freePort } from './parts/free-port.ts';
import { scratch } from './parts/scratch.ts';
import { noise, SpoolRig } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

/** Bodies that are hard to say in JSON or in a table. */
const ODD = [
  Buffer.from('plain'),
  Buffer.from('"quoted", and\r\nmore'),
  Buffer.from('{"a":1}'),
  Buffer.from('{"a": 1.0}'),
  Buffer.from([0, 255, 254]),
  Buffer.from('{"base64":"AAAA"}'),
  Buffer.alloc(0),
];

/** A stopped gateway with 300 messages and more that wait, of which some are settled, and one dead letter. */
async function stopped(): Promise<{ config: string; dataDir: string; waiting: Exchanged[] }> {
  const dir = scratch();
  const config = join(dir, 'gateway.yaml');
  writeFileSync(config, 'gateway: { id: line-4, dataDir: data }\nstoreAndForward: { quota: 64MiB, keepFree: 0% }\n');
  const rig = await SpoolRig.open({ dataDir: join(dir, 'data') });
  for (const body of ODD) {
    const message = { ...rig.message(body, 4), source: { child: 'odd', module: 'm', output: 'o' }, contentType: 'a/b' };
    const properties = { 'a "b"': 'c, d', plain: 'x' };
    void rig.spool.accept({ ...message, properties, eventTime: 1234.5, expiresAfterSecs: 60 }, false);
  }
  for (let n = 0; n < 300; n++) {
    void rig.accept(noise(300), n % 3 === 0 ? 0 : 10, false);
    if (n % 30 === 29) await rig.spool.flush();
  }
  await rig.spool.flush();
  const [letter, ...taken] = rig.take(5);
  rig.spool.deadLetter(letter!, 'refused');
  for (const each of taken) rig.spool.delivered(each, true);
  await rig.spool.flush();
  await rig.audit();
  rig.spool.rewind();
  await rig.close();
  const { code, stdout, stderr } = await holdfast(['spool', 'export', '-c', config]);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '302 messages exported\n');
  return { config, dataDir: rig.dataDir, waiting: lines(stdout) };
}

function lines(text: string): Exchanged[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Exchanged);
}

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
  let at: Awaited<ReturnType<typeof stopped>>;
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
      ...{ lane: 4, epoch: 1, seq: 1, child: 'odd', module: 'm', output: 'o', eventTime: 1234.5, clock: 'synced' },
      ...{ expiresAfterSecs: 60, hops: 0, contentType: 'a/b', contentEncoding: null },
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
    assert.match(nowhere.stderr, /^holdfast: cannot write the export: ENOENT/);
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
    const command = `"${process.execPath}" "${BUNDLE}" spool export -c "${at.config}" | head -n 1; exit \${PIPESTATUS[0]}`;
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

describe('spool export of a damaged spool', () => {
  let at: Awaited<ReturnType<typeof stopped>>;
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
        bytes[bytes.indexOf(value) + 500]! ^= 1;
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
      // Small blocks lie in the tree's own pages, of which one is gone.
      const large = at.waiting.filter(({ lane }) => lane !== 4);
      for (const each of large) assert.deepEqual(found[names.indexOf(name(each))], each);
      const sorted = found.toSorted((a, b) => a.lane - b.lane || a.seq - b.seq);
      assert.deepEqual(names, sorted.map(name));
    });
  }

  test('cut short gives what is left of it', async () => {
    copyFileSync(join(at.dataDir, 'whole.mdb'), quarantinedFile(at.dataDir));
    const bytes = readFileSync(quarantinedFile(at.dataDir));
    writeFileSync(quarantinedFile(at.dataDir), bytes.subarray(0, Math.floor(bytes.length / 8192) * 4096 + 100));
    const { code, stdout, stderr } = await holdfast(['spool', 'export', '--quarantine', '-c', at.config]);
    assert.equal(code, 1);
    assert.match(stderr, /it was cut short\n/);
    assert.ok(lines(stdout).length > 50);
  });

  test('where there is none in quarantine, it says so', async () => {
    const { config } = await stopped();
    const { code, stderr } = await holdfast(['spool', 'export', '--quarantine', '-c', config]);
    assert.equal(code, 1);
    assert.match(stderr, /there is no spool in quarantine in /);
  });
});

describe('beside a gateway that runs', () => {
  let gateway: GatewayProcess;
  const ask = (...args: string[]) => holdfast(['spool', ...args, '-c', gateway.config]);
  before(async () => {
    const dir = scratch();
    const yaml = `
gateway: { id: line-4, dataDir: data }
upstream: { url: "mqtt://127.0.0.1:${await freePort()}" }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 10 }
children: [{ id: press-1, simulated: { sendIntervalMs: 10, messageCount: -1 } }]
`;
    gateway = await startGateway({ dir, yaml });
  });
  after(() => gateway.kill());

  test('verify and export see one whole after the other while it writes', async () => {
    await until('some messages', async () => lines((await ask('export')).stdout).length > 200);
    for (let round = 0; round < 10; round++) {
      const [verified, exported] = await Promise.all([ask('verify'), ask('export')]);
      assert.equal(verified.code, 0, verified.stdout + verified.stderr);
      assert.equal(exported.code, 0, exported.stderr);
      const seqs = lines(exported.stdout).map(({ seq }) => seq);
      assert.deepEqual(
        seqs,
        Array.from({ length: seqs.length }, (_, n) => n + 1),
      );
    }
  });

  test('import gives it messages, which wait with their own times behind those of their lane', async () => {
    const { waiting } = await stopped();
    const file = join(scratch(), 'in.jsonl');
    writeFileSync(file, waiting.map((each) => `${JSON.stringify(each)}\n`).join(''));
    const { code, stdout, stderr } = await ask('import', file, '--json');
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), { imported: 302, refused: 0 });
    const found = lines((await ask('export')).stdout).filter(({ child }) => child !== 'press-1');
    const without = ({ seq, ...rest }: Exchanged) => rest;
    assert.deepEqual(found.map(without), waiting.map(without));
    assert.equal((await ask('verify')).code, 0);
  });

  test('import takes nothing of a bad line, and goes on with the rest', async () => {
    const file = join(scratch(), 'in.jsonl');
    const fine = (n: number) => JSON.stringify({ child: 'other', lane: 3, body: `number ${n}` });
    const large = JSON.stringify({ child: 'other', lane: 3, body: 'x'.repeat(262_144) });
    const tooLarge = JSON.stringify({ child: 'other', lane: 3, body: 'x'.repeat(262_145) });
    const tooLong = JSON.stringify({ child: 'other', lane: 3, body: 'x', properties: { a: 'y'.repeat(3_000_000) } });
    const bad = ['{', '[]', '{"child":"other"}', tooLarge, tooLong];
    const text = [fine(1), ...bad, '', large, fine(2)].join('\n');
    writeFileSync(file, Buffer.concat([Buffer.from(text), Buffer.from('\n"\xff"\n', 'latin1'), Buffer.from(fine(3))]));
    const { code, stdout, stderr } = await ask('import', file);
    assert.equal(code, 1);
    assert.equal(stdout, '');
    for (const said of [
      /^line 2: not taken: it is no JSON$/m,
      /^line 3: not taken: it is no JSON object$/m,
      /^line 4: not taken: it has no body$/m,
      /^line 5: not taken: its body of 262145 bytes is larger than the 262144 that a message may have$/m,
      /^line 6: not taken: it is longer than any message, or no UTF-8$/m,
      /^line 10: not taken: it is longer than any message, or no UTF-8$/m,
      /^4 messages imported, 6 refused$/m,
    ]) {
      assert.match(stderr, said);
    }
    const found = lines((await ask('export', '--lane', '3')).stdout);
    assert.deepEqual(
      found.map(({ body }) => String(body).slice(0, 8)),
      ['number 1', 'xxxxxxxx', 'number 2', 'number 3'],
    );
  });

  test(
    'a user who may not read its files is told so by export, and verify asks the gateway',
    { skip: process.getuid?.() !== 0 && 'SKIP: needs root, to become somebody else' },
    async () => {
      const folder = dirname(gateway.config);
      for (const place of [folder, join(folder, 'data')]) chmodSync(place, 0o755);
      chmodSync(join(folder, 'data/holdfast.sock'), 0o666);
      chmodSync(join(folder, 'data/spool'), 0o700);
      const as = async (...args: string[]) => {
        const child = spawn(process.execPath, [BUNDLE, 'spool', ...args, '-c', gateway.config], {
          uid: 65_534,
          gid: 65_534,
        });
        let [stdout, stderr] = ['', ''];
        child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
        child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
        const code = await new Promise((resolve) => child.once('close', resolve));
        return { code, stdout, stderr };
      };
      const verified = await as('verify');
      assert.match(verified.stdout, /^sound: \d+ blocks/, verified.stderr);
      const exported = await as('export');
      assert.equal(exported.code, 1);
      assert.match(exported.stderr, /try it as root, or as the user that the gateway runs as\n$/);
    },
  );
});

describe('spool import into a stopped gateway', () => {
  test('puts the messages into its spool, as they were', async () => {
    const { waiting } = await stopped();
    const { config, dataDir, waiting: there } = await stopped();
    const command = `"${process.execPath}" "${BUNDLE}" spool import - -c "${config}"`;
    const child = spawn('bash', ['-c', command], { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    child.stderr.on('data', (text: Buffer) => (said += text.toString()));
    child.stdin.end(waiting.map((each) => JSON.stringify(each)).join('\n'));
    assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0, said);
    assert.match(said, /^no gateway is running; the messages go into its spool\n302 messages imported, 0 refused\n$/);
    const { stdout } = await holdfast(['spool', 'export', '-c', config]);
    const without = ({ seq, ...rest }: Exchanged) => rest;
    for (const lane of [0, 4, 10]) {
      const of = (all: Exchanged[]) => all.filter((each) => each.lane === lane).map(without);
      assert.deepEqual(of(lines(stdout)), [...of(there), ...of(waiting)]);
    }
    const verified = await holdfast(['spool', 'verify', '-c', config]);
    assert.equal(verified.code, 0, verified.stdout);
    assert.throws(() => readFileSync(join(dataDir, 'holdfast.sock')), /ENOENT/);
  });

  test('says what cannot be read, and where no gateway ever ran', async () => {
    const config = join(scratch(), 'gateway.yaml');
    writeFileSync(config, 'gateway: { id: new, dataDir: data }\n');
    const none = await holdfast(['spool', 'import', '/nowhere/x', '-c', config]);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /^holdfast: cannot read what to import: ENOENT/);
    const file = join(scratch(), 'in.jsonl');
    writeFileSync(file, '');
    const never = await holdfast(['spool', 'import', file, '-c', config]);
    assert.equal(never.code, 1);
    assert.match(never.stderr, /there is no spool in \S+\/data: no gateway has run with this configuration yet\n$/);
  });
});
