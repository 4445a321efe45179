import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { BlockStack, noBlockStack } from './parts/block-stack.ts';
import { holdfast } from './parts/command.ts';
import { GatewayProcess, startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { noise } from './parts/spool-rig.ts';
import { errorsIn, gatewayYaml, seenStatus } from './parts/supervised-gateway.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;

interface Damage {
  readonly to: (dataDir: string) => void;
  /** What `check` says of the stopped gateway; null: it sees nothing wrong. */
  readonly check: RegExp | null;
  /** What the gateway logs at its next start, as its only error. */
  readonly log: RegExp | null;
  /** Whether the old spool is kept for a look. */
  readonly kept: boolean;
}

const file = (dataDir: string) => join(dataDir, 'spool/data.mdb');

function overwrite(path: string, at: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, noise(100), 0, 100, at);
  closeSync(fd);
}

const damages: Readonly<Record<string, Damage>> = {
  'cut short': {
    // Behind what is in use the file is filled up with zeros, which nobody would miss.
    to: (dataDir) => truncateSync(file(dataDir), 3 * 4096),
    check: /is \d+ bytes long, \d+ are in use: it was cut short/,
    log: /it was cut short: set aside; what can be read of it goes on in a fresh spool/,
    kept: true,
  },
  'full of garbage': {
    to: (dataDir) => writeFileSync(file(dataDir), noise(65_536)),
    check: /is not an LMDB file/,
    log: /is not an LMDB file: set aside; what can be read of it/,
    kept: true,
  },
  'without its first page': {
    to: (dataDir) => overwrite(file(dataDir), 0),
    check: /meta page 0 is not an LMDB file/,
    log: /is not an LMDB file: set aside; what can be read of it/,
    kept: true,
  },
  'without its second page': {
    to: (dataDir) => overwrite(file(dataDir), 4096),
    check: /meta page 1 is not an LMDB file/,
    log: /is not an LMDB file: set aside; what can be read of it/,
    kept: true,
  },
  gone: {
    to: (dataDir) => rmSync(join(dataDir, 'spool'), { recursive: true }),
    check: null,
    // See fault-directory-gone.test.ts.
    log: null,
    kept: false,
  },
};

/** Its first page or its second, or all of it: the same way, once each in the long form. */
const IN_SHORT = ['cut short', 'without its first page', 'gone'];

describe('a spool that at the start is', () => {
  for (const [name, { to, check, log, kept }] of Object.entries(damages)) {
    if (!IN_SHORT.includes(name) && process.env['HOLDFAST_TEST_LONG'] !== '1') continue;
    test(`${name}: check and the log say so, status counts what was lost, and the gateway goes on`, async () => {
      const dir = scratch();
      const dataDir = join(dir, 'data');
      const yaml = gatewayYaml({ dataDir });
      let gateway = await startGateway({ dir, yaml });
      try {
        const ask = (...args: string[]) => holdfast([...args, '-c', gateway.config]);
        await until('a backlog', async () => (await seenStatus(gateway.config)).ledger.pending > 300);
        assert.equal(await gateway.stop(), 0);
        const { stdout } = await ask('spool', 'stats', '--json');
        const before = (JSON.parse(stdout) as { ledger: { pending: number; accepted: number } }).ledger;
        to(dataDir);
        const found = await ask('check', '--only', 'spool');
        assert.equal(found.code, check === null ? 0 : 1);
        if (check !== null) {
          assert.match(found.stdout, check);
          assert.match(found.stdout, /-> at its next start the gateway sets it aside/);
          assert.equal((await ask('spool', 'stats')).code, 1);
        }
        gateway = await startGateway({ dir, yaml });
        const { ledger } = await seenStatus(gateway.config);
        const { quarantined = 0 } = ledger.dropped;
        if (name.startsWith('without')) assert.equal(quarantined, 0);
        else assert.ok(quarantined > 0 && quarantined <= before.pending, `${quarantined} of ${before.pending}`);
        const carried = before.pending - quarantined;
        await until('new messages', async () => (await seenStatus(gateway.config)).ledger.pending > carried + 100);
        assert.equal((await ask('spool', 'verify')).code, 0);
        if (kept) assert.match((await ask('check', '--only', 'data-dir')).stdout, /^WARN {2}data-dir .*quarantine/);
        assert.equal(await gateway.stop(), 0);
        if (log !== null) {
          assert.equal(errorsIn(gateway).length, 1, errorsIn(gateway).join('\n'));
          assert.match(errorsIn(gateway)[0]!, log);
        }
      } finally {
        await gateway.kill();
      }
    });
  }
});

test('a second gateway on the same directory ends with 1 and one line, and the first goes on unharmed', async () => {
  const dir = scratch();
  const dataDir = join(dir, 'data');
  const yaml = gatewayYaml({ dataDir });
  const first = await startGateway({ dir, yaml });
  const other = scratch();
  try {
    for (let time = 0; time < 3; time++) {
      const second = new GatewayProcess({ dir: other, yaml });
      assert.equal(await second.whenEnded(), 1);
      assert.match(second.stderr, /^holdfast: another gateway is running here: it answers on .*holdfast\.sock\n$/);
    }
    const { accepted } = (await seenStatus(first.config)).ledger;
    await until('more messages', async () => (await seenStatus(first.config)).ledger.accepted > accepted + 100);
    assert.deepEqual(errorsIn(first), []);
    assert.equal((await holdfast(['spool', 'verify', '-c', first.config])).code, 0);
    assert.equal(await first.stop(), 0);
  } finally {
    await first.kill();
  }
});

/** Fills what is left of a filesystem, to the last block. */
function hog(path: string): void {
  const fd = openSync(path, 'w');
  try {
    for (;;) writeSync(fd, Buffer.alloc(65_536));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  } finally {
    closeSync(fd);
  }
}

test(
  'a disk that another program fills: the gateway goes on within what it has, check names it, and nothing is unaccounted for',
  { skip: noBlockStack() },
  async (context) => {
    const stack = await BlockStack.start({ bytes: 64 * MIB });
    const dir = scratch();
    const dataDir = join(stack.dir, 'data');
    mkdirSync(dataDir);
    const gateway = await startGateway({ dir, yaml: gatewayYaml({ dataDir, quota: '40MiB', everyMs: 2 }) });
    try {
      const status = () => seenStatus(gateway.config);
      await until('messages', async () => (await status()).ledger.accepted > 200);
      hog(join(stack.dir, 'hog'));
      const { accepted } = (await status()).ledger;
      await until('more messages', async () => (await status()).ledger.accepted > accepted + 1000);
      const { spool, ledger } = await status();
      context.diagnostic(JSON.stringify({ spool, ledger }));
      const { stdout } = await holdfast(['check', '--only', 'data-dir', '-c', gateway.config]);
      assert.match(stdout, /^FAIL {2}data-dir .*(the disk is full|no space left on device)/m);
      assert.deepEqual([spool.fault, errorsIn(gateway)], [null, []]);
      assert.equal((await holdfast(['method', 'invoke', 'press-1', 'reset', '-c', gateway.config])).code, 0);
      rmSync(join(stack.dir, 'hog'));
      await until('new messages', async () => (await status()).ledger.accepted > ledger.accepted + 1000);
      assert.equal((await status()).spool.fault, null);
      assert.equal((await holdfast(['spool', 'verify', '-c', gateway.config])).code, 0);
      assert.equal(await gateway.stop(), 0);
    } finally {
      await gateway.kill();
      await stack.end();
    }
  },
);
