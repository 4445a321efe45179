import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { seal } from '../src/spool/seal.ts';
import { BOOKS_KEY } from '../src/spool/keys.ts';
import type { SpoolStats } from '../src/spool/stats.ts';
import { Environment } from '../src/store/environment.ts';
import { asked } from './parts/asked.ts';
import { holdfast } from './parts/command.ts';
import { PROGRAM, startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const dir = scratch();
const config = join(dir, 'gateway.yaml');
const dataDir = join(dir, 'data');
/** What the spool's file was when the gateway stopped. */
const pristine = join(dir, 'pristine.mdb');
const spoolFile = join(dataDir, 'spool/data.mdb');

/** A command line about the gateway that has stopped. */
const ask = (...args: string[]) => holdfast([...args, '-c', config]);

before(async () => {
  // Nobody listens there, so that messages wait.
  const yaml = `
gateway: { id: line-4, dataDir: data }
upstream: { url: "mqtt://127.0.0.1:9" }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 10 }
children: [{ id: press-1, simulated: { sendIntervalMs: 10, messageCount: 20 } }]
`;
  const gateway = await startGateway({ dir, yaml });
  await until('20 messages', async () => (await asked<SpoolStats>(config, 'spool stats')).ledger.accepted === 20);
  assert.equal(await gateway.stop(), 0);
  copyFileSync(spoolFile, pristine);
});

describe('on a stopped gateway', () => {
  test('what only a running one can answer is refused in one line that says what to do', async () => {
    const commands = [
      ['status'],
      ['list'],
      ['list', '--json'],
      ['logs', '--follow'],
      ['restart', 'press-1'],
      ['reload'],
      ['metrics'],
      ['method', 'invoke', 'press-1', 'reset'],
    ];
    const ends = await Promise.all(commands.map((command) => ask(...command)));
    for (const { code, stdout, stderr } of ends) {
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.equal(
        stderr,
        `holdfast: no gateway is running with this configuration (nothing answers on ${dataDir}/holdfast.sock); start it with: holdfast run -c ${config}\n`,
      );
    }
  });

  test('spool stats come from its files', async () => {
    const { code, stdout, stderr } = await ask('spool', 'stats', '--json');
    assert.equal(code, 0);
    assert.equal(stderr, 'no gateway is running; this is what its files say\n');
    const { epoch, ledger, lanes, file, wear, children } = JSON.parse(stdout) as Record<
      string,
      Record<string, unknown>
    >;
    assert.equal(epoch, 1);
    assert.deepEqual(ledger, {
      accepted: 20,
      delivered: 0,
      unmatched: 0,
      deadLetters: 0,
      dropped: {},
      refused: {},
      pending: 20,
    });
    const account = { accepted: 20, delivered: 0, pending: 20, deadLetters: 0, dropped: {} };
    const lane = { lane: 10, firstSeq: 1, nextSeq: 21, ...account };
    assert.deepEqual(lanes, [
      { ...lane, oldestAgeSecs: (lanes as unknown as { oldestAgeSecs: number }[])[0]!.oldestAgeSecs },
    ]);
    assert.equal(file!['quotaBytes'], 16 * 1024 ** 2);
    assert.equal(wear!['measured'], false);
    assert.deepEqual(children, { 'press-1': account });
    const text = (await ask('spool', 'stats')).stdout;
    assert.match(
      text,
      /^LANE +ACCEPTED +DELIVERED +PENDING +DEAD LETTERS +DROPPED +FIRST SEQ +NEXT SEQ +OLDEST WAITS\n10 +20 +0 +20 +0 +0 +1 +21 +\d+ s$/m,
    );
    assert.match(text, /^CHILD +ACCEPTED +DELIVERED +PENDING +DEAD LETTERS +DROPPED\npress-1 +20 +0 +20 +0 +0$/m);
  });

  test('spool peek shows what waits, oldest first', async () => {
    const { code, stdout } = await ask('spool', 'peek', '-n', '3', '--json');
    assert.equal(code, 0);
    const messages = JSON.parse(stdout) as { seq: number; lane: number; child: string; body: object }[];
    assert.deepEqual(
      messages.map(({ seq }) => seq),
      [1, 2, 3],
    );
    assert.deepEqual(Object.keys(messages[0]!.body), ['machine', 'ambient', 'timeCreated']);
    const none = await ask('spool', 'peek', '--lane', '0');
    assert.deepEqual(none, { code: 0, stdout: '', stderr: 'nothing waits\n' });
  });

  test('spool verify finds it sound, and names what is not', async () => {
    const sound = await ask('spool', 'verify', '--json');
    assert.equal(sound.code, 0);
    assert.deepEqual(JSON.parse(sound.stdout), {
      ok: true,
      blocks: (JSON.parse(sound.stdout) as { blocks: number }).blocks,
      messages: 20,
      deadLetters: 0,
      problems: [],
      problemCount: 0,
    });
    const bytes = readFileSync(pristine);
    try {
      // A bit that flipped on the medium, in every copy of a block that LMDB has left there.
      for (const place of blocksIn(bytes)) bytes[place + 100]! ^= 1;
      writeFileSync(spoolFile, bytes);
      const flipped = await ask('spool', 'verify');
      assert.equal(flipped.code, 1);
      assert.match(flipped.stdout, /^block of lane 10 \d+: .*\n[^]*\nnot sound: \d+ problems; /);
      writeFileSync(spoolFile, bytes.subarray(0, 8192));
      const short = await ask('spool', 'verify');
      assert.equal(short.code, 1);
      assert.match(
        short.stdout,
        /data\.mdb is 8192 bytes long, \d+ are in use: it was cut short\n[^]*the books cannot be read\nnot sound: \d+ problems/,
      );
    } finally {
      copyFileSync(pristine, spoolFile);
    }
  });

  test('of a file that was cut short the commands say so, and what to do', async () => {
    const bytes = readFileSync(pristine);
    const told = (length: number) =>
      new RegExp(
        `^(no gateway is running; .*\\n)?holdfast: the spool cannot be used: \\S+/data\\.mdb is ${length} bytes long, \\d+ are in use: ` +
          'it was cut short\\. `holdfast spool verify` .*`holdfast spool export` .*\\. At its next start the gateway begins afresh, and sets this file aside\\n$',
      );
    try {
      // Behind the two meta pages not one is whole: where the books lie depends on how many commits there were.
      for (const length of [8192, 8192 + 4095]) {
        writeFileSync(spoolFile, bytes.subarray(0, length));
        const commands = [['stats'], ['stats', '--json'], ['peek'], ['dead-letters', 'list']];
        const ends = await Promise.all(commands.map((command) => ask('spool', ...command)));
        for (const { code, stdout, stderr } of ends) {
          assert.equal(code, 1);
          assert.equal(stdout, '');
          assert.match(stderr, told(length));
        }
        const { code, stderr } = await ask('spool', 'export');
        assert.equal(code, 1);
        assert.match(stderr, /it was cut short\n/);
        assert.doesNotMatch(stderr, /never used/);
      }
      writeFileSync(spoolFile, '');
      for (const command of ['stats', 'peek', 'verify', 'export']) {
        const { code, stderr } = await ask('spool', command);
        assert.equal(code, 1);
        assert.match(
          stderr,
          /data\.mdb is empty: it was cut short, or .* At its next start the gateway begins afresh\n$/,
        );
      }
    } finally {
      copyFileSync(pristine, spoolFile);
    }
  });

  test('where no gateway ever ran, the spool is said not to be there', async () => {
    const own = join(scratch(), 'gateway.yaml');
    writeFileSync(own, 'gateway: { id: new, dataDir: data }\n');
    const ends = await Promise.all(
      ['stats', 'peek', 'verify', 'export'].map((command) => holdfast(['spool', command, '-c', own])),
    );
    for (const { code, stderr } of ends) {
      assert.equal(code, 1);
      assert.match(stderr, /there is no spool in \S+\/data: no gateway has run with this configuration yet\n$/);
    }
  });
});

/** Where blocks begin: format 1, any codec, lane 10, a zero, epoch 1. */
function blocksIn(bytes: Buffer): number[] {
  const places: number[] = [];
  for (let at = 8192; at < bytes.length - 100; at++) {
    if (bytes[at] === 2 && bytes.readUInt16BE(at + 2) === 0x0a00 && bytes.readUInt32BE(at + 4) === 1) places.push(at);
  }
  return places;
}

describe('used wrongly', () => {
  test('every command says what is wrong on standard error, and ends with 2', async () => {
    const commands: [string[], RegExp][] = [
      [[], /^Usage: holdfast \[options\] \[command\]/],
      [['lst'], /unknown command 'lst'\n\(Did you mean list\?\)/],
      [['list', '--jsn'], /unknown option '--jsn'/],
      [['logs', '--tail', 'many', '-c', config], /It must be a whole number of 0 or more\./],
      [['spool'], /^Usage: holdfast spool/],
      [['spool', 'peek', '--lane', '11', '-c', config], /It must be a whole number from 0 to 10\./],
      [['spool', 'export', '--format', 'xml', '-c', config], /Allowed choices are jsonl, csv/],
      [['spool', 'import', '-c', config], /missing required argument 'file'/],
      [['spool', 'dead-letters', 'drop', '-c', config], /^holdfast: say which by their numbers .*, or --all\n$/],
      [
        ['spool', 'dead-letters', 'retry', '3', '--all', '-c', config],
        /^holdfast: numbers and --all are two different/,
      ],
      [['spool', 'dead-letters', 'drop', '1,2', '-c', config], /It must be a whole number of 1 or more\./],
      [['method', 'invoke', 'press-1', '-c', config], /missing required argument 'name'/],
      [['method', 'invoke', 'press-1', 'reset', '--payload', '{', '-c', config], /It must be JSON: /],
      [['monitor', '--all', '--gateway', 'x', '-c', config], /cannot be used with option/],
      [['monitor', '--count', '0'], /It must be a whole number of 1 or more\./],
      [
        ['check', '--only', 'upstream-tpc', '-c', config],
        /^holdfast: there is no check "upstream-tpc"; did you mean "upstream-tcp"\?/,
      ],
      [['check', '--only', 'serial:press-1', '-c', config], /^holdfast: there is no check "serial:press-1"/],
      [['config', 'check', '-c'], /argument missing/],
    ];
    const ends = await Promise.all(commands.map(([args]) => holdfast(args)));
    ends.forEach(({ code, stdout, stderr }, index) => {
      const [args, complaint] = commands[index]!;
      assert.equal(code, 2, args.join(' '));
      assert.equal(stdout, '');
      assert.match(stderr, complaint);
    });
  });

  test('help is no error, and shows an example for every command', async () => {
    const commands = [
      'run',
      'check',
      'status',
      'list',
      'logs',
      'restart',
      'reload',
      'metrics',
      'monitor',
      'spool stats',
      'spool peek',
      'spool verify',
      'spool export',
      'spool import',
      'spool compact',
      'spool dead-letters list',
      'spool dead-letters retry',
      'spool dead-letters drop',
      'config check',
      'config schema',
      'serial probe',
      'method invoke',
      'twin get',
      'twin set',
      'simulate',
    ];
    const ends = await Promise.all(commands.map((command) => holdfast([...command.split(' '), '--help'])));
    ends.forEach(({ code, stdout }, index) => {
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`Examples?:\n {2}.*holdfast ${commands[index]!}`), commands[index]);
    });
  });

  test('help for a reader that has gone ends quietly', () => {
    const script = `set -o pipefail; { sleep 0.3; exec "${process.execPath}" "${PROGRAM}" logs --help; } | true`;
    const { status, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    assert.deepEqual([status, stderr], [0, '']);
  });

  test('the man page has every command', async () => {
    const { stdout } = await holdfast(['--help']);
    const [, list = ''] = /Commands:\n([^]*?)\n\n/.exec(stdout)!;
    const names = [...list.matchAll(/^ {2}(\S+)/gm)].map(([, name]) => name!).filter((name) => name !== 'help');
    assert.ok(names.length > 20, list);
    const page = readFileSync('docs/holdfast.1', 'utf8').replaceAll('\\-', '-');
    const missing = names.filter((name) => !new RegExp(`^\\.BR? "?${name}\\b`, 'm').test(page));
    assert.deepEqual(missing, []);
  });
});

