import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { until } from '../parts/until.ts';
import { assertCompiled } from './boot.ts';
import { pass, seconds, type Scenario } from './scenario.ts';
import { LONG_MS, type Site } from './site.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** WatchdogSec= of holdfast.service, and what the machine may be late. */
const WATCHDOG_MS = 30_000;
const LATE_MS_MAX = 45_000;
/** Starts after which the next is one in safe mode (docs/cli.md). */
const CRASHES = 5;
const UPGRADED = '0.1.0+bench';
/** A filler's body. */
const FILL_BYTES = 32_000;

/** What systemd's journal has of the unit since this time. */
function journal(site: Site, since: number): Promise<string> {
  return site.machine.shell(`journalctl -u holdfast.service -o cat --no-pager --since @${Math.floor(since / 1_000)}`);
}

export const SERVICE: readonly Scenario[] = [
  {
    name: 'time-step',
    done: "the machine's clock set 30 days ahead while messages wait (time to live 2 h), and back",
    expected: 'none expires; all arrive, in order',
    on: 'ready',
    run: async (site) => {
      await site.caughtUp();
      await site.broker.stop();
      await pass(5_000);
      const before = await site.stats();
      await site.machine.shell(`date -s '+30 days' >/dev/null`);
      await pass(5_000);
      const after = await site.stats();
      await site.machine.shell(`date -s '-30 days' >/dev/null`);
      await site.broker.start();
      await site.caughtUp();
      assert.ok(
        after.ledger.pending > before.ledger.pending && before.ledger.pending > 0,
        JSON.stringify(after.ledger),
      );
      assert.deepEqual(after.ledger.dropped, before.ledger.dropped);
      site.account();
      return `${before.ledger.pending} waited before, ${after.ledger.pending} after; 0 dropped`;
    },
  },
  {
    name: 'watchdog',
    done: "the gateway's process hangs (SIGSTOP)",
    expected: `systemd ends it within WatchdogSec (30 s), the journal says so, and a new one is ready`,
    on: 'ready',
    run: async (site) => {
      const before = await site.unit();
      const since = await site.time();
      const at = performance.now();
      await site.machine.shell(`kill -STOP ${before.pid}`);
      await until('systemd to end it', async () => (await site.unit()).pid !== before.pid, LONG_MS);
      const killed = performance.now() - at;
      const after = await site.untilActive(before.pid);
      const back = performance.now() - at;
      const said = /.*[Ww]atchdog timeout.*/.exec(await journal(site, since))?.[0];
      assert.ok(said !== undefined, 'the journal has the watchdog');
      assert.equal(after.restarts, before.restarts + 1);
      assert.ok(killed < WATCHDOG_MS + LATE_MS_MAX, seconds(killed));
      await site.caughtUp();
      site.account();
      return `ended after ${seconds(killed)} ("${said}"), ready again after ${seconds(back)}`;
    },
  },
  {
    name: 'crash-loop',
    done: `messages wait; the process is killed ${CRASHES} times (SIGKILL); then the broker comes back`,
    expected: 'safe mode: no sensor runs, the status upstream says so, what waits is sent; `restart` leads out',
    on: 'ready',
    run: async (site) => {
      const { watcher, broker, machine } = site;
      await site.caughtUp();
      await broker.stop();
      await pass(5_000);
      const { pending } = (await site.stats()).ledger;
      let unit = await site.unit();
      for (let crash = 0; crash < CRASHES; crash++) {
        await machine.shell('systemctl kill -s KILL holdfast.service');
        unit = await site.untilActive(unit.pid);
      }
      const status = await site.ask<{ safeMode: { why: string } | null }>('status');
      assert.ok(status.safeMode, 'safe mode');
      const waiting = await site.stats();
      assert.ok(waiting.ledger.pending >= pending, 'what waited waits');
      const seen = watcher.statuses.length;
      await broker.start();
      await until('everything that waited to be sent', async () => (await site.stats()).ledger.pending === 0, LONG_MS);
      const told = watcher.statuses.slice(seen).find(({ safeMode }) => safeMode !== undefined && safeMode !== null);
      assert.ok(told, 'the status upstream says it');
      const ticks = site.from('ticker').length;
      await pass(3_000);
      assert.equal(site.from('ticker').length, ticks, 'no sensor runs');
      await machine.shell('holdfast restart');
      await site.untilActive(unit.pid);
      await site.caughtUp();
      site.account();
      return `"${status.safeMode.why}"; ${waiting.ledger.pending} that waited were sent in safe mode; an ordinary start after \`restart\``;
    },
  },
  {
    name: 'upgrade',
    done: 'the spool filled to its quota without a broker, then `dpkg -i` of a newer .deb',
    expected: 'the new version runs, what waited waits and is sent, what the quota took is in loss reports, exactly',
    on: 'ready',
    run: async (site) => {
      const { machine, broker } = site;
      const deb = await newerPackage();
      await broker.stop();
      const filler = site.child('filler', FILL_BYTES);
      filler.start();
      const full = await until(
        'the spool to be full',
        async () => {
          // Asking takes an emulated processor several seconds, which the gateway would have used.
          await pass(5_000);
          const stats = await site.stats();
          return Object.values(stats.ledger.dropped).some((count) => count > 0) && stats;
        },
        3 * LONG_MS,
      );
      filler.finish();
      await until('the filler to end', () => filler.underway === 0, LONG_MS);
      await filler.stop();
      const node = {
        driver: 'raw',
        'node-name': 'package',
        'read-only': true,
        file: { driver: 'file', filename: deb },
      };
      await machine.monitor.ask('blockdev-add', node);
      await machine.monitor.ask('device_add', {
        driver: 'virtio-blk-pci',
        id: 'package',
        drive: 'package',
        bus: 'slot2',
      });
      const bytes = statSync(deb).size;
      const before = await site.stats();
      const unit = await site.unit();
      const at = performance.now();
      await machine.shell(
        `n=0; until test -b /dev/vdb; do n=$((n+1)); test $n -lt 100; sleep 0.1; done; head -c ${bytes} /dev/vdb > /run/newer.deb; ` +
          'DEBIAN_FRONTEND=noninteractive dpkg -i /run/newer.deb; code=$?; rm /run/newer.deb; exit $code',
      );
      await site.untilActive(unit.pid);
      const took = performance.now() - at;
      assert.equal(await machine.shell("dpkg -s holdfast | sed -n 's/^Version: //p'"), UPGRADED);
      await assertCompiled(site);
      const after = await site.stats();
      // Readings go on meanwhile, and each takes the room of others.
      assert.ok(after.ledger.pending > before.ledger.pending * 0.9, JSON.stringify([before.ledger, after.ledger]));
      await broker.start();
      await until(
        'everything that waited to be sent',
        async () => (await site.stats()).ledger.pending < 10,
        3 * LONG_MS,
      );
      await site.caughtUp();
      const { lost } = site.account();
      const { dropped } = (await site.stats()).ledger;
      const sum = Object.values(dropped).reduce((total, count) => total + count, 0);
      assert.equal(lost, sum, `the reports count ${lost}, the ledger ${JSON.stringify(dropped)}`);
      const file = `${(full.file.bytes / 2 ** 20).toFixed(1)} of ${full.file.quotaBytes / 2 ** 20} MiB`;
      return `${before.ledger.pending} waited (${file}), ${after.ledger.pending} after ${seconds(took)} of upgrade; all sent; ${lost} dropped for the quota, each in a report`;
    },
  },
];

/** This checkout's .deb under a higher version. */
async function newerPackage(): Promise<string> {
  const output = join(ROOT, '.scratch/virtual-bench');
  const args = ['arm64', '--version', UPGRADED, '--quick', '--output', output];
  await promisify(execFile)(join(ROOT, 'scripts/build-deb'), args, { cwd: ROOT });
  return join(
    output,
    readdirSync(output).find((name) => name.endsWith('_arm64.deb'))!,
  );
}
