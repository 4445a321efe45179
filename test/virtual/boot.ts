import assert from 'node:assert/strict';
import { until } from '../parts/until.ts';
import { pass, seconds, type Scenario } from './scenario.ts';
import { LONG_MS, type Site } from './site.ts';

const IDLE_MS = 60_000;
/** Most that may be written to the root file system in an idle minute. */
const IDLE_BYTES_MAX = 256 * 1024;

/** Sectors of 512 bytes written to a partition since the boot (Documentation/block/stat.rst, field 7). */
async function written(site: Site, partition: string): Promise<number> {
  return Number(await site.machine.shell(`awk '{print $7}' /sys/class/block/${partition}/stat`)) * 512;
}

async function size(site: Site, place: string): Promise<number> {
  return Number(await site.machine.shell(`df -B1 --output=size ${place} | tail -n 1`));
}

/** Names of units that failed. */
async function failedUnits(site: Site): Promise<string[]> {
  const { output } = await site.machine.agent.run('systemctl list-units --failed --plain --no-legend');
  return output === '' ? [] : output.split('\n').map((line) => line.split(' ')[0]!);
}

/** What V8 has compiled (decision 0021) is there, and the board's V8 takes it: otherwise commands only start more slowly. */
export async function assertCompiled(site: Site): Promise<void> {
  const look = `
    const { readFileSync } = require('node:fs');
    const [bundle, cache] = ['cjs', 'cache'].map((kind) => readFileSync('/usr/lib/holdfast/dist/holdfast.' + kind));
    if (bundle[0] === 35) bundle.write('//');
    const text = '(function (exports, require, module, __filename, __dirname) {' + bundle.toString('utf8') + '\\n})';
    const { cachedDataRejected } = new (require('node:vm').Script)(text, { cachedData: cache.subarray(8) });
    const { crc32 } = require('node:zlib');
    const file = '/usr/lib/holdfast/dist/holdfast.cjs';
    const of = crc32([process.version, process.arch, file].join(' '), crc32(readFileSync(file)));
    console.log(cachedDataRejected, cache.readUInt32BE(0) === of);`;
  const said = await site.machine.shell(`/usr/lib/holdfast/bin/node -e "${look.replaceAll('\n', ' ')}"`);
  assert.equal(said, 'false true', 'V8 does not take what was compiled, or it is of another bundle or Node.js');
}

/** First boots in machines that know a board; the card is fresh again after each. */
export const BOARDS: readonly Scenario[] = [
  {
    name: 'raspberry-pi-3b',
    done: "first boot in QEMU's raspi3b with Debian's device tree: SD card, USB network",
    expected: 'the unit is active, the board is recognised, readings come to the broker',
    on: 'fresh',
    run: async (site) => {
      const at = performance.now();
      const machine = await site.boot('raspi3b');
      const booted = performance.now() - at;
      try {
        await site.untilActive();
        const active = performance.now() - at;
        const model = await machine.shell(`tr -d '\\0' < /proc/device-tree/model`);
        const profile = await machine.shell('holdfast profile detect');
        assert.match(profile, /raspberry-pi-3b/);
        const config = await machine.shell('grep -w profile /etc/holdfast/gateway.yaml');
        assert.match(config, /raspberry-pi-3b/);
        await site.caughtUp();
        const arrived = performance.now() - at;
        return `${model}: agent after ${seconds(booted)}, unit active after ${seconds(active)}, readings at the broker after ${seconds(arrived)}`;
      } finally {
        await machine.discard();
        // The next machine has a card on which none of this has happened.
        await pass(1_000);
        site.watcher.forget();
      }
    },
  },
];

export const BOOT: readonly Scenario[] = [
  {
    name: 'first-boot',
    done: "a fresh card of 4 GiB with holdfast-provision.yaml in QEMU's virt",
    expected:
      'set up as the file says, the file wiped, the password at the broker, the data partition grown, no failed unit',
    on: 'fresh',
    run: async (site) => {
      const at = performance.now();
      const machine = await site.boot();
      await site.untilActive();
      const active = performance.now() - at;
      await site.caughtUp();
      const arrived = performance.now() - at;
      const boot = (await machine.shell('ls /boot/firmware')).split('\n');
      assert.ok(boot.includes('holdfast-provision.done'), 'the boot partition says that it was taken over');
      assert.ok(!boot.some((name) => /^holdfast-provision\.(yaml$|error)/.test(name)), boot.join(', '));
      const secrets = await machine.shell('stat -c "%a %U %n" /etc/holdfast/secrets /etc/holdfast/secrets/*');
      assert.equal(secrets, '700 root /etc/holdfast/secrets\n600 root /etc/holdfast/secrets/upstream-password');
      // The broker lets nobody in without it, so the gateway has it, and it runs as a user who cannot read the file.
      assert.equal(await machine.shell('ps -o user= -p $(systemctl show -P MainPID holdfast)'), 'holdfast');
      const data = await size(site, '/var/lib/holdfast');
      assert.ok(data > 2 ** 30, `the data partition has ${data} bytes`);
      await until(
        'the end of the boot',
        async () => (await machine.agent.run('systemctl is-system-running')).output !== 'starting',
        LONG_MS,
      );
      assert.deepEqual(await failedUnits(site), []);
      await assertCompiled(site);
      return `unit active after ${seconds(active)}, readings at the broker after ${seconds(arrived)}; ${(data / 2 ** 30).toFixed(1)} GiB for data; wiped`;
    },
  },
  {
    name: 'check',
    done: '`holdfast check` and `holdfast list` on it',
    expected: 'nothing fails but the serial adapter that is not plugged in',
    on: 'ready',
    run: async (site) => {
      const { checks } = await site.ask<{ checks: { id: string; result: string; message: string }[] }>('check');
      const failed = checks.filter(({ result }) => result === 'FAIL');
      assert.deepEqual(
        failed.map(({ id }) => id).sort(),
        // The kernel has /dev/ttyS0 without a UART behind it, too.
        ['serial:adapter'],
        failed.map(({ id, message }) => `${id}: ${message}`).join('; '),
      );
      const warned = checks.filter(({ result }) => result === 'WARN').map(({ id }) => id);
      const ok = checks.filter(({ result }) => result === 'OK').length;
      return `${ok} OK, warned of: ${warned.join(', ') || 'nothing'}`;
    },
  },
  {
    name: 'idle',
    done: 'a minute in which nothing happens but two readings a second',
    expected: `at most ${IDLE_BYTES_MAX / 1024} KiB are written to the root file system`,
    on: 'ready',
    run: async (site) => {
      const device = async (place: string): Promise<string> =>
        (await site.machine.shell(`findmnt -n -o SOURCE -T ${place}`)).replace('/dev/', '');
      const [root, data] = [await device('/'), await device('/var/lib/holdfast')];
      const before = [await written(site, root), await written(site, data)] as const;
      await pass(IDLE_MS);
      const kib = async (partition: string, from: number): Promise<number> =>
        Math.round(((await written(site, partition)) - from) / 1024);
      const [onRoot, onData] = [await kib(root, before[0]), await kib(data, before[1])];
      assert.ok(onRoot * 1024 <= IDLE_BYTES_MAX, `${onRoot} KiB`);
      return `${onRoot} KiB to the root file system, ${onData} KiB to the data partition`;
    },
  },
];
