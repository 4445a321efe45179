import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { lateControlPaths } from '../src/config/control-path.ts';
import { lookAtSpool } from '../src/spool/files.ts';
import { isLeafOrValue } from '../src/store/page.ts';
import { holdfast } from './parts/command.ts';
import { GatewayProcess, startGateway } from './parts/gateway-process.ts';
import { startRogueBroker, type RogueBroker } from './parts/rogue-broker.ts';
import { scratch } from './parts/scratch.ts';
import { mountSmall } from './parts/small-filesystem.ts';
import { errorsIn, gatewayYaml, seenStatus } from './parts/supervised-gateway.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;

/** Messages with the same number and another content, of all that a broker was sent. */
function takenForAnother(broker: RogueBroker): string[] {
  const bodies = new Map<string, string>();
  return broker.events.flatMap(({ topic, epoch, lane, seq, body }) => {
    const place = `${epoch}.${lane}.${seq}`;
    const before = bodies.get(place) ?? topic + body;
    bodies.set(place, topic + body);
    return before === topic + body ? [] : [`${place}: ${before}, and then ${topic}${body}`];
  });
}

/** Numbers that a broker was not sent, lane by lane and epoch by epoch, between the first and the last that it was. */
function gaps(broker: RogueBroker): string[] {
  const seen = new Map<string, Set<number>>();
  for (const { epoch, lane, seq } of broker.events) {
    const numbers = seen.get(`${epoch}.${lane}`) ?? new Set();
    seen.set(`${epoch}.${lane}`, numbers.add(seq!));
  }
  return [...seen].flatMap(([lane, numbers]) => {
    const first = Math.min(...numbers);
    const missing = Array.from({ length: Math.max(...numbers) - first }, (_, n) => first + n);
    return missing.filter((seq) => !numbers.has(seq)).map((seq) => `${lane}.${seq}`);
  });
}

/** Makes of each page that holds nothing but one value another one than its header says. */
function spoilValues(path: string, pageBytes: number): Buffer {
  const bytes = readFileSync(path);
  for (let at = 2 * pageBytes; at < bytes.length; at += pageBytes) {
    if (isLeafOrValue(bytes.subarray(at, at + pageBytes)) === 'value') bytes[at]! ^= 1;
  }
  writeFileSync(path, bytes);
  return bytes;
}

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';