describe('the configuration', () => {
  test('that is not there, or cannot be used, is said with its place by every command that needs it', async () => {
    const broken = join(dir, 'broken.yaml');
    writeFileSync(broken, 'gateway: { id: line-4 }\nupstrem: {}\n');
    for (const command of [['status'], ['run'], ['spool', 'stats'], ['monitor']]) {
      const [absent, wrong] = await Promise.all([
        holdfast([...command, '-c', join(dir, 'none.yaml')]),
        holdfast([...command, '-c', broken]),
      ]);
      assert.equal(absent.code, 1);
      assert.match(absent.stderr, /none\.yaml: no such file; name one with --config FILE or in HOLDFAST_CONFIG\n$/);
      assert.equal(wrong.code, 1);
      assert.match(wrong.stderr, /broken\.yaml:2:1: upstrem: .*did you mean "upstream"\?\n$/);
    }
  });

  test(
    'that this user may not read is said to be so',
    { skip: process.getuid?.() !== 0 && 'SKIP: needs root, to become somebody else' },
    () => {
      const own = join(scratch(), 'gateway.yaml');
      writeFileSync(own, 'gateway: { id: line-4 }\n', { mode: 0o600 });
      // The folder must let others in, or it would be the one that is refused.
      spawnSync('chmod', ['755', join(own, '..')]);
      const { status, stderr } = spawnSync(process.execPath, [PROGRAM, 'status', '-c', own], {
        uid: 65_534,
        gid: 65_534,
        encoding: 'utf8',
      });
      assert.equal(status, 1);
      assert.match(stderr, /gateway\.yaml: may not be read by this user\n$/);
    },
  );

  test('comes from HOLDFAST_CONFIG when no option names it', async () => {
    const { code, stdout } = await holdfast(['config', 'check'], { env: { HOLDFAST_CONFIG: config } });
    assert.equal(code, 0);
    assert.equal(stdout, `${config}: fine: gateway line-4 on simulated, 1 child\n`);
  });

  test('is checked: every problem with its place, as text and as JSON', async () => {
    const wrong = join(dir, 'wrong.yaml');
    writeFileSync(wrong, 'gateway: { id: line-4 }\nchildren:\n  - id: a b\n    simulated: {}\n  - id: c\n');
    const text = await holdfast(['config', 'check', wrong]);
    assert.equal(text.code, 1);
    assert.match(text.stdout, /^\S+wrong\.yaml:3:9: children\[0\]\.id: .*\n\S+wrong\.yaml:5:5: children\[1\]: .*\n$/);
    const { code, stdout } = await holdfast(['config', 'check', wrong, '--json']);
    assert.equal(code, 1);
    const { ok, problems } = JSON.parse(stdout) as { ok: boolean; problems: { line: number; path: string }[] };
    assert.equal(ok, false);
    assert.deepEqual(
      problems.map(({ line, path }) => [line, path]),
      [
        [3, 'children[0].id'],
        [5, 'children[1]'],
      ],
    );
  });

  test('has a schema', async () => {
    const { code, stdout } = await holdfast(['config', 'schema']);
    assert.equal(code, 0);
    const { title, properties } = JSON.parse(stdout) as { title: string; properties: object };
    assert.equal(title, 'Holdfast gateway.yaml');
    assert.ok('children' in properties);
  });
});

