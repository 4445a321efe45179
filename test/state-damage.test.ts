import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { pino } from 'pino';
import { isLeafOrValue } from '../src/store/page.ts';
import { openState } from '../src/store/state-rescue.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { errorsIn, gatewayYaml, seenStatus } from './parts/supervised-gateway.ts';
import { until } from './parts/until.ts';

const PAGE = 4096;
/** `nobody` of Debian. */
const NOBODY = 65_534;

/** What a bad card makes of a state environment's file. */
const damages: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  'no meta page': (bytes) => Buffer.concat([Buffer.alloc(2 * PAGE, 0x55), bytes.subarray(2 * PAGE)]),
  'an end that is missing': (bytes) => bytes.subarray(0, 2 * PAGE),
  'a value that is no JSON any more': (bytes) =>
    Buffer.from(bytes.toString('latin1').replaceAll('{"epoch', '["epoch'), 'latin1'),
};

describe('a state environment with', () => {
  for (const [what, damage] of Object.entries(damages)) {
    test(`${what} keeps no gateway from starting, and the spool goes on`, async () => {
      const dir = scratch();
      const dataDir = join(dir, 'data');
      const yaml = gatewayYaml({ dataDir, everyMs: 20 });
      const before = await startGateway({ dir, yaml });
      await until('messages', async () => (await seenStatus(before.config)).ledger.pending > 20);
      assert.equal(await before.stop(), 0);
      const path = join(dataDir, 'state/data.mdb');
      const sound = readFileSync(path);
      const bytes = damage(sound);
      assert.ok(!bytes.equals(sound));
      writeFileSync(path, bytes);
      const gateway = await startGateway({ dir, yaml });
      const { accepted, pending } = (await seenStatus(gateway.config)).ledger;
      assert.ok(pending > 20 && accepted === pending);
      if (errorsIn(gateway).length > 0) assert.match(errorsIn(gateway)[0]!, /goes on in a new file/);
      assert.equal(await gateway.stop(), 0);
    });
  }

  test('a page that is damaged keeps what lies on the others', async () => {
    const directory = join(scratch(), 'state');
    mkdirSync(directory);
    const log: string[] = [];
    const open = () => openState(directory, pino({}, { write: (line: string) => void log.push(line) }));
    const state = await open();
    const names = Array.from({ length: 100 }, (_, n) => `twin/${String(n).padStart(3, '0')}`);
    for (const name of names) await state.put(name, { name, pad: 'x'.repeat(200) });
    await state.close();
    const path = join(directory, 'data.mdb');
    const sound = readFileSync(path);
    const pages = Array.from({ length: sound.length / PAGE }, (_, n) => n);
    const leaves = pages.filter((n) => n > 1 && isLeafOrValue(sound.subarray(n * PAGE, (n + 1) * PAGE)) === 'leaf');
    let rescued = 0;
    for (const leaf of leaves) {
      const bytes = Buffer.from(sound);
      bytes[leaf * PAGE]! ^= 1;
      writeFileSync(path, bytes);
      log.length = 0;
      const again = await open();
      const left = names.filter((name) => (again.get(name) as { name?: string } | undefined)?.name === name);
      await again.close();
      assert.ok(left.length >= names.length / 2, `${left.length} are left`);
      if (log.length === 0) {
        // One that nothing leads to any more.
        assert.equal(left.length, names.length);
        continue;
      }
      rescued++;
      assert.ok(readFileSync(join(directory, 'damaged.mdb')).equals(bytes));
      assert.ok(!existsSync(`${directory}.rescue`));
    }
    assert.ok(rescued > 1);
    // What was rescued is sound.
    log.length = 0;
    await (await open()).close();
    assert.deepEqual(log, []);
  });

  test(
    "a file that is another user's is not taken for a damaged one, and stays as it is",
    { skip: process.getuid?.() !== 0 && 'SKIP: needs root, to become somebody else' },
    async () => {
      const dir = scratch();
      const directory = join(dir, 'state');
      const log = pino({ enabled: false });
      const state = await openState(directory, log);
      await state.put('twin/fan', { on: true });
      await state.close();
      const path = join(directory, 'data.mdb');
      const before = readFileSync(path);
      for (const each of [dir, directory]) {
        chmodSync(each, 0o755);
        chownSync(each, NOBODY, NOBODY);
      }
      chmodSync(path, 0o600);
      process.seteuid!(NOBODY);
      try {
        await assert.rejects(openState(directory, log), /EACCES|Permission denied/);
      } finally {
        process.seteuid!(0);
      }
      assert.deepEqual(readFileSync(path), before);
      assert.ok(!existsSync(join(directory, 'damaged.mdb')));
    },
  );
});
