import assert from 'node:assert/strict';
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { lookAtSpool } from '../src/spool/files.ts';
import { verify } from '../src/spool/inspection.ts';
import { pendingOf } from '../src/spool/books.ts';
import { holdfast } from './parts/command.ts';
import { startGateway } from './parts/gateway-process.ts';
import { Awake } from './parts/awake.ts';
import { scratch } from './parts/scratch.ts';
import { errorsIn, gatewayYaml, seenStatus } from './parts/supervised-gateway.ts';
import { until } from './parts/until.ts';

/** Within so long a gateway notices that its data directory is another one, or none, ms. */
const NOTICED_MS_MAX = 5000;
const BACKLOG = 1000;
/** Deep enough that the control socket lies elsewhere (a Unix socket's path is short), and can be asked all the time. */
const DEEP = 'd'.repeat(100);

/** Waits for it, which takes no longer than that. */
async function noticed(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const time = new Awake();
  try {
    await until(what, check);
    assert.ok(time.ms <= NOTICED_MS_MAX, `${what}: after ${Math.round(time.ms)} ms`);
  } finally {
    time.stop();
  }
}

/** Away in one step: file by file, the gateway may already make the folder anew that is being emptied. */
function remove(folder: string): void {
  const gone = `${folder}-removed`;
  renameSync(folder, gone);
  rmSync(gone, { recursive: true });
}

/** What becomes of the data directory under a running gateway. */
const fates: Readonly<Record<string, (dataDir: string, aside: string) => void>> = {
  'is removed': remove,
  'is moved away': (dataDir, aside) => renameSync(dataDir, aside),
  'is replaced by an empty one': (dataDir, aside) => {
    renameSync(dataDir, aside);
    mkdirSync(dataDir);
  },
  'loses only the spool': (dataDir) => remove(join(dataDir, 'spool')),
};

describe('a data directory that, while the gateway runs,', () => {
  for (const [name, fate] of Object.entries(fates)) {
    test(`${name}: said within 5 s, made again, and everything that was held is in it`, async () => {
      const dir = scratch();
      const dataDir = join(dir, DEEP, 'data');
      const gateway = await startGateway({ dir, yaml: gatewayYaml({ dataDir, everyMs: 2 }) });
      try {
        const status = () => seenStatus(gateway.config);
        await until('a backlog', async () => (await status()).ledger.pending >= BACKLOG);
        const line = gateway.log.length;
        const { accepted } = (await status()).ledger;
        fate(dataDir, join(dirname(dataDir), 'aside'));

        await noticed('an error in the log', () => errorsIn(gateway, line).length > 0);
        // Whatever it is at, it answers.
        assert.equal((await holdfast(['method', 'invoke', 'line-4', 'ping', '-c', gateway.config])).code, 0);
        await noticed('the directory', () => existsSync(join(dataDir, 'spool/data.mdb')));
        await until('the fault to be over, and new messages on the medium', async () => {
          const now = await status();
          return now.spool.fault === null && now.ledger.accepted > accepted + 500;
        });
        assert.equal(gateway.ended, null);
        assert.equal(await gateway.stop(), 0);
        await lookAtSpool(dataDir, (reader, books) => {
          assert.deepEqual(verify(reader, books).problems, []);
          assert.ok(books.ledger.accepted > accepted + 500);
          assert.equal(pendingOf(books), books.ledger.accepted, 'something is gone');
          assert.deepEqual([books.ledger.dropped, books.ledger.refused], [{}, {}]);
          assert.equal(books.epoch, 1);
        });
        // What there is now is a data directory like any other.
        const again = await startGateway({ dir, yaml: gatewayYaml({ dataDir, everyMs: 2 }) });
        assert.equal(await again.stop(), 0);
        assert.deepEqual(errorsIn(again), []);
      } finally {
        await gateway.kill();
      }
    });
  }

  test('has a spool that cannot be reached: said within 5 s, readings wait in memory until it can be again', async () => {
    const dir = scratch();
    const dataDir = join(dir, DEEP, 'data');
    const [spool, aside] = [join(dataDir, 'spool'), join(dataDir, 'aside')];
    const gateway = await startGateway({ dir, yaml: gatewayYaml({ dataDir, everyMs: 2 }) });
    try {
      const status = () => seenStatus(gateway.config);
      await until('a backlog', async () => (await status()).ledger.pending >= 100);
      renameSync(spool, aside);
      // What root meets as well, in place of EACCES.
      symlinkSync('spool', spool);
      await noticed('the fault', async () => /ELOOP/.test((await status()).spool.fault ?? ''));
      const before = (await status()).spool.waitingBytes;
      await until('more to wait', async () => (await status()).spool.waitingBytes > before);
      rmSync(spool);
      renameSync(aside, spool);
      await until('the fault to be over', async () => (await status()).spool.fault === null);
      assert.equal(await gateway.stop(), 0);
      await lookAtSpool(dataDir, (reader, books) => {
        assert.deepEqual(verify(reader, books).problems, []);
        assert.equal(pendingOf(books), books.ledger.accepted, 'something is gone');
      });
    } finally {
      await gateway.kill();
    }
  });

  test('is removed with the control socket in it: the socket is there again, and answers', async () => {
    const dir = scratch();
    const dataDir = join(dir, 'data');
    const gateway = await startGateway({ dir, yaml: gatewayYaml({ dataDir, everyMs: 2 }) });
    try {
      assert.ok(existsSync(join(dataDir, 'holdfast.sock')));
      const { accepted } = (await seenStatus(gateway.config)).ledger;
      remove(dataDir);
      await noticed('the socket', () => existsSync(join(dataDir, 'holdfast.sock')));
      await until('new messages', async () => (await seenStatus(gateway.config)).ledger.accepted > accepted + 100);
      assert.equal(await gateway.stop(), 0);
    } finally {
      await gateway.kill();
    }
  });
});

test('a spool that is gone at the start, with messages in it that were counted: the log says so at level error', async () => {
  const dir = scratch();
  const dataDir = join(dir, 'data');
  const yaml = gatewayYaml({ dataDir, everyMs: 2 });
  const before = await startGateway({ dir, yaml });
  await until('a backlog', async () => (await seenStatus(before.config)).ledger.pending > 100);
  assert.equal(await before.stop(), 0);
  rmSync(join(dataDir, 'spool'), { recursive: true });
  const gateway = await startGateway({ dir, yaml });
  try {
    assert.ok((await seenStatus(gateway.config)).ledger.dropped['quarantined']! > 100);
    assert.equal(errorsIn(gateway).length, 1);
    assert.match(errorsIn(gateway)[0]!, /spool\b.* (is gone|is not there)/);
  } finally {
    await gateway.kill();
  }
});
