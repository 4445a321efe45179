import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { GatewayStatus } from '../src/health/status.ts';
import { asked } from './parts/asked.ts';
import { holdfast } from './parts/command.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const MIB = 2 ** 20;
/** So deep that the control socket lies elsewhere: the gateway can be asked when its folder is gone. */
const DEEP = 'a-folder-with-a-long-name/'.repeat(5);

async function started(t: TestContext, dataDir: string, storage: string): Promise<GatewayProcess> {
  const yaml = `
gateway: { id: line-4, dataDir: ${dataDir} }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 20${storage} }
children: [{ id: press-1, simulated: { sendIntervalMs: 50, messageCount: -1 } }]
`;
  const gateway = await startGateway({ dir: scratch(), yaml });
  t.after(() => gateway.kill());
  return gateway;
}

const check = (gateway: GatewayProcess) => holdfast(['check', '--only', 'storage', '-c', gateway.config]);

const spool = async (gateway: GatewayProcess) => (await asked<GatewayStatus>(gateway.config, 'status')).spool;

const statusText = async (gateway: GatewayProcess) => (await holdfast(['status', '-c', gateway.config])).stdout;

test('a wear budget that is not kept is warned of, and status says so', async (t) => {
  const gateway = await started(t, 'data', ', wearBudget: 1KiB/day');
  await until('the budget to be overdrawn', async () => (await spool(gateway)).wear.budget?.kept === false);
  const { code, stdout } = await check(gateway);
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^WARN {2}storage {2,}the wear budget of 0 MiB a day is not kept: \d+ [MG]iB a day .*\n +-> raise storeAndForward\.wearBudget/,
  );
  assert.match(
    await statusText(gateway),
    /^wear .*; budget 1\.0 KiB a day, not kept: acknowledgements cost more, a commit each 1 min$/m,
  );
});

test('without a gateway there is nobody to ask', async (t) => {
  const gateway = await started(t, 'data', '');
  assert.match((await check(gateway)).stdout, /^OK {4}storage {2,}it can; /);
  await gateway.stop();
  assert.match((await check(gateway)).stdout, /^SKIP {2}storage {2,}no gateway runs that could be asked$/m);
});

/** A filesystem of so many bytes in a folder of its own, or why there is none. */
function filesystem(bytes: number): { readonly dir: string } | string {
  const dir = join(scratch(), 'disk');
  mkdirSync(dir);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dir], { stdio: 'pipe' });
    return { dir };
  } catch (error) {
    return `SKIP: cannot mount a tmpfs: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`;
  }
}

const place = filesystem(10 * MIB);
test(
  'a disk that others have filled is warned of; one that is gone fails, with what waits in memory',
  { skip: typeof place === 'string' && place },
  async (t) => {
    const { dir } = place as { dir: string };
    let mounted = true;
    const unmount = () => mounted && execFileSync('umount', ['-l', dir]);
    t.after(unmount);
    const gateway = await started(t, join(dir, DEEP, 'data'), '');
    await until('the file to be held', async () => (await spool(gateway)).filling.held);
    const warned = await check(gateway);
    assert.equal(warned.code, 0);
    assert.match(
      warned.stdout,
      /^WARN {2}storage {2,}others have filled the disk: the spool's file stays at \d+ MiB of 15 MiB\n/,
    );
    assert.match(
      await statusText(gateway),
      /^spool .*; others have filled the disk: it stays at \d+ % of what it may have$/m,
    );
    unmount();
    mounted = false;
    await gateway.waitForLog(/the spool cannot write: .*is it mounted\?/);
    const failed = await check(gateway);
    assert.equal(failed.code, 1);
    assert.match(
      failed.stdout,
      /^FAIL {2}storage {2,}it cannot write: .*is it mounted\?; \d+ MiB wait in memory, and are lost with the power\n/,
    );
    assert.ok((await spool(gateway)).waitingBytes > 0);
    assert.match(
      await statusText(gateway),
      /^spool {5}cannot be written: .*is it mounted\?; [\d.]+ K?i?B wait in memory; /m,
    );
  },
);