// The two differ in how they are remounted, and not in what is shown: one of them is enough each time.
for (const type of LONG ? (['tmpfs', 'ext4'] as const) : (['tmpfs'] as const)) {
  const small = mountSmall(type, 64 * MIB);
  describe(
    `started on a medium that cannot be written (${type})`,
    {
      skip: typeof small === 'string' ? small : false,
    },
    () => {
      if (typeof small === 'string') return;
      after(() => small.unmount());
      const remount = (how: 'ro' | 'rw') =>
        execFileSync('mount', ['-o', `remount,${how}`, small.dir], { stdio: 'pipe' });
      let folders = 0;
      const place = (broker: RogueBroker | null) => {
        const dataDir = join(small.dir, `data-${++folders}`);
        const yaml = gatewayYaml({ dataDir, everyMs: 20, ...(broker === null ? {} : { url: broker.url }) });
        return { dir: scratch(), dataDir, yaml };
      };
      const verified = async (gateway: GatewayProcess) => {
        const { code, stdout } = await holdfast(['spool', 'verify', '-c', gateway.config]);
        assert.equal(code, 0, stdout);
      };

      test('the gateway runs: readings and what waited there go upstream, methods and tools work, and it goes back by itself', async () => {
        const broker = await startRogueBroker();
        const { dir, dataDir, yaml } = place(broker);
        // The broker is not there at first.
        const away = yaml.replace(broker.url, 'mqtt://127.0.0.1:1');
        let gateway = await startGateway({ dir, yaml: away });
        try {
          const status = () => seenStatus(gateway.config);
          await until('messages', async () => (await status()).ledger.pending > 100);
          assert.equal(await gateway.stop(), 0);
          remount('ro');
          gateway = await startGateway({ dir, yaml });
          assert.match(errorsIn(gateway)[0]!, /cannot be written \(.*\): the gateway runs from memory until it can be/);
          await until('the fault', async () => (await status()).spool.fault !== null);
          assert.match((await status()).spool.fault!, /read-only file system/i);
          assert.match((await holdfast(['status', '-c', gateway.config])).stdout, /cannot be written: .*so for \d/);
          for (const word of ['line-4 ping', 'press-1 reset']) {
            const { code, stderr } = await holdfast(['method', 'invoke', ...word.split(' '), '-c', gateway.config]);
            assert.equal(code, 0, `${word}: ${stderr}`);
          }
          const checked = await holdfast(['check', '--only', 'data-dir,storage', '-c', gateway.config]);
          assert.equal(checked.code, 1);
          assert.match(checked.stdout, /^FAIL {2}data-dir .*read-only\n[^]*^FAIL {2}storage .*it cannot write/m);
          await verified(gateway);
          const second = new GatewayProcess({ dir: scratch(), yaml });
          assert.equal(await second.whenEnded(), 1);
          assert.match(second.stderr, /^holdfast: another gateway is running here/);
          const first = broker.events.at(0)?.epoch;
          assert.equal(first, 1, 'what waited goes first');
          await broker.until('new ones, in an epoch of their own', ({ events }) => events.at(-1)?.epoch !== 1);
          const before = broker.events.length;
          await broker.until('more of them', ({ events }) => events.length > before + 50);
          remount('rw');
          await until('it to go back', async () => (await status()).spool.fault === null);
          assert.equal(await gateway.stop(), 0);
          assert.deepEqual(lateControlPaths(dataDir).filter(existsSync), []);
          await verified(gateway);
          gateway = await startGateway({ dir, yaml });
          assert.ok(existsSync(join(dataDir, 'holdfast.sock')));
          assert.deepEqual(errorsIn(gateway), []);
          assert.equal(await gateway.stop(), 0);
          assert.deepEqual(takenForAnother(broker), []);
          assert.deepEqual(gaps(broker), []);
        } finally {
          await gateway.kill();
          remount('rw');
          await broker.end();
        }
      });

      test('killed and started again there, twice: no number stands for two messages', async () => {
        const broker = await startRogueBroker();
        const { dir, yaml } = place(broker);
        let gateway = await startGateway({ dir, yaml });
        try {
          await broker.until('messages', ({ events }) => events.length > 20);
          assert.equal(await gateway.stop(), 0);
          remount('ro');
          const epochs = () => new Set(broker.events.map(({ epoch }) => epoch));
          for (let life = 2; life <= 3; life++) {
            gateway = await startGateway({ dir, yaml });
            await broker.until('messages in an epoch of its own', () => epochs().size === life);
            const count = broker.events.length;
            await broker.until('more of them', ({ events }) => events.length > count + 20);
            await gateway.kill();
          }
          remount('rw');
          gateway = await startGateway({ dir, yaml });
          assert.deepEqual(errorsIn(gateway), []);
          const count = broker.events.length;
          await broker.until('messages as before', ({ events }) => events.length > count + 50);
          assert.equal(broker.events.at(-1)!.epoch, 1);
          assert.equal(await gateway.stop(), 0);
          await verified(gateway);
          assert.deepEqual(takenForAnother(broker), []);
        } finally {
          await gateway.kill();
          remount('rw');
          await broker.end();
        }
      });

      test('a directory that was never there is made as soon as it can be, with what waited meanwhile', async () => {
        const { dir, dataDir, yaml } = place(null);
        remount('ro');
        const gateway = await startGateway({ dir, yaml });
        try {
          const status = () => seenStatus(gateway.config);
          await until('the fault', async () => (await status()).spool.fault !== null);
          const empty = await holdfast(['spool', 'peek', '-c', gateway.config]);
          assert.equal(empty.code, 0, empty.stderr);
          remount('rw');
          await until('it to go back', async () => {
            const { ledger, spool } = await status();
            return ledger.accepted > 0 && spool.fault === null;
          });
          assert.ok(existsSync(join(dataDir, 'spool/data.mdb')));
          assert.equal(await gateway.stop(), 0);
          await verified(gateway);
        } finally {
          await gateway.kill();
          remount('rw');
        }
      });

      test('a spool that was left in order there, and of which pages are damaged since, is left as it is, and keeps no gateway from running', async () => {
        const broker = await startRogueBroker();
        const { dir, dataDir, yaml } = place(broker);
        const away = await startGateway({ dir, yaml: gatewayYaml({ dataDir, everyMs: 1 }) });
        await until('a backlog', async () => (await seenStatus(away.config)).ledger.pending > 1500);
        assert.equal(await away.stop(), 0);
        const path = join(dataDir, 'spool/data.mdb');
        const bytes = spoilValues(path, await lookAtSpool(dataDir, (_, __, file) => file.pageBytes));
        remount('ro');
        const gateway = await startGateway({ dir, yaml });
        try {
          await broker.until('messages', ({ events }) => events.length > 20);
          await gateway.waitForLog(/what it holds cannot be sent now/);
          assert.ok(errorsIn(gateway).some((line) => /what it holds cannot be sent now/.test(line)));
          assert.equal(await gateway.stop(), 0);
        } finally {
          await gateway.kill();
          remount('rw');
          assert.ok(bytes.equals(readFileSync(path)));
          rmSync(dataDir, { recursive: true });
          await broker.end();
        }
      });

      test('a spool that cannot be read there is left as it is; once it can be set aside, the gateway ends so that a start does that', async () => {
        const broker = await startRogueBroker();
        const { dir, dataDir, yaml } = place(broker);
        mkdirSync(join(dataDir, 'spool'), { recursive: true });
        writeFileSync(join(dataDir, 'spool/data.mdb'), Buffer.alloc(64 * 1024, 0x55));
        remount('ro');
        const gateway = await startGateway({ dir, yaml });
        try {
          await broker.until('messages', ({ events }) => events.length > 20);
          remount('rw');
          assert.equal(await gateway.whenEnded(), 75);
          assert.ok(!existsSync(join(dataDir, 'quarantine')), 'that is for a start that looks at it first');
          const next = await startGateway({ dir, yaml });
          assert.match(errorsIn(next)[0]!, /set aside; what can be read/);
          const count = broker.events.length;
          await broker.until('messages as before', ({ events }) => events.length > count + 20);
          assert.equal(await next.stop(), 0);
          assert.deepEqual(takenForAnother(broker), []);
        } finally {
          await gateway.kill();
          remount('rw');
          rmSync(dataDir, { recursive: true });
          await broker.end();
        }
      });
    },
  );
}
