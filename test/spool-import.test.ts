import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Exchanged } from '../src/message/exchange.ts';
import type { SpoolStats } from '../src/spool/stats.ts';
import { asked } from './parts/asked.ts';
import { holdfast } from './parts/command.ts';
import { lines, stopped } from './parts/exported-spool.ts';
import { PROGRAM, startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

/** All but the number, which the new spool gives. */
const without = ({ seq: _, ...rest }: Exchanged) => rest;

describe('beside a gateway that runs', () => {
  let gateway: GatewayProcess;
  const ask = (...args: string[]) => holdfast(['spool', ...args, '-c', gateway.config]);
  before(async () => {
    const dir = scratch();
    const yaml = `
gateway: { id: line-4, dataDir: data }
upstream: { url: "mqtt://127.0.0.1:1" }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 10 }
children: [{ id: press-1, simulated: { sendIntervalMs: 10, messageCount: -1 } }]
`;
    gateway = await startGateway({ dir, yaml });
  });
  after(() => gateway.kill());

  test('verify and export see one whole after the other while it writes', async () => {
    await until(
      'some messages',
      async () => (await asked<SpoolStats>(gateway.config, 'spool stats')).ledger.accepted > 200,
    );
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

  test('neither opens it with LMDB, which could undo a commit of the gateway', async () => {
    const lock = join(dirname(gateway.config), 'data/spool/lock.mdb');
    // The gateway has it open; whoever opens the environment would make another one.
    renameSync(lock, `${lock}.away`);
    try {
      for (const command of ['verify', 'export']) {
        const { code, stderr } = await ask(command);
        assert.equal(code, 0, stderr);
        assert.ok(!existsSync(lock), `${command} has opened the spool`);
      }
    } finally {
      renameSync(`${lock}.away`, lock);
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
        const child = spawn(process.execPath, [PROGRAM, 'spool', ...args, '-c', gateway.config], {
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
    const command = `"${process.execPath}" "${PROGRAM}" spool import - -c "${config}"`;
    const child = spawn('bash', ['-c', command], { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    child.stderr.on('data', (text: Buffer) => (said += text.toString()));
    child.stdin.end(waiting.map((each) => JSON.stringify(each)).join('\n'));
    assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0, said);
    assert.match(said, /^no gateway is running; the messages go into its spool\n302 messages imported, 0 refused\n$/);
    const { stdout } = await holdfast(['spool', 'export', '-c', config]);
    for (const lane of [0, 4, 10]) {
      const of = (all: Exchanged[]) => all.filter((each) => each.lane === lane).map(without);
      assert.deepEqual(of(lines(stdout)), [...of(there), ...of(waiting)]);
    }
    const verified = await holdfast(['spool', 'verify', '-c', config]);
    assert.equal(verified.code, 0, verified.stdout);
    assert.throws(() => readFileSync(join(dataDir, 'holdfast.sock')), /ENOENT/);
  });

  test('keeps a gateway from starting until it is done', async () => {
    const { config } = await stopped();
    const child = spawn(process.execPath, [PROGRAM, 'spool', 'import', '-', '-c', config], {
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (text: Buffer) => (said += text.toString()));
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.stdin.write('{"child":"late","body":1}\n');
    await until('the spool to be open', () => existsSync(join(dirname(config), 'data/holdfast.sock')));
    const refused = await holdfast(['run', '-c', config]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /another gateway is running here/);
    child.stdin.end();
    assert.equal(await ended, 0, said);
    assert.equal(lines((await holdfast(['spool', 'export', '--child', 'late', '-c', config])).stdout).length, 1);
  });

  test(
    'as root, leaves nothing behind that the user of the gateway may not write',
    { skip: process.getuid?.() !== 0 && 'SKIP: needs root, to become somebody else' },
    async () => {
      const { config, dataDir } = await stopped();
      const spool = join(dataDir, 'spool');
      // As after a copy from elsewhere: the files are the user's, and those that LMDB makes anew are not there.
      for (const folder of [dirname(config), dataDir]) chmodSync(folder, 0o755);
      rmSync(join(spool, 'lock.mdb'));
      execFileSync('chown', ['-R', '65534:65534', dataDir]);
      const file = join(scratch(), 'in.jsonl');
      writeFileSync(file, '{"child":"late","body":1}\n');
      const { code, stderr } = await holdfast(['spool', 'import', file, '-c', config]);
      assert.equal(code, 0, stderr);
      assert.deepEqual(
        readdirSync(spool).map((name) => [name, statSync(join(spool, name)).uid]),
        ['data.mdb', 'lock.mdb'].map((name) => [name, 65_534]),
      );
    },
  );

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
    assert.match(
      never.stderr,
      /^holdfast: there is no spool in \S+\/data: no gateway has run with this configuration yet\n$/,
    );
  });
});