describe('a start that fails', () => {
  test('ends, with one line that says why', async () => {
    const own = scratch();
    writeFileSync(join(own, 'data'), 'a file where a folder should be');
    writeFileSync(join(own, 'gateway.yaml'), 'gateway: { id: line-4, dataDir: data }\n');
    const { code, stderr } = await holdfast(['run', '-c', join(own, 'gateway.yaml')]);
    assert.equal(code, 1);
    assert.match(stderr, /^holdfast: cannot make gateway\.dataDir: .*EEXIST.*\n$/);
  });

  test('for a spool of a newer format leaves it alone; HOLDFAST_DEBUG=1 shows where it stopped', async () => {
    const own = scratch();
    writeFileSync(join(own, 'gateway.yaml'), 'gateway: { id: line-4, dataDir: data }\n');
    const environment = Environment.open({
      directory: join(own, 'data/spool'),
      mapBytes: 2 ** 24,
      durability: 'strict',
    });
    await environment.write([[BOOKS_KEY, seal({ version: 99 })]]);
    await environment.close();
    const before_ = readFileSync(join(own, 'data/spool/data.mdb'));
    const args = ['run', '-c', join(own, 'gateway.yaml')];
    const plain = await holdfast(args);
    assert.equal(plain.code, 1);
    assert.equal(plain.stderr, 'holdfast: the spool has format 99, this program knows 3; it was left as it is\n');
    const { code, stderr } = await holdfast(args, { env: { HOLDFAST_DEBUG: '1' } });
    assert.equal(code, 1);
    assert.match(stderr, /^holdfast: Error: the spool has format 99, .*\n +at /);
    assert.ok(!existsSync(join(own, 'data/holdfast.sock')), 'the socket went with it');
    assert.ok(readFileSync(join(own, 'data/spool/data.mdb')).equals(before_));
    const checked = await holdfast(['check', '--only', 'spool', '-c', join(own, 'gateway.yaml')]);
    assert.equal(checked.code, 1);
    assert.match(
      checked.stdout,
      /^FAIL {2}spool .*the spool has format 99.*\n +-> a newer Holdfast wrote it: run that one/,
    );
  });
});
